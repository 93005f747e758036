//! What of an answer waits for one client: it is taken in as long as there is room, and given out in order. Kind: driver.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Budget, Spool};

/// What of an answer waits for one client.
pub struct Backlog {
    spool: Spool,
    /// Bytes that found no room: they are the last ones, and until they are taken there is none for others.
    spare: Bytes,
    /// How much may wait.
    most: u64,
    taken: u64,
}

impl Backlog {
    /// Nothing waits.
    pub fn new(budget: &Arc<Budget>, most: u64) -> Self {
        Self { spool: Spool::new(budget), spare: Bytes::new(), most, taken: 0 }
    }

    /// Takes bytes in, only while [there is room](Self::has_room); what the budget does not grant is kept all the same, as
    /// the last of it.
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(self.has_room(), "what waits would be overtaken");
        if let Err(full) = self.spool.push(bytes) {
            tracing::debug!(%full, "an answer is taken at the client's pace");
            self.spare = Bytes::copy_from_slice(bytes);
        }
    }

    /// Whether more may be taken in.
    pub fn has_room(&self) -> bool {
        self.spare.is_empty() && self.len() < self.most
    }

    /// How many bytes wait.
    pub fn len(&self) -> u64 {
        self.spool.len() - self.taken + self.spare.len() as u64
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, where it lies in one place; only before anything is taken.
    pub fn whole(&self) -> Option<&[u8]> {
        match self.spare.is_empty() {
            true => self.spool.whole(),
            false if self.spool.is_empty() => Some(&self.spare),
            false => None,
        }
    }

    /// Gives the oldest bytes out.
    ///
    /// # Errors
    /// Those of the file.
    pub fn take(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(piece) = self.spool.take()? {
            self.taken += piece.len() as u64;
            return Ok(Some(piece));
        }
        let spare = std::mem::take(&mut self.spare);
        Ok((!spare.is_empty()).then_some(spare))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Limits;

    #[test]
    fn what_the_budget_refuses_comes_last_and_closes_the_door() {
        let mut backlog = Backlog::new(&Budget::new(Limits { memory: 4, disk: 0 }), 100);
        backlog.push(b"abcd");
        assert!(backlog.has_room());
        backlog.push(b"efgh");
        assert!(!backlog.has_room() && backlog.len() == 8 && backlog.whole().is_none());
        assert_eq!(backlog.take().unwrap().unwrap(), "abcd");
        assert!(!backlog.has_room());
        assert_eq!(backlog.take().unwrap().unwrap(), "efgh");
        assert!(backlog.has_room() && backlog.is_empty() && backlog.take().unwrap().is_none());
    }

    #[test]
    fn one_client_may_not_let_more_wait_than_the_most() {
        let mut backlog = Backlog::new(&Budget::new(Limits { memory: 100, disk: 0 }), 4);
        backlog.push(b"abc");
        assert!(backlog.has_room());
        backlog.push(b"def");
        assert!(!backlog.has_room());
        assert_eq!(backlog.whole(), Some(&b"abcdef"[..]));
        backlog.take().unwrap();
        assert!(backlog.has_room());
    }
}
