//! Moderation: a busy worker that is about to wait for events sleeps a little first, so that one wake-up finds
//! several of them. What network cards call interrupt moderation. Kind: pure.
//!
//! A worker that is faster than its peers empties its queue after each event, sleeps, and is woken for the next one:
//! the wake-ups then cost more than the work. Whether a nap pays can't be seen from the load alone, so it is tried
//! now and then, and kept up for as long as a nap finds several events. A lone client never pays for it but in
//! one wait of [`TRIAL_EVERY`].

use rustix::thread::Timespec;

/// How long a nap is: far below what a client notices, far above what a wake-up costs.
pub(super) const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000 };

/// Sessions that must have had a turn after a nap for it to have paid.
const WORTHWHILE: u32 = 3;

/// Naps in a row that did not pay, after which none is taken.
const PATIENCE: u8 = 2;

/// Waits without a nap between two trials: so many that a lone client finds none of them among its slowest hundredth.
const TRIAL_EVERY: u16 = 1000;

/// Whether the naps of one worker pay.
pub(super) struct Moderation {
    state: State,
}

/// ```text
///   Awake ──TRIAL_EVERY waits──▶ Napping ──PATIENCE poor naps──▶ Awake
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Awake { waits: u16 },
    Napping { poor: u8 },
}

impl Moderation {
    pub(super) const fn new() -> Self {
        Self { state: State::Awake { waits: 0 } }
    }

    /// Called before each wait for events, with the turns that sessions had since the last one. True: nap first.
    pub(super) fn naps(&mut self, turns: u32) -> bool {
        self.state = match self.state {
            State::Awake { waits } if waits >= TRIAL_EVERY => State::Napping { poor: 0 },
            State::Awake { waits } => State::Awake { waits: waits + 1 },
            State::Napping { .. } if turns >= WORTHWHILE => State::Napping { poor: 0 },
            State::Napping { poor } if poor + 1 >= PATIENCE => State::Awake { waits: 0 },
            State::Napping { poor } => State::Napping { poor: poor + 1 },
        };
        matches!(self.state, State::Napping { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `waits` waits are preceded by a nap, if each brings `turns`.
    fn naps(moderation: &mut Moderation, waits: u32, turns: u32) -> usize {
        (0..waits).filter(|_| moderation.naps(turns)).count()
    }

    #[test]
    fn a_lone_client_is_delayed_in_a_few_waits_of_a_thousand() {
        assert!(naps(&mut Moderation::new(), 10_000, 1) <= 20);
    }

    #[test]
    fn a_crowd_is_moderated_from_the_first_trial_on() {
        assert!(naps(&mut Moderation::new(), 10_000, 8) >= 9_000);
    }

    #[test]
    fn a_crowd_that_leaves_frees_the_one_who_stays() {
        let mut moderation = Moderation::new();
        naps(&mut moderation, 1100, 8);
        assert!(naps(&mut moderation, 64, 1) <= usize::from(PATIENCE));
    }

    #[test]
    fn one_poor_nap_is_no_reason_to_stop() {
        let mut moderation = Moderation::new();
        naps(&mut moderation, 1100, 8);
        assert!(moderation.naps(1));
        assert!(moderation.naps(8));
        assert!(moderation.naps(1));
    }
}
