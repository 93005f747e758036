//! A model of a repmgr cluster, as far as its failovers go. Kind: pure.
//!
//! Nodes with histories, links between them, repmgrd, and people
//! who restart and promote the wrong node. One step is a tenth of a second.

use std::sync::Arc;
use std::time::Duration;

use crate::topology::observation::{
    Loss, Moment, NodeKey, Observation, Receiver, RepmgrKind, RepmgrRow, RepmgrView, Sight, Timeline,
};

pub(super) const STEP: Duration = Duration::from_millis(100);
pub(super) const LINEAGE: u64 = 7_300_000_000_000_000_001;

/// After how many steps without its primary a standby stands for election.
const PATIENCE: u32 = 10;
/// How long after the promotion repmgr writes it into its table.
const TABLE_DELAY: u32 = 7;

/// One node: a data directory, and whether a server runs in it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) up: bool,
    pub(super) frozen: bool,
    pub(super) in_recovery: bool,
    /// Which branches the data went through; the position is the timeline less one, the value makes it unique.
    pub(super) history: Vec<u32>,
    pub(super) upstream: Option<usize>,
    /// Whom the node's copy of `repmgr.nodes` calls the active primary, and the voting term.
    pub(super) table: (usize, i64),
    /// Steps until repmgr writes the promotion into the table.
    registers_in: Option<u32>,
    orphaned_for: u32,
}

impl Node {
    pub(super) fn timeline(&self) -> Timeline {
        u32::try_from(self.history.len()).unwrap()
    }

    pub(super) fn is_primary(&self) -> bool {
        self.up && !self.in_recovery
    }

    fn answers(&self) -> bool {
        self.up && !self.frozen
    }
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) nodes: Vec<Node>,
    /// Which pairs of nodes can't reach one another.
    cut: Vec<Vec<bool>>,
    /// The timeline of every promotion there ever was.
    promotions: Vec<Timeline>,
}

pub(super) fn key(index: usize) -> NodeKey {
    Arc::from(format!("n{}", index + 1))
}

impl World {
    /// The first node is the primary, the others follow it.
    pub(super) fn new(count: usize) -> Self {
        let node = |index: usize| Node {
            up: true,
            frozen: false,
            in_recovery: index != 0,
            history: vec![0],
            upstream: (index != 0).then_some(0),
            table: (0, 1),
            registers_in: None,
            orphaned_for: 0,
        };
        let nodes = (0..count).map(node).collect();
        Self { now: Duration::ZERO, nodes, cut: vec![vec![false; count]; count], promotions: Vec::new() }
    }

    /// A tenth of a second passes: streams flow, tables are written, repmgrd acts.
    pub(super) fn step(&mut self) {
        self.now += STEP;
        (0..self.nodes.len()).for_each(|node| self.replicate(node));
        (0..self.nodes.len()).for_each(|node| self.register(node));
        (0..self.nodes.len()).for_each(|node| self.repmgrd(node));
    }

    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.nodes[from].answers() && self.nodes[to].answers() && !self.cut[from][to]
    }

    pub(super) fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        self.cut[a][b] = cut;
        self.cut[b][a] = cut;
    }

    /// Whether the node receives what its upstream writes: the link is there and its history leads on from here.
    pub(super) fn streams(&self, node: usize) -> Option<usize> {
        let upstream = self.nodes[node].upstream.filter(|_| self.nodes[node].in_recovery)?;
        let leads_on = self.nodes[upstream].history.starts_with(&self.nodes[node].history);
        (self.reaches(node, upstream) && leads_on).then_some(upstream)
    }

    fn replicate(&mut self, node: usize) {
        if let Some(upstream) = self.streams(node) {
            self.nodes[node].history = self.nodes[upstream].history.clone();
            self.nodes[node].table = self.nodes[upstream].table;
        }
    }

    fn register(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        match node.registers_in {
            Some(0) => (node.table, node.registers_in) = ((index, node.table.1 + 1), None),
            Some(left) if node.answers() => node.registers_in = Some(left - 1),
            _ => {}
        }
    }

    /// A standby without its primary follows a newer one, or is elected if it is the best of a majority.
    fn repmgrd(&mut self, node: usize) {
        let me = &self.nodes[node];
        if !me.answers() || !me.in_recovery || self.streams(node).is_some() {
            self.nodes[node].orphaned_for = 0;
            return;
        }
        self.nodes[node].orphaned_for += 1;
        if self.nodes[node].orphaned_for < PATIENCE {
            return;
        }
        let near: Vec<usize> = (0..self.nodes.len()).filter(|other| self.reaches(node, *other)).collect();
        if let Some(primary) = self.primary_to_follow(node, &near) {
            self.nodes[node].upstream = Some(primary);
        } else if near.len() * 2 > self.nodes.len() && self.best_of(&near) == Some(node) {
            self.promote(node);
            self.nodes[node].registers_in = Some(TABLE_DELAY);
        }
    }

    fn primary_to_follow(&self, node: usize, near: &[usize]) -> Option<usize> {
        let history = &self.nodes[node].history;
        let leads_on = |other: &usize| self.nodes[*other].history.starts_with(history);
        near.iter().copied().filter(|other| self.nodes[*other].is_primary()).find(leads_on)
    }

    /// Nobody is elected beside a primary that is in reach.
    fn best_of(&self, near: &[usize]) -> Option<usize> {
        if near.iter().any(|node| self.nodes[*node].is_primary()) {
            return None;
        }
        near.iter().copied().max_by_key(|node| (self.nodes[*node].history.len(), usize::MAX - node))
    }

    /// `pg_promote()`, by repmgrd or by hand; only repmgrd also registers it.
    pub(super) fn promote(&mut self, node: usize) {
        let branch = u32::try_from(self.promotions.len()).unwrap() + 1;
        let node = &mut self.nodes[node];
        node.history.push(branch);
        self.promotions.push(node.timeline());
        node.in_recovery = false;
        node.upstream = None;
    }

    /// `repmgr node rejoin --force-rewind`: the node forgets what only it has, and follows.
    pub(super) fn rejoin(&mut self, node: usize, primary: usize) {
        let Node { history, table, .. } = self.nodes[primary].clone();
        let node = &mut self.nodes[node];
        (node.up, node.frozen, node.in_recovery, node.registers_in) = (true, false, true, None);
        (node.upstream, node.history, node.table) = (Some(primary), history, table);
    }

    /// People put the cluster in order: one primary, on a timeline that is nobody else's, followed by all.
    pub(super) fn settle(&mut self) -> usize {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        for node in &mut self.nodes {
            (node.up, node.frozen) = (true, false);
        }
        let newest = self.nodes.iter().map(Node::timeline).max().unwrap();
        let chosen = (0..self.nodes.len()).find(|node| self.nodes[*node].timeline() == newest).unwrap();
        let ambiguous = self.promotions.iter().filter(|timeline| **timeline == newest).count() > 1;
        if self.nodes[chosen].in_recovery || ambiguous {
            self.promote(chosen);
        }
        self.nodes[chosen].table = (chosen, self.nodes[chosen].table.1 + 1);
        for other in (0..self.nodes.len()).filter(|other| *other != chosen) {
            self.rejoin(other, chosen);
        }
        chosen
    }

    /// What a monitor connection shows of a node.
    pub(super) fn look(&self, index: usize) -> Sight {
        let node = &self.nodes[index];
        if !node.up {
            return Sight::Lost(Loss::Refused);
        }
        if node.frozen {
            return Sight::Lost(Loss::Silent);
        }
        let streams = self.streams(index);
        Sight::Seen(Arc::new(Observation {
            at: self.now,
            system_identifier: LINEAGE,
            in_recovery: node.in_recovery,
            read_only: false,
            timeline: Some(node.timeline()),
            lsn: 0,
            receiver: streams.map(|upstream| Receiver {
                streaming: true,
                timeline: self.nodes[upstream].timeline(),
                sender: key(upstream).to_string(),
            }),
            replay_paused: false,
            lag: Duration::ZERO,
            followers: self.followers(index),
            node_id: Some(id(index)),
            repmgr: Some(self.view(node.table)),
        }))
    }

    fn followers(&self, of: usize) -> Vec<String> {
        let follow = (0..self.nodes.len()).filter(|node| self.streams(*node) == Some(of));
        follow.map(|node| key(node).to_string()).collect()
    }

    fn view(&self, (primary, voting_term): (usize, i64)) -> RepmgrView {
        let row = |index: usize| RepmgrRow {
            node_id: id(index),
            name: key(index).to_string(),
            kind: if index == primary { RepmgrKind::Primary } else { RepmgrKind::Standby },
            active: true,
            address: None,
        };
        RepmgrView { rows: (0..self.nodes.len()).map(row).collect(), voting_term }
    }
}

fn id(index: usize) -> i32 {
    i32::try_from(index).unwrap() + 1
}
