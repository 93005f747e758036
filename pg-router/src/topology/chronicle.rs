//! The story of switches: when a primary was suspected and lost, a successor seen and confirmed. Kind: pure.

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
            self.candidate_at.get_or_insert(now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::verdict::{Held, Reign};

    fn verdict(node: Option<&str>, candidate: bool) -> Verdict {
        let reign =
            |node: &str| Reign { node: node.into(), node_id: None, timeline: 1, system_identifier: 7 };
        let primary = node.map_or(Decision::Held(Held::NoCandidate), |node| Decision::Primary(reign(node)));
        let roles = if candidate { vec![(NodeKey::from("b"), Role::Candidate)] } else { Vec::new() };
        Verdict { suspect: node.is_none(), primary, roles, alerts: Vec::new() }
    }

    fn check(story: &[(u64, Option<&str>, bool)]) -> Vec<Switch> {
        let mut chronicle = Chronicle::default();
        for (at, node, candidate) in story {
            chronicle.note(&verdict(*node, *candidate), Moment::from_millis(*at), SystemTime::UNIX_EPOCH);
        }
        chronicle.switches().cloned().collect()
    }

    #[test]
    fn a_switch_tells_when_it_was_lost_seen_and_confirmed() {
        let story = [
            (0, Some("a"), false),
            (5, None, false),
            (6, None, false),
            (8, None, true),
            (9, Some("b"), false),
            (10, Some("b"), false),
        ];
        let switches = check(&story);
        let (first, second) = (&switches[0], &switches[1]);
        assert_eq!((first.from.as_deref(), &*first.to, second.from.as_deref()), (Some("a"), "b", None));
        assert_eq!((first.lost_ms, first.candidate_ms, first.confirmed_ms), (Some(5), Some(8), 9));
    }

    #[test]
    fn a_primary_that_comes_back_is_no_switch() {
        assert_eq!(check(&[(0, Some("a"), false), (1, None, false), (2, Some("a"), false)]).len(), 1);
    }

    #[test]
    fn only_so_many_are_kept() {
        let names = ["a", "b"].into_iter().cycle().take(40);
        let story: Vec<_> = names.enumerate().map(|(at, name)| (at as u64, Some(name), false)).collect();
        assert_eq!(check(&story).len(), KEPT);
    }
}
