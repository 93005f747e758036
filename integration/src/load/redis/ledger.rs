//! What the answers of Redis must be, given what was acknowledged before. Kind: pure.

use std::collections::VecDeque;

/// What an answer proves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// So many acknowledged writes are gone.
    pub(super) vanished: u64,
    /// Something happened that nobody asked for, or asked for once and happened twice.
    pub(super) impossible: bool,
}

/// A counter that one client alone increments.
#[derive(Debug, Default)]
pub(super) struct Counter {
    last: i64,
    /// Acknowledged increments that no answer has shown to be gone.
    alive: u64,
    /// Increments of unknown outcome that no answer has shown yet.
    unknown: i64,
}

impl Counter {
    /// An increment may have happened.
    pub(super) fn unknown(&mut self) {
        self.unknown += 1;
    }

    /// An increment was acknowledged with this value.
    pub(super) fn acked(&mut self, value: i64) -> Proof {
        let more = value - self.last - 1;
        self.last = value;
        if more < 0 {
            // Between two masters a counter goes to and fro; no increment is gone twice.
            let vanished = more.unsigned_abs().min(self.alive);
            self.alive = self.alive - vanished + 1;
            return Proof { vanished, impossible: false };
        }
        self.alive += 1;
        let impossible = more > self.unknown;
        self.unknown = (self.unknown - more).max(0);
        Proof { vanished: 0, impossible }
    }
}

/// A queue that one client alone fills and empties.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The items from the oldest on, and whether it is sure that they are there.
    items: VecDeque<(i64, bool)>,
    /// So many of them were there when the pop under way was sent.
    asked: usize,
}

impl Queue {
    /// An item was pushed; `sure` if that was acknowledged.
    pub(super) fn pushed(&mut self, item: i64, sure: bool) {
        self.items.push_back((item, sure));
    }

    /// A pop is sent. What is pushed from now on may come too late for it, whenever its answer comes.
    pub(super) fn asked(&mut self) {
        self.asked = self.items.len();
    }

    /// A pop may have taken the oldest item along.
    pub(super) fn unknown_pop(&mut self) {
        if let Some(oldest) = self.items.iter_mut().find(|(_, sure)| *sure) {
            oldest.1 = false;
        }
    }

    /// A pop waited in vain: whatever was there before it is gone.
    pub(super) fn empty(&mut self) -> Proof {
        let there = self.asked.min(self.items.len());
        let vanished = self.items.drain(..there).filter(|(_, sure)| *sure).count();
        Proof { vanished: vanished as u64, impossible: false }
    }

    /// A pop gave this item, so that all that were older are gone.
    pub(super) fn popped(&mut self, item: i64) -> Proof {
        let Some(at) = self.items.iter().position(|(known, _)| *known == item) else {
            return Proof { vanished: 0, impossible: true };
        };
        let older = self.items.drain(..=at).filter(|(known, sure)| *sure && *known != item).count();
        Proof { vanished: older as u64, impossible: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(vanished: u64) -> Proof {
        Proof { vanished, impossible: false }
    }

    const IMPOSSIBLE: Proof = Proof { vanished: 0, impossible: true };

    #[test]
    fn a_counter_goes_up_by_one() {
        let mut counter = Counter::default();
        assert_eq!([1, 2, 3].map(|value| counter.acked(value)), [gone(0); 3]);
        assert_eq!(counter.acked(5), IMPOSSIBLE);
    }

    #[test]
    fn an_increment_of_unknown_outcome_may_show_once_and_late() {
        let mut counter = Counter::default();
        counter.unknown();
        assert_eq!(counter.acked(1), gone(0));
        assert_eq!(counter.acked(3), gone(0));
        assert_eq!(counter.acked(5), IMPOSSIBLE);
    }

    #[test]
    fn a_counter_that_goes_back_has_lost_what_it_had_told() {
        let mut counter = Counter::default();
        assert_eq!([1, 2, 3].map(|value| counter.acked(value)), [gone(0); 3]);
        assert_eq!(counter.acked(2), gone(2));
        assert_eq!(counter.acked(3), gone(0));
        assert_eq!(counter.acked(100), IMPOSSIBLE);
        assert_eq!(counter.acked(4), gone(4));
    }

    #[test]
    fn a_queue_keeps_its_order() {
        let mut queue = Queue::default();
        [1, 2, 3].into_iter().for_each(|item| queue.pushed(item, true));
        assert_eq!(queue.popped(1), gone(0));
        assert_eq!(queue.popped(3), gone(1));
        assert_eq!(queue.popped(3), IMPOSSIBLE);
    }

    #[test]
    fn what_may_have_been_popped_or_not_pushed_is_not_missed() {
        let mut queue = Queue::default();
        queue.pushed(1, true);
        queue.pushed(2, false);
        queue.pushed(3, true);
        queue.unknown_pop();
        assert_eq!(queue.popped(3), gone(0));
        queue.pushed(4, true);
        queue.asked();
        queue.pushed(5, true);
        assert_eq!(queue.empty(), gone(1));
        assert_eq!(queue.popped(5), gone(0), "it came too late for the pop");
    }
}
