//! A model of Redis under Sentinel, as far as its failovers go. Kind: pure.
//!
//! Nodes, Sentinels with what each has configured, links between all of them, and the state machine of a failover in the
//! order in which `sentinel.c` goes through it. One step is 50 ms.

use std::sync::Arc;
use std::time::Duration;

use super::sentinel::{Sentinel, State};
use crate::topology::observation::{Epoch, Loss, Moment, NodeKey, Observation, Role, Sight, Testimony};

pub(super) const STEP: Duration = Duration::from_millis(50);

/// Steps until an unreachable master counts as down (1 s).
pub(super) const DOWN_AFTER: u32 = 20;
/// Steps after which a node of the wrong role is told its right one: 8 s of stable role, seen every 10 s.
pub(super) const WRONG_ROLE: u32 = 200;
/// Steps that a failover may take (5 s).
pub(super) const TIMEOUT: u32 = 100;
/// Steps between two hello messages (2 s).
pub(super) const HELLO: u32 = 40;

/// One Redis node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) up: bool,
    pub(super) frozen: bool,
    /// Whom it follows; nobody if it is a master by its own word.
    pub(super) of: Option<usize>,
    /// Its history and the one before.
    pub(super) replid: (u32, u32),
    pub(super) offset: u64,
}

impl Node {
    pub(super) fn answers(&self) -> bool {
        self.up && !self.frozen
    }

    pub(super) fn is_master(&self) -> bool {
        self.of.is_none()
    }
}

/// What a Sentinel tells its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    NewEpoch(Epoch),
    TryFailover,
    Candidate(usize),
    Aborted,
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) nodes: Vec<Node>,
    pub(super) sentinels: Vec<Sentinel>,
    /// What each Sentinel has told until the end of this step.
    pub(super) told: Vec<(usize, Told)>,
    /// What they tell now.
    pub(super) telling: Vec<(usize, Told)>,
    /// Which places can't reach one another; nodes first, then Sentinels.
    cut: Vec<Vec<bool>>,
    histories: u32,
}

pub(super) fn node_key(index: usize) -> NodeKey {
    Arc::from(format!("r{}", index + 1))
}

pub(super) fn sentinel_key(index: usize) -> NodeKey {
    Arc::from(format!("s{}", index + 1))
}

impl World {
    /// The first node is the master.
    pub(super) fn new(nodes: usize, sentinels: usize) -> Self {
        let node = |index: usize| Node {
            up: true,
            frozen: false,
            of: (index != 0).then_some(0),
            replid: (1, 0),
            offset: 0,
        };
        Self {
            now: Duration::ZERO,
            nodes: (0..nodes).map(node).collect(),
            sentinels: (0..sentinels).map(|_| Sentinel::new(nodes)).collect(),
            told: Vec::new(),
            telling: Vec::new(),
            cut: vec![vec![false; nodes + sentinels]; nodes + sentinels],
            histories: 1,
        }
    }

    pub(super) fn step(&mut self) {
        self.now += STEP;
        self.replicate();
        (0..self.sentinels.len()).for_each(|sentinel| self.act(sentinel));
        self.told = std::mem::take(&mut self.telling);
    }

    fn place(&self, sentinel: usize) -> usize {
        self.nodes.len() + sentinel
    }

    pub(super) fn reaches_node(&self, sentinel: usize, node: usize) -> bool {
        self.nodes[node].answers() && !self.cut[self.place(sentinel)][node]
    }

    pub(super) fn reaches_sentinel(&self, sentinel: usize, other: usize) -> bool {
        self.sentinels[other].answers() && !self.cut[self.place(sentinel)][self.place(other)]
    }

    /// Cuts or heals the link between two places.
    pub(super) fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        self.cut[a][b] = cut;
        self.cut[b][a] = cut;
    }

    pub(super) fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        self.nodes.iter_mut().for_each(|node| (node.up, node.frozen) = (true, false));
        self.sentinels.iter_mut().for_each(|sentinel| (sentinel.up, sentinel.frozen) = (true, false));
    }

    /// Whether the node's link to its master is up.
    fn linked(&self, node: usize) -> Option<usize> {
        let of = self.nodes[node].of?;
        let up = self.nodes[node].answers() && self.nodes[of].answers() && !self.cut[node][of];
        up.then_some(of)
    }

    fn replicate(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_master() && self.nodes[node].answers() {
                self.nodes[node].offset += 1;
            }
            if let Some(of) = self.linked(node) {
                (self.nodes[node].replid, self.nodes[node].offset) =
                    (self.nodes[of].replid, self.nodes[of].offset);
            }
        }
    }

    /// `SLAVEOF NO ONE`: a new history, which goes on from the former one.
    pub(super) fn promote(&mut self, node: usize) {
        self.histories += 1;
        let former = self.nodes[node].replid.0;
        if self.nodes[node].of.take().is_some() {
            self.nodes[node].replid = (self.histories, former);
        }
    }

    /// `SLAVEOF`: never of itself, and not in a circle.
    pub(super) fn demote(&mut self, node: usize, of: usize) {
        if node != of {
            self.nodes[node].of = Some(of);
        }
    }

    /// What a probe shows of a node.
    pub(super) fn look(&self, index: usize) -> Sight<Observation> {
        let node = &self.nodes[index];
        if !node.up {
            return Sight::Lost(Loss::Refused);
        }
        if node.frozen {
            return Sight::Lost(Loss::Silent);
        }
        let followers = (0..self.nodes.len()).filter(|other| self.linked(*other) == Some(index)).count();
        let role = match node.of {
            None => Role::Master { followers: u32::try_from(followers).unwrap() },
            Some(of) => Role::Replica { of: node_key(of).to_string(), linked: self.linked(index).is_some() },
        };
        Sight::Seen(Arc::new(Observation {
            at: self.now,
            role,
            offset: node.offset,
            replid: node.replid.0.to_string(),
            replid2: node.replid.1.to_string(),
            run_id: format!("run{index}"),
            lag: Duration::ZERO,
        }))
    }

    /// What a Sentinel answers.
    pub(super) fn ask(&self, index: usize) -> Sight<Testimony> {
        let sentinel = &self.sentinels[index];
        if !sentinel.up {
            return Sight::Lost(Loss::Refused);
        }
        if sentinel.frozen {
            return Sight::Lost(Loss::Silent);
        }
        let failover = sentinel.failover.as_ref();
        // `sentinelGetCurrentMasterAddress`: the promoted one, once the leader has seen it promoted.
        let promoted = failover.filter(|failover| failover.state == State::Reconfigure);
        Sight::Seen(Arc::new(Testimony {
            at: self.now,
            master: node_key(promoted.map_or(sentinel.master, |failover| failover.target)),
            epoch: sentinel.epoch,
            failover: failover.map(|failover| format!("{:?}", failover.state)),
            flags: "master".to_owned(),
            quorum: 2,
            others: u32::try_from(self.sentinels.len()).unwrap() - 1,
        }))
    }

    /// What a person does about Sentinels that differ within one epoch: a failover by one whose master is one.
    pub(super) fn put_in_order(&mut self) {
        let is_right = |at: &usize| self.nodes[self.sentinels[*at].master].is_master();
        match (0..self.sentinels.len()).find(is_right) {
            Some(right) => self.force_failover(right),
            None => self.promote(self.sentinels[0].master),
        }
    }

    /// Whether all Sentinels name one node, and it is the only master.
    pub(super) fn in_order(&self) -> Option<usize> {
        let master = self.sentinels.first()?.master;
        let epoch = self.sentinels.first()?.epoch;
        let agreed = self.sentinels.iter().all(|sentinel| {
            sentinel.master == master && sentinel.epoch == epoch && sentinel.failover.is_none()
        });
        let alone = (0..self.nodes.len()).all(|node| self.nodes[node].is_master() == (node == master));
        let linked = (0..self.nodes.len()).all(|node| node == master || self.linked(node) == Some(master));
        (agreed && alone && linked).then_some(master)
    }
}
