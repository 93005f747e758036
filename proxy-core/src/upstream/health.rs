//! Is an endpoint fit? A machine of rise and fall, fed by checks and by traffic. Kind: pure.
//!
//! Promise: traffic may only lower an endpoint, a probe alone raises it.

/// How many checks in a row turn an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed checks in a row that bring a `Down` endpoint up.
    pub rise: u16,
    /// Failed checks in a row that bring an `Up` endpoint down.
    pub fall: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rise: 2, fall: 3 }
    }
}

/// What was learned about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A probe succeeded.
    Passed,
    /// A probe failed.
    Failed,
    /// Traffic met something that leaves no doubt: a refused connection, a server that says it is going away.
    Lowered,
}

/// The observed state of an endpoint.
///
/// ```text
///   Unknown ───── failed ────────────────────────────────────────► Down
///      │                                                           ▲ │ ▲
///      │ passed                     failed, the fall-th in a row   │ │ │
///      │                             ┌─────────────────────────────┘ │ │
///      ▼                             │                        passed │ │ failed
///      Up ──────── failed ──────► Falling(n)                         ▼ │
///      ▲ ◄──────── passed ───────────┘                            Rising(n)
///      └─────────────────── passed, the rise-th in a row ────────────┘
///
///   Falling(n) and Rising(n) count up on their own kind of check; `Lowered` leads from anywhere to Down.
/// ```
///
/// `Falling` and `Rising` count in their argument the checks so far and stay within their side: an endpoint that is
/// falling still serves, one that is rising does not yet. The very first check decides alone, because nothing
/// speaks against it and a start shouldn't wait for `rise` beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Never checked; serves nobody.
    Unknown,
    /// Serves.
    Up,
    /// Serves, but the last checks failed.
    Falling(u16),
    /// Serves nobody.
    Down,
    /// Serves nobody yet, but the last checks passed.
    Rising(u16),
}

impl Health {
    /// The state after `event`.
    #[must_use]
    pub fn after(self, event: Event, thresholds: Thresholds) -> Self {
        match (self, event) {
            (_, Event::Lowered) => Self::Down,
            (Self::Unknown | Self::Up | Self::Falling(_), Event::Passed) => Self::Up,
            (Self::Unknown | Self::Down | Self::Rising(_), Event::Failed) => Self::Down,
            (Self::Up, Event::Failed) => Self::falling(1, thresholds),
            (Self::Falling(n), Event::Failed) => Self::falling(n.saturating_add(1), thresholds),
            (Self::Down, Event::Passed) => Self::rising(1, thresholds),
            (Self::Rising(n), Event::Passed) => Self::rising(n.saturating_add(1), thresholds),
        }
    }

    /// Whether an endpoint in this state may serve.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Falling(_))
    }

    /// The state's name, for people and for labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Falling(_) => "falling",
            Self::Down => "down",
            Self::Rising(_) => "rising",
        }
    }

    /// The state as one number, so that an endpoint can keep it in an atomic.
    pub(super) const fn to_bits(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Up => 1 << 16,
            Self::Falling(n) => (2 << 16) | n as u32,
            Self::Down => 3 << 16,
            Self::Rising(n) => (4 << 16) | n as u32,
        }
    }

    /// The inverse of `to_bits`.
    pub(super) const fn from_bits(bits: u32) -> Self {
        let count = (bits & 0xffff) as u16;
        match bits >> 16 {
            1 => Self::Up,
            2 => Self::Falling(count),
            3 => Self::Down,
            4 => Self::Rising(count),
            _ => Self::Unknown,
        }
    }

    const fn falling(count: u16, thresholds: Thresholds) -> Self {
        if count >= thresholds.fall { Self::Down } else { Self::Falling(count) }
    }

    const fn rising(count: u16, thresholds: Thresholds) -> Self {
        if count >= thresholds.rise { Self::Up } else { Self::Rising(count) }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::Health::*;
    use super::*;

    const TWO_UP_THREE_DOWN: Thresholds = Thresholds { rise: 2, fall: 3 };

    #[test]
    fn every_arrow_and_no_other() {
        let arrows = [
            (Unknown, Passed, Up),
            (Unknown, Failed, Down),
            (Unknown, Lowered, Down),
            (Up, Passed, Up),
            (Up, Failed, Falling(1)),
            (Up, Lowered, Down),
            (Falling(1), Passed, Up),
            (Falling(1), Failed, Falling(2)),
            (Falling(1), Lowered, Down),
            (Falling(2), Passed, Up),
            (Falling(2), Failed, Down),
            (Falling(2), Lowered, Down),
            (Down, Passed, Rising(1)),
            (Down, Failed, Down),
            (Down, Lowered, Down),
            (Rising(1), Passed, Up),
            (Rising(1), Failed, Down),
            (Rising(1), Lowered, Down),
        ];
        for (from, event, to) in arrows {
            let reached = from.after(event, TWO_UP_THREE_DOWN);
            assert_eq!(reached, to, "{from:?} after {event:?}");
            assert!(reached != Unknown, "what was learned is not forgotten: {from:?} after {event:?}");
            assert!(event != Lowered || !reached.is_up(), "traffic never raises: {from:?}");
            assert!(from.is_up() || !reached.is_up() || event == Passed, "a probe alone raises: {from:?}");
        }
    }

    fn check(rise: u16, fall: u16, events: &[Event], expected: Health) {
        let end =
            events.iter().fold(Unknown, |health, &event| health.after(event, Thresholds { rise, fall }));
        assert_eq!(end, expected, "rise {rise}, fall {fall}: {events:?}");
    }

    #[test]
    fn thresholds_count_checks_in_a_row() {
        check(2, 3, &[Passed, Failed, Failed, Passed, Failed, Failed], Falling(2));
        check(2, 3, &[Failed, Passed, Failed, Passed], Rising(1));
        check(1, 1, &[Passed, Failed], Down);
        check(1, 1, &[Passed, Failed, Passed], Up);
        check(3, 1, &[Failed, Passed, Passed, Passed], Up);
    }

    #[test]
    fn zero_means_the_same_as_one() {
        check(0, 0, &[Passed, Failed], Down);
        check(0, 0, &[Failed, Passed], Up);
    }

    #[test]
    fn one_number_holds_every_state() {
        for health in [Unknown, Up, Falling(1), Falling(u16::MAX), Down, Rising(1), Rising(u16::MAX)] {
            assert_eq!(Health::from_bits(health.to_bits()), health);
        }
    }
}
