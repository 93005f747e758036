//! The latest commands that went beyond a limit: a ring. Kind: pure.

use std::collections::VecDeque;
use std::fmt::Display;

use serde::Serialize;

use super::key::KeyStyle;

/// What is noted.
pub struct Subject<'a> {
    /// The command's name, which is never what a client wrote.
    pub command: &'static str,
    /// Its first key.
    pub key: Option<&'a [u8]>,
    /// The client's address.
    pub client: &'a dyn Display,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// One command that went beyond the limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// When, in milliseconds since 1970.
    pub at: u64,
    command: &'static str,
    key: String,
    client: String,
    /// What was measured: microseconds, or bytes.
    measure: u64,
}

/// The latest notes.
#[derive(Debug)]
pub struct Notes {
    limit: u64,
    capacity: usize,
    style: KeyStyle,
    ring: VecDeque<Note>,
}

impl Notes {
    /// Notes what measures at least `limit`, and keeps the latest.
    pub fn new(limit: u64, capacity: usize, style: KeyStyle) -> Self {
        Self { limit, capacity, style, ring: VecDeque::new() }
    }

    /// Whether so much is worth a note: ask before finding out about whom.
    #[inline]
    pub fn wants(&self, measure: u64) -> bool {
        measure >= self.limit && self.capacity > 0
    }

    /// Notes it, if it is worth it.
    pub fn note(&mut self, measure: u64, subject: &Subject<'_>) {
        if !self.wants(measure) {
            return;
        }
        if self.ring.len() == self.capacity {
            self.ring.pop_front();
        }
        self.ring.push_back(Note {
            at: subject.at,
            command: subject.command,
            key: subject.key.map(|key| self.style.show(key)).unwrap_or_default(),
            client: subject.client.to_string(),
            measure,
        });
    }

    /// All that are kept, the latest last.
    pub fn entries(&self) -> Vec<Note> {
        self.ring.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_beyond_the_limit_are_kept() {
        let mut notes = Notes::new(10, 2, KeyStyle::Plain);
        for (at, measure) in [(1, 10), (2, 9), (3, 11), (4, 12)] {
            notes.note(measure, &Subject { command: "get", key: Some(b"k"), client: &"a:1", at });
        }
        let kept: Vec<_> = notes.entries().into_iter().map(|note| (note.at, note.measure)).collect();
        assert_eq!(kept, [(3, 11), (4, 12)]);
    }

    #[test]
    fn a_ring_without_room_notes_nothing() {
        let mut notes = Notes::new(0, 0, KeyStyle::Plain);
        assert!(!notes.wants(u64::MAX));
        notes.note(u64::MAX, &Subject { command: "get", key: None, client: &"a:1", at: 1 });
        assert_eq!(notes.entries(), []);
    }
}
