//! How long to wait before the next attempt: doubling from a base to a cap, half of it by chance. Kind: pure.
//!
//! Half of each delay is fixed and half is random: those who failed together don't come back together, and yet
//! nobody hammers (with a fully random delay some would retry at once).

use std::time::Duration;

/// The delays of one series of attempts; `reset` it once an attempt has succeeded.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts: u32,
}

impl Backoff {
    /// The first delay is at most `base`, none is longer than `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempts: 0 }
    }

    /// The delay before the next attempt; `random` is any uniform number.
    pub fn next_delay(&mut self, random: u32) -> Duration {
        let ceiling = self.ceiling();
        self.attempts = self.attempts.saturating_add(1);
        ceiling / 2 + fraction(ceiling / 2, random)
    }

    /// The attempt succeeded: the next series starts from the base again.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How many attempts have failed in a row.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    fn ceiling(&self) -> Duration {
        let doubled = 1u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.base.saturating_mul(doubled).min(self.cap)
    }
}

/// The part of `span` that `random` stands for: 0 is nothing, the largest number is nearly all of it.
pub fn fraction(span: Duration, random: u32) -> Duration {
    span.mul_f64(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn check(attempt: usize, random: u32, expected: Duration) {
        let mut backoff = Backoff::new(100 * MS, 1000 * MS);
        let delay = std::iter::repeat_with(|| backoff.next_delay(random)).nth(attempt);
        assert_eq!(delay, Some(expected), "attempt {attempt}, random {random}");
    }

    #[test]
    fn without_luck_half_of_a_doubling_delay_is_waited() {
        check(0, 0, 50 * MS);
        check(1, 0, 100 * MS);
        check(2, 0, 200 * MS);
    }

    #[test]
    fn chance_fills_the_other_half() {
        check(0, 1 << 31, 75 * MS);
        check(1, 1 << 31, 150 * MS);
    }

    #[test]
    fn the_cap_holds_however_long_the_series() {
        check(4, 0, 500 * MS);
        check(100, 0, 500 * MS);
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::new(100 * MS, 1000 * MS);
        backoff.next_delay(0);
        backoff.next_delay(0);
        assert_eq!(backoff.attempts(), 2);
        backoff.reset();
        assert_eq!(backoff.next_delay(0), 50 * MS);
    }

    proptest! {
        #[test]
        fn a_delay_lies_between_half_the_ceiling_and_the_ceiling(failed in 0usize..80, random: u32) {
            let mut backoff = Backoff::new(10 * MS, 5000 * MS);
            for _ in 0..failed {
                backoff.next_delay(0);
            }
            let ceiling = backoff.ceiling();
            let delay = backoff.next_delay(random);
            prop_assert!(ceiling / 2 <= delay && delay <= ceiling);
        }
    }
}
