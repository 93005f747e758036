//! How much of the traffic an endpoint should get, now: its weight, growing while it is fresh. Kind: pure.

use std::time::Duration;

/// One unit of configured weight, so that a ramp has steps to climb.
pub const UNIT: u32 = 256;

/// The least share of its weight that a fresh endpoint gets, in units of 1/`UNIT`: 1/16. Not zero, because an
/// endpoint that gets nothing never warms up.
const FLOOR: u128 = (UNIT / 16) as u128;

/// The weight `up_for` after the endpoint came up, in `UNIT`s: a straight line from a sixteenth to the whole within
/// `slow_start`. A `slow_start` of zero is the whole at once.
pub fn ramped(weight: u16, up_for: Duration, slow_start: Duration) -> u32 {
    u32::from(weight) * share(up_for, slow_start)
}

fn share(up_for: Duration, slow_start: Duration) -> u32 {
    if up_for >= slow_start {
        return UNIT;
    }
    let climbed = u128::from(UNIT) * up_for.as_nanos() / slow_start.as_nanos();
    u32::try_from(climbed.max(FLOOR)).unwrap_or(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(weight: u16, up_for_s: u64, slow_start_s: u64, expected: u32) {
        let got = ramped(weight, Duration::from_secs(up_for_s), Duration::from_secs(slow_start_s));
        assert_eq!(got, expected, "weight {weight}, up for {up_for_s} s of {slow_start_s} s");
    }

    #[test]
    fn a_ramp_climbs_from_a_sixteenth_to_the_whole() {
        check(1, 0, 10, 16);
        check(1, 5, 10, 128);
        check(3, 5, 10, 3 * 128);
        check(1, 10, 10, 256);
        check(1, 11, 10, 256);
    }

    #[test]
    fn no_slow_start_is_the_whole_at_once() {
        check(1, 0, 0, 256);
        check(7, 3, 0, 7 * 256);
    }

    #[test]
    fn weight_zero_stays_zero() {
        check(0, 5, 10, 0);
        check(0, 5, 0, 0);
    }

    proptest! {
        #[test]
        fn a_ramp_never_falls_and_never_exceeds_the_weight(weight: u16, a in 0u64..100_000, b in 0u64..100_000, span in 0u64..50_000) {
            let at = |ms| ramped(weight, Duration::from_millis(ms), Duration::from_millis(span));
            prop_assert!(at(a.min(b)) <= at(a.max(b)));
            prop_assert!(at(a) <= u32::from(weight) * UNIT);
        }
    }
}
