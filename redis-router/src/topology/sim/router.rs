//! A router in the simulated world: it hears, judges, and is watched while it does so. Kind: driver.

use std::collections::BTreeMap;

use super::world::{Told, World, node_key, sentinel_key};
use crate::topology::event::{Event, Tracker};
use crate::topology::judge::judge;
use crate::topology::observation::{Epoch, Loss, Moment, NodeView, SentinelView, Sight};
use crate::topology::verdict::{Alert, Decision, Ground, Held, Limits, Memory, Standing, Verdict};

pub(super) struct Router {
    /// Which nodes and which Sentinels it can't reach.
    pub(super) blind: Vec<bool>,
    pub(super) deaf: Vec<bool>,
    /// Whether it now and then loses a probe.
    pub(super) clumsy: bool,
    pub(super) verdict: Option<Verdict>,
    pub(super) memory: Memory,
    pub(super) limits: Limits,
    nodes: Vec<NodeView>,
    sentinels: Vec<SentinelView>,
    tracker: Tracker,
    journal: Journal,
}

/// What the referee notes, independently of the judge's own memory.
#[derive(Default)]
struct Journal {
    /// Who was published in which epoch, since what was remembered was last overruled.
    reigns: BTreeMap<Epoch, usize>,
    /// The highest epoch that any Sentinel has told us.
    highest: Epoch,
    /// Since when neither Sentinel nor replica is in sight.
    lonely: Option<Moment>,
}

impl Router {
    pub(super) fn new(nodes: usize, sentinels: usize) -> Self {
        let node = |index| NodeView { key: node_key(index), sight: Sight::Unasked };
        let sentinel = |index| SentinelView { key: sentinel_key(index), sight: Sight::Unasked };
        Self {
            blind: vec![false; nodes],
            deaf: vec![false; sentinels],
            clumsy: true,
            verdict: None,
            memory: Memory::default(),
            limits: Limits::default(),
            nodes: (0..nodes).map(node).collect(),
            sentinels: (0..sentinels).map(sentinel).collect(),
            tracker: Tracker::default(),
            journal: Journal::default(),
        }
    }

    /// The process starts again, with what its state file says or without.
    pub(super) fn restart(&mut self, with_state: bool) {
        let known = self.memory.reigning.clone().or_else(|| self.memory.claim.clone());
        self.memory = known.filter(|_| with_state).map(Memory::restored).unwrap_or_default();
        self.nodes.iter_mut().for_each(|node| node.sight = Sight::Unasked);
        self.sentinels.iter_mut().for_each(|sentinel| sentinel.sight = Sight::Unasked);
        self.tracker = Tracker::default();
        // What was only heard, and never published, does not outlive a process.
        self.journal.highest = self.journal.reigns.keys().max().copied().unwrap_or(0);
        self.journal.lonely = None;
        if !with_state {
            self.journal = Journal::default();
        }
    }

    /// Whether writes wait for a promotion.
    pub(super) fn braces(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.handing_over)
    }

    pub(super) fn master(&self) -> Option<usize> {
        let reign = self.verdict.as_ref()?.reign()?;
        self.nodes.iter().position(|node| node.key == reign.node)
    }

    pub(super) fn held(&self) -> Option<Held> {
        match &self.verdict.as_ref()?.master {
            Decision::Held(reason) => Some(*reason),
            Decision::Master(_) => None,
        }
    }

    pub(super) fn ground(&self) -> Ground {
        self.verdict.as_ref().unwrap().ground
    }

    pub(super) fn standing(&self, index: usize) -> Standing {
        self.verdict.as_ref().unwrap().standing(&node_key(index)).unwrap()
    }

    pub(super) fn alerts(&self) -> &[Alert] {
        &self.verdict.as_ref().unwrap().alerts
    }

    pub(super) fn replicas(&self) -> usize {
        self.verdict.as_ref().map_or(0, |verdict| verdict.replicas().count())
    }

    /// Hears, judges, and lets the referee check.
    pub(super) fn round(&mut self, world: &World, random: &mut fastrand::Rng) {
        for index in 0..self.nodes.len() {
            let sight = if self.blind[index] { Sight::Lost(Loss::Silent) } else { world.look(index) };
            take(&mut self.nodes[index].sight, sight, self.clumsy, random);
        }
        for index in 0..self.sentinels.len() {
            let sight = if self.deaf[index] { Sight::Lost(Loss::Silent) } else { world.ask(index) };
            take(&mut self.sentinels[index].sight, sight, self.clumsy, random);
        }
        self.hear_events(world, random);
        let (verdict, memory) = judge(
            &self.memory,
            &self.sentinels,
            &self.nodes,
            self.tracker.candidacy(),
            world.now,
            &self.limits,
        );
        self.memory = memory;
        self.tracker.settle(&self.memory, world.now);
        self.verdict = Some(verdict);
        self.check(world.now);
    }

    fn hear_events(&mut self, world: &World, random: &mut fastrand::Rng) {
        for (sentinel, told) in &world.told {
            if self.deaf[*sentinel] || (self.clumsy && random.u32(..30) == 0) {
                self.tracker.forget(&sentinel_key(*sentinel));
                continue;
            }
            let anywhere = "h:1".parse().unwrap();
            let (event, node) = match told {
                Told::NewEpoch(epoch) => (Event::NewEpoch(*epoch), None),
                Told::TryFailover => (Event::TryFailover, None),
                Told::Candidate(node) => (Event::Candidate(anywhere), Some(node_key(*node))),
                Told::Aborted => (Event::Aborted, None),
            };
            self.tracker.hear(&sentinel_key(*sentinel), &event, node, world.now);
        }
    }

    fn check(&mut self, now: Moment) {
        let anew = self.verdict.as_ref().unwrap().anew;
        if anew {
            self.journal = Journal::default();
        } else {
            self.note_what_was_heard(now);
        }
        let Some(index) = self.master() else { return };
        let epoch = self.memory.claim.as_ref().unwrap().epoch;
        self.check_node(now, index);
        self.check_epoch(index, epoch);
        self.check_fence(now, index);
    }

    fn note_what_was_heard(&mut self, now: Moment) {
        // A process that has not asked everybody yet follows nobody.
        if !self.memory.started {
            return;
        }
        for sentinel in &self.sentinels {
            if let Sight::Seen(said) = &sentinel.sight
                && now - said.at <= self.limits.expiry
            {
                self.journal.highest = self.journal.highest.max(said.epoch);
            }
        }
    }

    /// Writes go only to a node that was just seen to be a master.
    fn check_node(&self, now: Moment, index: usize) {
        let Sight::Seen(seen) = &self.nodes[index].sight else { panic!("writes go to a node out of sight") };
        assert!(now - seen.at <= self.limits.expiry, "writes go by an observation that is too old");
        assert!(seen.is_master(), "writes go to a replica");
    }

    /// Never down in epochs, never to two nodes in one, never to an old master after a newer epoch was heard.
    fn check_epoch(&mut self, index: usize, epoch: Epoch) {
        assert!(epoch >= self.journal.highest, "writes go to an old master after a newer epoch was heard");
        let reigns = &mut self.journal.reigns;
        assert!(reigns.keys().all(|known| *known <= epoch), "an older epoch is published");
        assert_eq!(*reigns.entry(epoch).or_insert(index), index, "two masters in one epoch");
    }

    /// With neither a Sentinel nor a replica in sight nothing is written after the time allowed.
    fn check_fence(&mut self, now: Moment, index: usize) {
        let fresh = |at: Moment| now - at <= self.limits.expiry;
        let spoken = self.sentinels.iter().any(|s| matches!(&s.sight, Sight::Seen(said) if fresh(said.at)));
        let followed = matches!(&self.nodes[index].sight, Sight::Seen(seen) if seen.followers() > 0);
        if spoken || followed || self.ground() == Ground::Promotion {
            self.journal.lonely = None;
            return;
        }
        let since = *self.journal.lonely.get_or_insert(now);
        let in_time = self.limits.fence.is_none_or(|limit| now - since < limit);
        assert!(in_time, "writes go on though nobody is in sight");
    }
}

/// Now and then an answer is late, so that the former one stands, or does not come at all.
fn take<T>(known: &mut Sight<T>, sight: Sight<T>, clumsy: bool, random: &mut fastrand::Rng) {
    *known = match random.u32(..20) {
        0 if clumsy => return,
        1 if clumsy => Sight::Lost(Loss::Silent),
        _ => sight,
    };
}
