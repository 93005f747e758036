//! For how long a replica has been behind, by the master's own progress. Kind: pure.
//!
//! Redis tells offsets, not times. The master's offset is noted as it grows; a replica is as old as the first note that
//! it has not reached.

use std::collections::VecDeque;
use std::time::Duration;

use super::observation::Moment;

/// How many notes are kept: at a probe a second a minute and more.
const KEPT: usize = 128;

/// The master's offset over time.
#[derive(Debug, Default)]
pub(super) struct Yardstick {
    notes: VecDeque<(Moment, u64)>,
}

impl Yardstick {
    /// The master's offset was this. A smaller one than before is another master's: measuring begins anew.
    pub(super) fn note(&mut self, now: Moment, offset: u64) {
        match self.notes.back() {
            Some((_, last)) if offset == *last => return,
            Some((_, last)) if offset < *last => self.notes.clear(),
            _ => {}
        }
        if self.notes.len() == KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back((now, offset));
    }

    /// How long ago the master was first seen beyond this offset.
    pub(super) fn lag(&self, now: Moment, offset: u64) -> Duration {
        let missed = self.notes.iter().find(|(_, noted)| *noted > offset);
        missed.map_or(Duration::ZERO, |(at, _)| now.saturating_sub(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_first_note_that_it_missed() {
        let mut yardstick = Yardstick::default();
        let second = Moment::from_secs;
        [(1, 100), (2, 100), (3, 200), (4, 300)]
            .into_iter()
            .for_each(|(at, offset)| yardstick.note(second(at), offset));
        let check = |offset, lag| assert_eq!(yardstick.lag(second(10), offset), second(lag), "{offset}");
        check(300, 0);
        check(250, 6);
        check(100, 7);
        check(0, 9);
    }

    #[test]
    fn another_master_starts_measuring_anew() {
        let mut yardstick = Yardstick::default();
        yardstick.note(Moment::from_secs(1), 500);
        yardstick.note(Moment::from_secs(2), 100);
        assert_eq!(yardstick.lag(Moment::from_secs(9), 100), Duration::ZERO);
    }

    #[test]
    fn notes_are_bounded() {
        let mut yardstick = Yardstick::default();
        (0..1000).for_each(|offset| yardstick.note(Moment::from_secs(offset), offset));
        assert_eq!(yardstick.notes.len(), KEPT);
    }
}
