//! What the answers of Redis must be, given what was acknowledged before. Kind: pure.

use std::collections::VecDeque;
use std::time::Instant;

/// What an answer proves.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    /// So many acknowledged writes are gone.
    pub(super) vanished: u64,
    /// Something happened that nobody asked for, or asked for once and happened twice.
    pub(super) impossible: bool,
    /// When the acknowledged pops were sent that are gone, too: the queue gave what they had taken again.
    pub(super) undone: Vec<Instant>,
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
            return Proof { vanished, ..Proof::default() };
        }
        self.alive += 1;
        let impossible = more > self.unknown;
        self.unknown = (self.unknown - more).max(0);
        Proof { impossible, ..Proof::default() }
    }
}

/// So many pops are remembered, many times what a master may lose of one client.
const TAKEN: usize = 1024;

/// A queue that one client alone fills and empties.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The items from the oldest on, and whether it is sure that they are there.
    items: VecDeque<(i64, bool)>,
    /// So many of them were there when the pop under way was sent.
    asked: usize,
    /// What was popped last, oldest first, and when that was asked for.
    taken: VecDeque<(i64, Instant)>,
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
        Proof { vanished: vanished as u64, ..Proof::default() }
    }

    /// A pop that was sent at this moment gave this item, so that all that were older are gone.
    pub(super) fn popped(&mut self, item: i64, sent: Instant) -> Proof {
        let undone = self.undone_by(item);
        let Some(at) = self.items.iter().position(|(known, _)| *known == item) else {
            return Proof { impossible: true, ..Proof::default() };
        };
        let older = self.items.drain(..=at).filter(|(known, sure)| *sure && *known != item).count();
        self.taken.push_back((item, sent));
        if self.taken.len() > TAKEN {
            self.taken.pop_front();
        }
        Proof { vanished: older as u64, impossible: false, undone }
    }

    /// An item that comes again shows that its pop is gone and all that followed: a new master knew nothing of them.
    /// What they had taken may be there again.
    fn undone_by(&mut self, item: i64) -> Vec<Instant> {
        let Some(at) = self.taken.iter().position(|(known, _)| *known == item) else { return Vec::new() };
        let undone: Vec<_> = self.taken.drain(at..).collect();
        undone.iter().rev().for_each(|(known, _)| self.items.push_front((*known, false)));
        undone.into_iter().map(|(_, sent)| sent).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gone(vanished: u64) -> Proof {
        Proof { vanished, ..Proof::default() }
    }

    fn impossible() -> Proof {
        Proof { impossible: true, ..Proof::default() }
    }

    #[test]
    fn a_counter_goes_up_by_one() {
        let mut counter = Counter::default();
        assert_eq!([1, 2, 3].map(|value| counter.acked(value)), [0; 3].map(gone));
        assert_eq!(counter.acked(5), impossible());
    }

    #[test]
    fn an_increment_of_unknown_outcome_may_show_once_and_late() {
        let mut counter = Counter::default();
        counter.unknown();
        assert_eq!(counter.acked(1), gone(0));
        assert_eq!(counter.acked(3), gone(0));
        assert_eq!(counter.acked(5), impossible());
    }

    #[test]
    fn a_counter_that_goes_back_has_lost_what_it_had_told() {
        let mut counter = Counter::default();
        assert_eq!([1, 2, 3].map(|value| counter.acked(value)), [0; 3].map(gone));
        assert_eq!(counter.acked(2), gone(2));
        assert_eq!(counter.acked(3), gone(0));
        assert_eq!(counter.acked(100), impossible());
        assert_eq!(counter.acked(4), gone(4));
    }

    #[test]
    fn a_queue_keeps_its_order() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        [1, 2, 3].into_iter().for_each(|item| queue.pushed(item, true));
        assert_eq!(queue.popped(1, now), gone(0));
        assert_eq!(queue.popped(3, now), gone(1));
        assert_eq!(queue.popped(4, now), impossible());
    }

    #[test]
    fn a_queue_that_gives_an_item_again_has_lost_its_pop_and_all_that_followed() {
        let (mut queue, begin) = (Queue::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        [1, 2, 3, 4].into_iter().for_each(|item| queue.pushed(item, true));
        for item in [1, 2, 3] {
            assert_eq!(queue.popped(item, at(item as u64)), gone(0));
        }
        assert_eq!(queue.popped(2, at(9)).undone, [at(2), at(3)]);
        assert_eq!(queue.popped(3, at(10)), gone(0), "it was there again");
        assert_eq!(queue.popped(4, at(11)), gone(0));
        assert_eq!(queue.popped(4, at(12)).undone, [at(11)]);
    }

    #[test]
    fn what_may_have_been_popped_or_not_pushed_is_not_missed() {
        let mut queue = Queue::default();
        queue.pushed(1, true);
        queue.pushed(2, false);
        queue.pushed(3, true);
        queue.unknown_pop();
        assert_eq!(queue.popped(3, Instant::now()), gone(0));
        queue.pushed(4, true);
        queue.asked();
        queue.pushed(5, true);
        assert_eq!(queue.empty(), gone(1));
        assert_eq!(queue.popped(5, Instant::now()), gone(0), "it came too late for the pop");
    }
}
