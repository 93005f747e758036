//! The story of switches: when a primary was suspected, lost, when a successor showed, when it was confirmed.
//!
//! Kind: pure.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Serialize;

use super::observation::{Moment, NodeKey, Timeline};
use super::verdict::{Decision, Role, Verdict};

/// How many switches are kept.
const KEPT: usize = 16;

/// One switch. The moments are milliseconds since the watcher started, to be compared with one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The former primary; none for the first.
    pub from: Option<String>,
    /// The new one.
    pub to: String,
    /// Its timeline.
    pub timeline: Timeline,
    /// When doubt arose.
    pub suspect_ms: Option<u64>,
    /// When writes began to be held.
    pub lost_ms: Option<u64>,
    /// When the successor was first seen to take writes.
    pub candidate_ms: Option<u64>,
    /// When it was confirmed.
    pub confirmed_ms: u64,
    /// The same by the wall clock, in milliseconds since 1970.
    pub confirmed_unix_ms: u64,
}

/// The last switches, and the one that is under way.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    last: VecDeque<Switch>,
    reigning: Option<(NodeKey, Timeline)>,
    suspect_at: Option<Moment>,
    lost_at: Option<Moment>,
    candidate_at: Option<Moment>,
}

impl Chronicle {
    /// Takes note of a judgement; true if it ended a switch.
    pub(super) fn note(&mut self, verdict: &Verdict, now: Moment, wall: SystemTime) -> bool {
        if verdict.suspect {
            self.suspect_at.get_or_insert(now);
        }
        if verdict.roles.iter().any(|(_, role)| *role == Role::Candidate) {
            self.candidate_at.get_or_insert(now);
        }
        match &verdict.primary {
            Decision::Held(_) => {
                self.lost_at.get_or_insert(now);
                false
            }
            Decision::Primary(reign) => self.crown(reign.node.clone(), reign.timeline, now, wall),
        }
    }

    /// The last switches, the newest first.
    pub(super) fn switches(&self) -> impl Iterator<Item = &Switch> {
        self.last.iter()
    }

    fn crown(&mut self, node: NodeKey, timeline: Timeline, now: Moment, wall: SystemTime) -> bool {
        let reigning = Some((node.clone(), timeline));
        let changed = reigning != self.reigning;
        if changed {
            let from = std::mem::replace(&mut self.reigning, reigning).map(|(node, _)| node.to_string());
            let switch = self.switch(from, node.to_string(), timeline, now, wall);
            self.last.truncate(KEPT - 1);
            self.last.push_front(switch);
        }
        (self.suspect_at, self.lost_at, self.candidate_at) = (None, None, None);
        changed
    }

    fn switch(
        &self,
        from: Option<String>,
        to: String,
        timeline: Timeline,
        now: Moment,
        wall: SystemTime,
    ) -> Switch {
        Switch {
            from,
            to,
            timeline,
            suspect_ms: self.suspect_at.map(millis),
            lost_ms: self.lost_at.map(millis),
            candidate_ms: self.candidate_at.map(millis),
            confirmed_ms: millis(now),
            confirmed_unix_ms: wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis),
        }
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}
