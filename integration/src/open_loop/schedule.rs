//! When requests are due. Kind: pure.

use std::time::Duration;

/// Moments that many independent users would choose: the gaps between them are exponentially distributed, so that what
/// comes next never depends on what came before, least of all on how long an answer took.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// The mean gap in nanoseconds.
    gap: f64,
    due: f64,
}

impl Schedule {
    /// So many per second, from the moment 0 on.
    pub(crate) fn new(per_second: f64) -> Self {
        Self { gap: 1e9 / per_second.max(1e-3), due: 0.0 }
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_nanos(self.due as u64)
    }

    /// Goes on to the one behind it; `random` is uniform in 0..1.
    pub(crate) fn advance(&mut self, random: f64) {
        self.due -= self.gap * (1.0 - random).max(1e-12).ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_long_run_there_are_as_many_as_were_asked_for() {
        let mut schedule = Schedule::new(1000.0);
        for step in 0..100_000 {
            schedule.advance((f64::from(step) + 0.5) / 100_000.0);
        }
        let seconds = schedule.due().as_secs_f64();
        assert!((99.0..101.0).contains(&seconds), "100 000 at 1000 a second took {seconds} s");
    }

    #[test]
    fn no_gap_is_negative_and_none_endless() {
        let mut schedule = Schedule::new(1.0);
        schedule.advance(0.0);
        assert_eq!(schedule.due(), Duration::ZERO);
        schedule.advance(1.0);
        assert!(schedule.due() < Duration::from_secs(60));
    }
}
