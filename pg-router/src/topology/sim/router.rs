//! A router in the simulated world: it looks, judges, and is watched while it does so. Kind: driver.

use std::collections::BTreeMap;

use super::world::{World, key};
use crate::topology::judge::judge;
use crate::topology::observation::{Loss, Moment, NodeView, Observation, Sight, Timeline};
use crate::topology::verdict::{Decision, Held, Limits, Memory, Reign, Role, Verdict};

pub(super) struct Router {
    /// Which nodes it can't reach.
    pub(super) blind: Vec<bool>,
    /// Whether it now and then loses a probe.
    pub(super) clumsy: bool,
    /// Whether its monitors have stopped to report.
    pub(super) stall: bool,
    pub(super) verdict: Option<Verdict>,
    nodes: Vec<NodeView>,
    memory: Memory,
    limits: Limits,
    journal: Journal,
}

/// What the referee notes, independently of the judge's own memory.
#[derive(Default)]
struct Journal {
    /// Who was confirmed on which timeline, since the state file was last lost.
    reigns: BTreeMap<Timeline, usize>,
    /// Since when each higher timeline has stood beside the confirmed primary.
    beside: BTreeMap<Timeline, Moment>,
}

impl Router {
    pub(super) fn new(count: usize) -> Self {
        let nodes = (0..count).map(|node| NodeView { key: key(node), sight: Sight::Unasked });
        Self {
            blind: vec![false; count],
            clumsy: true,
            stall: false,
            verdict: None,
            nodes: nodes.collect(),
            memory: Memory::default(),
            limits: Limits::default(),
            journal: Journal::default(),
        }
    }

    /// The process starts again, with what its state file says or without.
    pub(super) fn restart(&mut self, with_state: bool) {
        let confirmed = self.memory.confirmed.take().filter(|_| with_state);
        // The state file holds no node number.
        let restored = confirmed.map(|reign| Reign { node_id: None, ..reign });
        self.memory = restored.map(Memory::restored).unwrap_or_default();
        self.nodes.iter_mut().for_each(|node| node.sight = Sight::Unasked);
        if !with_state {
            self.journal.reigns.clear();
        }
        self.journal.beside.clear();
    }

    /// How many steps a contest may take, and the rest of the observations.
    pub(super) fn patience(&self) -> usize {
        usize::try_from(self.limits.contest.as_millis() / super::world::STEP.as_millis()).unwrap() + 10
    }

    pub(super) fn primary(&self) -> Option<usize> {
        match &self.verdict.as_ref()?.primary {
            Decision::Primary(reign) => self.nodes.iter().position(|node| node.key == reign.node),
            Decision::Held(_) => None,
        }
    }

    /// Why writes are held.
    pub(super) fn held(&self) -> Option<Held> {
        match &self.verdict.as_ref()?.primary {
            Decision::Held(reason) => Some(*reason),
            Decision::Primary(_) => None,
        }
    }

    pub(super) fn role(&self, index: usize) -> Role {
        self.verdict.as_ref().and_then(|verdict| verdict.role(&key(index))).unwrap()
    }

    pub(super) fn replicas(&self) -> usize {
        self.verdict.as_ref().map_or(0, |verdict| verdict.replicas().count())
    }

    /// Looks at the nodes, judges, and lets the referee check.
    pub(super) fn round(&mut self, world: &World, random: &mut fastrand::Rng) {
        for index in 0..self.nodes.len() {
            self.look(world, index, random);
        }
        let (verdict, memory) = judge(&self.memory, &self.nodes, world.now, &self.limits);
        self.memory = memory;
        self.verdict = Some(verdict);
        self.check(world.now);
    }

    /// Now and then an answer is late, so that the former observation stands, or does not come at all.
    fn look(&mut self, world: &World, index: usize, random: &mut fastrand::Rng) {
        self.nodes[index].sight = match random.u32(..20) {
            _ if self.stall => return,
            0 if self.clumsy => return,
            1 if self.clumsy => Sight::Lost(Loss::Silent),
            _ if self.blind[index] => Sight::Lost(Loss::Silent),
            _ => world.look(index),
        };
    }

    fn seen(&self, now: Moment) -> Vec<&Observation> {
        let fresh = |node: &'_ NodeView| match &node.sight {
            Sight::Seen(seen) if now - seen.at <= self.limits.expiry => true,
            Sight::Seen(_) | Sight::Lost(_) | Sight::Unasked => false,
        };
        let seen = self.nodes.iter().filter(|node| fresh(node));
        seen.filter_map(|node| if let Sight::Seen(seen) = &node.sight { Some(&**seen) } else { None })
            .collect()
    }

    /// The highest timeline in sight whose writer calls itself the registered primary.
    fn registered(&self, now: Moment) -> Timeline {
        let registered = self.seen(now).into_iter().filter(|seen| seen.takes_writes() && seen.names_itself());
        registered.filter_map(|seen| seen.timeline).max().unwrap_or(0)
    }

    fn check(&mut self, now: Moment) {
        let Some(index) = self.primary() else { return self.note_who_stands_beside(now) };
        let timeline = self.memory.floor();
        self.check_node(now, index, timeline);
        self.check_epoch(now, index, timeline);
        self.check_followers(now, index, timeline);
        self.note_who_stands_beside(now);
        self.check_contest(now, index, timeline);
    }

    /// Writes go only to a node that was just seen to take them, on the timeline that is published.
    fn check_node(&self, now: Moment, index: usize, timeline: Timeline) {
        let Sight::Seen(seen) = &self.nodes[index].sight else { panic!("writes go to a node out of sight") };
        assert!(now - seen.at <= self.limits.expiry, "writes go by an observation that is too old");
        assert!(
            seen.takes_writes() && seen.timeline == Some(timeline),
            "writes go to a node that takes none"
        );
    }

    /// Never down in timelines, never to two nodes on one, never beside a registered primary on a later one.
    fn check_epoch(&mut self, now: Moment, index: usize, timeline: Timeline) {
        assert!(timeline >= self.registered(now), "writes go to a primary that repmgr has replaced");
        let reigns = &mut self.journal.reigns;
        assert!(
            reigns.keys().all(|known| *known <= timeline),
            "writes go to a timeline below a confirmed one"
        );
        assert_eq!(*reigns.entry(timeline).or_insert(index), index, "writes go to two nodes on one timeline");
    }

    /// Nobody on a later timeline says, in what came down that timeline, that another node has taken over.
    fn check_followers(&self, now: Moment, index: usize, timeline: Timeline) {
        let own = i32::try_from(index).unwrap() + 1;
        let seen = self.seen(now);
        let mut later = seen.iter().filter(|seen| seen.highest_timeline() > timeline);
        let replaced = later.any(|seen| seen.names_primary().is_some_and(|named| named != own));
        let stray = self.memory.overruled.is_some();
        assert!(stray || !replaced, "writes go to a primary that the followers of another have left");
    }

    /// While a higher timeline stands beside the living primary, writes are held until the limit has passed.
    fn check_contest(&self, now: Moment, index: usize, timeline: Timeline) {
        for (higher, since) in self.journal.beside.range(timeline + 1..) {
            let held = now - *since >= self.limits.contest;
            assert!(
                held,
                "writes go to {index} on {timeline} while {higher} stands unjudged since {since:?}"
            );
        }
    }

    /// A timeline stays noted as long as there is evidence of it; what a former primary left behind counts too.
    fn note_who_stands_beside(&mut self, now: Moment) {
        let evidence: Vec<Timeline> = self.seen(now).iter().map(|seen| seen.highest_timeline()).collect();
        self.journal
            .beside
            .retain(|timeline, _| evidence.contains(timeline) || self.memory.overruled == Some(*timeline));
        for timeline in evidence {
            self.journal.beside.entry(timeline).or_insert(now);
        }
    }
}
