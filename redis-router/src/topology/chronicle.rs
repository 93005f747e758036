//! Why did you switch: every switch with its evidence and its moments. Kind: pure.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Serialize;

use super::observation::{Candidacy, Epoch, Moment, NodeView, SentinelView, Sight};
use super::verdict::{Decision, Ground, Memory, Reign, Verdict};

/// How many switches are kept.
const KEPT: usize = 32;

/// One switch. The moments are milliseconds since the watcher started, to be compared with one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The former master; none for the first.
    pub from: Option<String>,
    /// The new one.
    pub to: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// What the switch rested on.
    pub why: &'static str,
    /// What everybody said at that moment.
    pub evidence: Vec<String>,
    /// When doubt arose.
    pub suspect_ms: Option<u64>,
    /// When writes began to be held.
    pub held_ms: Option<u64>,
    /// When a Sentinel told whom it was about to promote.
    pub candidate_ms: Option<u64>,
    /// When the new one was first seen to answer as a master.
    pub promoted_ms: Option<u64>,
    /// When it was published.
    pub published_ms: u64,
    /// When a Sentinel confirmed it, where that came later.
    pub confirmed_ms: Option<u64>,
    /// When it was published, by the wall clock, in milliseconds since 1970.
    pub published_unix_ms: u64,
}

/// All that a judgement was made of.
pub(super) struct Record<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) memory: &'a Memory,
    pub(super) sentinels: &'a [SentinelView],
    pub(super) nodes: &'a [NodeView],
    pub(super) candidacy: Option<&'a Candidacy>,
    pub(super) now: Moment,
    pub(super) wall: SystemTime,
}

/// The last switches, and the one that is under way.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    last: VecDeque<Switch>,
    reigning: Option<Reign>,
    suspect_at: Option<Moment>,
    held_at: Option<Moment>,
}

impl Chronicle {
    /// Takes note of a judgement; true if it is a switch.
    pub(super) fn note(&mut self, record: &Record<'_>) -> bool {
        if record.verdict.suspect {
            self.suspect_at.get_or_insert(record.now);
        }
        match &record.verdict.master {
            Decision::Held(_) => {
                self.held_at.get_or_insert(record.now);
                false
            }
            Decision::Master(reign) => self.crown(reign, record),
        }
    }

    /// The last switches, the newest first.
    pub(super) fn switches(&self) -> impl Iterator<Item = &Switch> {
        self.last.iter()
    }

    fn crown(&mut self, reign: &Reign, record: &Record<'_>) -> bool {
        let changed = self.reigning.as_ref() != Some(reign);
        if changed {
            let from = self.reigning.replace(reign.clone()).map(|reign| reign.node.to_string());
            let switch = self.switch(from, reign, record);
            self.last.truncate(KEPT - 1);
            self.last.push_front(switch);
        } else if record.verdict.ground == Ground::Sentinel {
            self.confirm(record.now);
        }
        if changed || !record.verdict.suspect {
            (self.suspect_at, self.held_at) = (None, None);
        }
        changed
    }

    fn confirm(&mut self, now: Moment) {
        let last = self.last.front_mut().filter(|last| last.why == Ground::Promotion.as_str());
        if let Some(last) = last {
            last.confirmed_ms.get_or_insert(millis(now));
        }
    }

    fn switch(&self, from: Option<String>, reign: &Reign, record: &Record<'_>) -> Switch {
        let candidacy = record.candidacy.filter(|candidacy| candidacy.node == reign.node);
        let seen =
            record.nodes.iter().find(|node| node.key == reign.node).and_then(|node| match &node.sight {
                Sight::Seen(seen) if seen.is_master() => Some(seen.at),
                _ => None,
            });
        Switch {
            from,
            to: reign.node.to_string(),
            epoch: reign.epoch,
            why: record.verdict.ground.as_str(),
            evidence: evidence(record),
            suspect_ms: self.suspect_at.map(millis),
            held_ms: self.held_at.map(millis),
            candidate_ms: candidacy.map(|candidacy| millis(candidacy.since)),
            promoted_ms: seen.map(millis),
            published_ms: millis(record.now),
            confirmed_ms: None,
            published_unix_ms: record.wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis),
        }
    }
}

/// What everybody says, a line each.
fn evidence(record: &Record<'_>) -> Vec<String> {
    let sentinels = record.sentinels.iter().map(sentinel_line);
    let candidacy = record.candidacy.map(|candidacy| {
        let Candidacy { node, epoch, leader, aborted, .. } = candidacy;
        let word = if *aborted { "gave up" } else { "promotes" };
        format!("Sentinel {leader} {word} {node} in epoch {epoch}")
    });
    let replid =
        (!record.memory.replid.is_empty()).then(|| format!("master_replid is {}", record.memory.replid));
    sentinels.chain(candidacy).chain(record.nodes.iter().map(node_line)).chain(replid).collect()
}

fn sentinel_line(sentinel: &SentinelView) -> String {
    let key = &sentinel.key;
    match &sentinel.sight {
        Sight::Unasked => format!("Sentinel {key} was not asked yet"),
        Sight::Lost(loss) => format!("Sentinel {key}: {}", loss.as_str()),
        Sight::Seen(said) => {
            let failover =
                said.failover.as_ref().map(|state| format!(", failover {state}")).unwrap_or_default();
            format!("Sentinel {key} names {} in epoch {} ({}{failover})", said.master, said.epoch, said.flags)
        }
    }
}

fn node_line(node: &NodeView) -> String {
    let key = &node.key;
    match &node.sight {
        Sight::Unasked => format!("{key} was not asked yet"),
        Sight::Lost(loss) => format!("{key}: {}", loss.as_str()),
        Sight::Seen(seen) if seen.is_master() => {
            format!("{key} is a master at offset {} with {} replicas", seen.offset, seen.followers())
        }
        Sight::Seen(seen) => format!("{key} is a replica at offset {}", seen.offset),
    }
}

pub(super) fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::verdict::Held;

    fn verdict(node: Option<&str>, ground: Ground) -> Verdict {
        let reign = |node: &str| Reign { node: node.into(), epoch: 3 };
        let master = node.map_or(Decision::Held(Held::OutOfSight), |node| Decision::Master(reign(node)));
        let suspect = node.is_none() || ground != Ground::Sentinel;
        Verdict {
            master,
            anew: false,
            ground,
            standings: Vec::new(),
            suspect,
            handing_over: false,
            alerts: Vec::new(),
        }
    }

    fn play(story: &[(u64, Option<&str>, Ground)]) -> Vec<Switch> {
        let mut chronicle = Chronicle::default();
        for (at, node, ground) in story {
            let sentinel = SentinelView { key: "s1".into(), sight: Sight::Unasked };
            let record = Record {
                verdict: &verdict(*node, *ground),
                memory: &Memory::default(),
                sentinels: &[sentinel],
                nodes: &[],
                candidacy: None,
                now: Moment::from_millis(*at),
                wall: SystemTime::UNIX_EPOCH,
            };
            chronicle.note(&record);
        }
        chronicle.switches().cloned().collect()
    }

    #[test]
    fn a_switch_tells_its_moments_and_its_evidence() {
        use Ground::{Promotion, Sentinel};
        let story = [
            (0, Some("a"), Sentinel),
            (5, None, Sentinel),
            (6, None, Sentinel),
            (9, Some("b"), Promotion),
            (20, Some("b"), Sentinel),
            (21, Some("b"), Sentinel),
        ];
        let switches = play(&story);
        let (last, first) = (&switches[0], &switches[1]);
        assert_eq!((first.from.as_deref(), last.from.as_deref(), &*last.to), (None, Some("a"), "b"));
        assert_eq!((last.held_ms, last.published_ms, last.confirmed_ms), (Some(5), 9, Some(20)));
        assert_eq!(last.why, Promotion.as_str());
        assert_eq!(last.evidence, ["Sentinel s1 was not asked yet"]);
    }

    #[test]
    fn a_master_that_comes_back_is_no_switch() {
        use Ground::Sentinel;
        assert_eq!(play(&[(0, Some("a"), Sentinel), (1, None, Sentinel), (2, Some("a"), Sentinel)]).len(), 1);
    }

    #[test]
    fn only_so_many_are_kept() {
        let names = ["a", "b"].into_iter().cycle().take(80);
        let story: Vec<_> =
            names.enumerate().map(|(at, name)| (at as u64, Some(name), Ground::Sentinel)).collect();
        assert_eq!(play(&story).len(), KEPT);
    }
}
