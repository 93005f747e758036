//! From what was seen to the figures of a drill. Kind: pure.

use std::collections::HashSet;
use std::time::Instant;

use crate::load::tally::Tally;
use crate::report::Figures;

/// What PostgreSQL's clients send.
pub(super) const FAILED_STATEMENTS: &str = "failed_statements";
/// What the clients of Redis send.
pub(super) const FAILED_COMMANDS: &str = "failed_commands";

/// The figures that every drill of PostgreSQL reports, in the order in which they are read.
pub(super) const ORDER: [&str; 11] = [
    "lost_acked_writes",
    "misrouted_writes",
    "disconnected_clients",
    FAILED_STATEMENTS,
    "unknown_outcome",
    "detect_ms",
    "promote_ms",
    "blackout_ms",
    "resume_after_promotion_ms",
    "held",
    "replayed",
];

/// How it is told that a write went to a server that was no longer the primary.
#[derive(Clone, Debug)]
pub(super) enum Trail {
    /// Every row tells on which timeline it was written, and this one is the primary's at the end.
    Timeline(String),
    /// These ids were seen on the old master after the promotion. Sentinels that disagree may promote twice.
    Elsewhere {
        /// The ids.
        ids: HashSet<i64>,
        /// When the master of the end was promoted.
        last: Instant,
    },
}

/// What was seen in one run.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When the primary was hurt.
    pub(super) struck: Instant,
    /// When the router was first seen to hold somebody; a peer has no such sign.
    pub(super) held_since: Option<Instant>,
    /// When a direct watcher saw another node leave recovery.
    pub(super) promoted: Instant,
    /// When nobody waited for news any more.
    pub(super) ended: Instant,
    /// What the clients remember.
    pub(super) tally: Tally,
    /// The ids on the primary at the end.
    pub(super) present: HashSet<i64>,
    /// Where misrouted writes show.
    pub(super) trail: Trail,
    /// What failed: statements, commands.
    pub(super) failed: &'static str,
    /// How many statements the router held.
    pub(super) held: f64,
    /// How many it ran again.
    pub(super) replayed: f64,
}

impl Facts {
    /// All figures of [`ORDER`], and some that explain them.
    ///
    /// A load that never resumed is billed for all the time that was waited for it: the figure is then a lower bound.
    pub(super) fn figures(&self) -> Figures {
        let tally = &self.tally;
        let resumed = tally.first_ack_after(self.promoted);
        let silent =
            tally.acked().map(|write| write.ended).max().map_or(0.0, |last| millis(last, self.ended));
        let blackout = tally.blackout().as_secs_f64() * 1e3;
        Figures::from([
            figure("lost_acked_writes", tally.lost(&self.present) as f64),
            figure("misrouted_writes", self.misrouted(tally) as f64),
            figure("disconnected_clients", tally.disconnected_clients() as f64),
            figure(self.failed, tally.failed() as f64),
            figure("unknown_outcome", tally.unknown() as f64),
            figure("detect_ms", millis(self.struck, self.detected())),
            figure("promote_ms", millis(self.struck, self.promoted)),
            figure("blackout_ms", if resumed.is_some() { blackout } else { blackout.max(silent) }),
            figure("resume_after_promotion_ms", millis(self.promoted, resumed.unwrap_or(self.ended))),
            figure("held", self.held),
            figure("replayed", self.replayed),
            figure("unknown_after_promotion", tally.unknown_after(self.promoted) as f64),
            figure("failed_but_written", tally.failed_but_written(&self.present) as f64),
            figure("acked_writes", tally.acked().count() as f64),
            figure("failed_logins", tally.failed_logins() as f64),
        ])
    }

    /// How many writes of a load went to a server that was no longer the primary.
    pub(super) fn misrouted(&self, tally: &Tally) -> usize {
        match &self.trail {
            Trail::Timeline(timeline) => tally.misrouted(self.promoted, timeline),
            Trail::Elsewhere { ids, last } => tally.astray(self.promoted, *last, &self.present, ids),
        }
    }

    /// The first sign that the subject knew: somebody was held, or somebody was told.
    fn detected(&self) -> Instant {
        let told = self.tally.first_trouble_after(self.struck);
        self.held_since.into_iter().chain(told).min().unwrap_or(self.promoted)
    }
}

fn figure(name: &str, value: f64) -> (String, f64) {
    // A tenth of a millisecond is finer than anything that is measured here.
    (name.to_string(), (value * 10.0).round() / 10.0)
}

pub(super) fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

/// One line for the one who waits: what is read first.
pub(super) fn summary(subject: &str, figures: &Figures, order: &[&str]) -> String {
    let first = order.iter().filter_map(|name| Some(format!("{name} {}", figures.get(*name)?))).take(8);
    format!("{subject}: {}", first.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::tally::{ClientLog, Evidence, Outcome, Write};

    fn facts(acks: &[(i64, u64, &str)]) -> Facts {
        let base = Instant::now();
        let at = |ms: u64| base + Duration::from_millis(ms);
        let write = |&(id, ended, timeline): &(i64, u64, &str)| Write {
            id: Some(id),
            sent: at(ended - 1),
            ended: at(ended),
            outcome: Outcome::Acked(Some(Evidence::new("n", timeline))),
        };
        let client = ClientLog { writes: acks.iter().map(write).collect(), ..ClientLog::default() };
        Facts {
            struck: at(1000),
            held_since: Some(at(1005)),
            promoted: at(3000),
            ended: at(9000),
            tally: Tally { clients: vec![client] },
            present: HashSet::from([1, 2, 3]),
            trail: Trail::Timeline("00000002".into()),
            failed: FAILED_STATEMENTS,
            held: 1.0,
            replayed: 0.0,
        }
    }

    #[track_caller]
    fn check(facts: &Facts, name: &str, expected: f64) {
        assert_eq!(facts.figures()[name], expected, "{name}");
    }

    #[test]
    fn a_failover_that_went_well() {
        let facts = facts(&[(1, 990, "00000001"), (2, 999, "00000001"), (3, 3040, "00000002")]);
        check(&facts, "lost_acked_writes", 0.0);
        check(&facts, "misrouted_writes", 0.0);
        check(&facts, "detect_ms", 5.0);
        check(&facts, "promote_ms", 2000.0);
        check(&facts, "blackout_ms", 2041.0);
        check(&facts, "resume_after_promotion_ms", 40.0);
    }

    #[test]
    fn a_load_that_never_resumed_is_billed_for_the_whole_wait() {
        let facts = facts(&[(1, 990, "00000001"), (4, 999, "00000001")]);
        check(&facts, "lost_acked_writes", 1.0);
        check(&facts, "resume_after_promotion_ms", 6000.0);
        check(&facts, "blackout_ms", 8001.0);
    }

    #[test]
    fn an_ack_of_the_old_primary_after_the_promotion_is_misrouted() {
        check(&facts(&[(1, 3500, "00000001")]), "misrouted_writes", 1.0);
    }

    #[test]
    fn a_summary_tells_what_is_read_first() {
        let figures = Figures::from([figure("b", 2.0), figure("a", 1.25), figure("c", 3.0)]);
        assert_eq!(summary("x", &figures, &["a", "missing", "b"]), "x: a 1.3, b 2");
    }

    #[test]
    fn every_figure_of_the_order_is_there() {
        let figures = facts(&[]).figures();
        assert!(ORDER.iter().all(|name| figures.contains_key(*name)));
    }
}
