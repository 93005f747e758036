//! What a server connection owes: one [`Unit`] for each ReadyForQuery that must come. Kind: pure.
//!
//! A unit is what PostgreSQL answers as one: a simple Query, or all extended messages up to their Sync. The bytes of
//! the units in flight are kept (up to [`KEPT`]), so that what provably did not run can run elsewhere.

use std::collections::VecDeque;

/// Bytes of the requests in flight that are kept, per server connection. An ordinary web request's statement has a few
/// hundred; what is larger is not run again by us but reported to the client.
pub const KEPT: usize = 32 * 1024;

/// Whose request, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours, to make a used connection new; all of the answer is ours.
    Reset,
    /// Ours, to give the connection the client's settings.
    Adjust,
    /// A Query or FunctionCall of the client.
    Simple,
    /// Extended messages of the client, up to Sync.
    Extended,
}

impl Kind {
    /// True for what the client did not send and must not see.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Reset | Self::Adjust)
    }
}

/// One ReadyForQuery that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Whose, and how.
    pub kind: Kind,
    /// How many of the kept bytes are its.
    pub bytes: usize,
    /// Its Sync was not sent yet.
    pub open: bool,
    /// Some of its answer has gone to the client.
    pub touched: bool,
    /// A CommandComplete of it has come.
    pub completed: bool,
}

/// The units owed, oldest first, and the bytes that made them.
#[derive(Debug, Default)]
pub struct Ledger {
    units: VecDeque<Unit>,
    kept: Vec<u8>,
    overflown: bool,
    copying: bool,
    doubtful: bool,
}

impl Ledger {
    /// Nobody owes anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The unit that is being answered.
    #[inline]
    pub fn front(&mut self) -> Option<&mut Unit> {
        self.units.front_mut()
    }

    /// The units, oldest first.
    pub fn units(&self) -> impl ExactSizeIterator<Item = &Unit> {
        self.units.iter()
    }

    /// The bytes of all units of the client, if all were kept.
    pub fn kept(&self) -> Option<&[u8]> {
        (!self.overflown).then_some(&self.kept)
    }

    /// A request of ours was sent.
    pub fn owe_ours(&mut self, kind: Kind) {
        self.owe(kind, 0, false);
    }

    /// A Query of `bytes` was sent.
    #[inline]
    pub fn owe_simple(&mut self, bytes: usize) {
        self.owe(Kind::Simple, bytes, false);
    }

    /// An extended message of `bytes` other than Sync was sent.
    #[inline]
    pub fn owe_extended(&mut self, bytes: usize) {
        match self.units.back_mut() {
            Some(unit) if unit.open => unit.bytes += bytes,
            _ => self.owe(Kind::Extended, bytes, true),
        }
    }

    /// A Sync of `bytes` was sent. The server skips it while it reads COPY data ("the backend will ignore Flush and
    /// Sync messages received during copy-in mode"; documentation, 55.2.6).
    #[inline]
    pub fn sync(&mut self, bytes: usize) {
        if self.copying {
            self.doubtful = true; // an error that we have not seen yet may have ended the COPY before
            return self.overflow();
        }
        match self.units.back_mut() {
            Some(unit) if unit.open => {
                unit.bytes += bytes;
                unit.open = false;
            }
            _ => self.owe(Kind::Extended, bytes, false),
        }
    }

    /// A Flush of `bytes` was sent: it is never answered.
    pub fn flush(&mut self, bytes: usize) {
        match self.units.back_mut() {
            Some(unit) if unit.open => unit.bytes += bytes,
            _ => self.overflow(),
        }
    }

    /// Which Sync is answered could not be told for certain: another client must not hear what is left over.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Bytes of the client's requests were sent; they are kept while there is room.
    #[inline]
    pub fn keep(&mut self, bytes: &[u8]) {
        if self.overflown || self.kept.len() + bytes.len() > KEPT {
            return self.overflow();
        }
        self.kept.extend_from_slice(bytes);
    }

    /// COPY data and the like: what is in flight can't be repeated from here.
    pub fn overflow(&mut self) {
        self.overflown = true;
        self.kept.clear();
    }

    /// The server has begun to read COPY data: the Sync that came with the Execute is being skipped.
    pub fn copy_in(&mut self) {
        self.copying = true;
        self.overflow();
        self.doubtful |= self.units.front().is_some_and(|unit| unit.kind == Kind::Extended && !unit.open);
        match self.units.get(1) {
            _ if self.units.front().is_none_or(|unit| unit.kind != Kind::Extended || unit.open) => {}
            Some(next) if next.kind == Kind::Extended => drop(self.units.remove(1)),
            _ => self.units.iter_mut().take(1).for_each(|unit| unit.open = true),
        }
    }

    /// The client's COPY data is over (CopyDone, CopyFail), or the server wants no more of it.
    pub fn copy_over(&mut self) {
        self.copying = false;
    }

    /// A ReadyForQuery has come: the oldest unit is settled.
    #[inline]
    pub fn settle(&mut self) -> Option<Unit> {
        let unit = self.units.pop_front()?;
        if self.units.is_empty() {
            self.kept.clear();
            self.overflown = false;
            self.copying = false;
            if self.kept.capacity() > KEPT / 4 {
                self.kept = Vec::new();
            }
        } else if !self.overflown {
            self.kept.drain(..unit.bytes.min(self.kept.len()));
        }
        Some(unit)
    }

    fn owe(&mut self, kind: Kind, bytes: usize, open: bool) {
        self.units.push_back(Unit { kind, bytes, open, touched: false, completed: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(ledger: &Ledger) -> Vec<(Kind, bool)> {
        ledger.units().map(|unit| (unit.kind, unit.open)).collect()
    }

    #[test]
    fn extended_messages_up_to_sync_are_one_unit() {
        let mut ledger = Ledger::default();
        ledger.owe_extended(10);
        ledger.owe_extended(10);
        ledger.sync(5);
        ledger.sync(5);
        assert_eq!(kinds(&ledger), [(Kind::Extended, false), (Kind::Extended, false)]);
        assert_eq!(ledger.settle().unwrap().bytes, 25);
    }

    #[test]
    fn settled_units_take_their_bytes_along() {
        let mut ledger = Ledger::default();
        ledger.owe_simple(3);
        ledger.owe_simple(2);
        ledger.keep(b"aaabb");
        ledger.settle();
        assert_eq!(ledger.kept(), Some(&b"bb"[..]));
        ledger.settle();
        assert!(ledger.is_empty());
    }

    #[test]
    fn what_is_too_large_is_not_kept_but_still_owed() {
        let mut ledger = Ledger::default();
        ledger.owe_simple(KEPT + 1);
        ledger.keep(&[0; KEPT + 1]);
        assert_eq!(ledger.kept(), None);
        assert!(ledger.settle().is_some());
        assert_eq!(ledger.kept(), Some(&[][..]));
    }

    #[test]
    fn the_sync_behind_an_execute_that_starts_copy_in_is_not_answered() {
        let mut ledger = Ledger::default();
        ledger.owe_extended(10);
        ledger.sync(5);
        ledger.copy_in();
        assert_eq!(kinds(&ledger), [(Kind::Extended, true)]);
        ledger.sync(5); // still copying: skipped by the server too
        assert_eq!(kinds(&ledger), [(Kind::Extended, true)]);
        ledger.copy_over();
        ledger.sync(5);
        assert_eq!(kinds(&ledger), [(Kind::Extended, false)]);
    }

    #[test]
    fn copy_in_of_a_simple_query_owes_what_it_owed() {
        let mut ledger = Ledger::default();
        ledger.owe_simple(10);
        ledger.copy_in();
        assert_eq!(kinds(&ledger), [(Kind::Simple, false)]);
    }
}
