//! What a worker notices about commands, for whoever is on call: how long they take, which were slow, which replies were
//! large, which keys are asked for most. Kind: pure.
//!
//! Everything is bounded, belongs to one worker and is kept in plain cells; snapshots of all workers are merged for
//! `/status`. Values are never kept, and of a key only what its [style](KeyStyle) shows.

pub mod key;
pub mod latency;
pub mod notes;
pub mod top;

use serde::Serialize;

pub use key::KeyStyle;
pub use latency::{Latencies, Summary};
pub use notes::{Note, Notes, Subject};
pub use top::{Hot, TopKeys};

/// So many keys are counted; the most used ones among them are right if each has more than one in so many of all uses.
const KEYS: usize = 128;

/// So many of them are told.
const TOLD: usize = 20;

/// What to notice.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A command is slow that takes so many microseconds.
    pub slow_micros: u64,
    /// A reply is large that has so many bytes.
    pub big_bytes: u64,
    /// So many of each are kept.
    pub entries: usize,
    /// One in so many uses of keys is counted; 0: none.
    pub one_in: u32,
    /// How keys are shown.
    pub keys: KeyStyle,
}

/// What one worker notices.
#[derive(Debug)]
pub struct Observer {
    /// How long commands take.
    pub latencies: Latencies,
    /// Which were slow, by microseconds.
    pub slow: Notes,
    /// Which replies were large, by bytes.
    pub big: Notes,
    /// Which keys are used most.
    pub keys: TopKeys,
}

impl Observer {
    /// An observer that has seen nothing; the seed, which is chance, decides which uses of keys are counted.
    pub fn new(limits: &Limits, seed: u64) -> Self {
        Self {
            latencies: Latencies::default(),
            slow: Notes::new(limits.slow_micros, limits.entries, limits.keys),
            big: Notes::new(limits.big_bytes, limits.entries, limits.keys),
            keys: TopKeys::new(KEYS, limits.one_in, limits.keys, seed),
        }
    }

    /// What was noticed so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            latencies: self.latencies.clone(),
            slow: self.slow.entries(),
            big: self.big.entries(),
            keys: self.keys.top(KEYS),
        }
    }
}

/// What was noticed, by one worker or by several.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    latencies: Latencies,
    slow: Vec<Note>,
    big: Vec<Note>,
    keys: Vec<Hot>,
}

/// A snapshot as `/status` tells it: microseconds by class, notes with the latest first, keys with the most used first.
#[derive(Debug, Serialize)]
pub struct Told {
    latency_micros: Vec<Summary>,
    slow: Vec<Note>,
    big_replies: Vec<Note>,
    top_keys: Vec<Hot>,
}

impl Snapshot {
    /// That of another worker too.
    pub fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.slow.extend(other.slow);
        self.big.extend(other.big);
        self.keys = top::merge(std::mem::take(&mut self.keys), other.keys);
    }

    /// For `/status`.
    pub fn tell(mut self) -> Told {
        for notes in [&mut self.slow, &mut self.big] {
            notes.sort_by_key(|note| std::cmp::Reverse(note.at));
        }
        self.keys.truncate(TOLD);
        Told {
            latency_micros: self.latencies.summaries(),
            slow: self.slow,
            big_replies: self.big,
            top_keys: self.keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Class;

    #[test]
    fn workers_are_told_as_one() {
        let limits =
            Limits { slow_micros: 100, big_bytes: 1000, entries: 4, one_in: 1, keys: KeyStyle::default() };
        let workers = [1_u64, 2].map(|at| {
            let mut worker = Observer::new(&limits, at);
            worker.latencies.record(Class::Read, 10 * at);
            let subject = Subject { command: "get", key: Some(b"k"), client: &at, at };
            worker.slow.note(500 * at, &subject);
            worker.big.note(10, &subject);
            worker.keys.see(b"k");
            worker.snapshot()
        });
        let mut all = Snapshot::default();
        workers.into_iter().for_each(|worker| all.merge(worker));
        let note = |at: u64| {
            serde_json::json!({
                "at": at, "command": "get", "key": "k", "client": at.to_string(), "measure": 500 * at,
            })
        };
        let told = serde_json::json!({
            "latency_micros": [{ "class": "read", "count": 2, "p50": 10, "p99": 20, "p999": 20, "max": 20 }],
            "slow": [note(2), note(1)],
            "big_replies": [],
            "top_keys": [{ "key": "k", "uses": 2, "error": 0 }],
        });
        assert_eq!(serde_json::to_value(all.tell()).unwrap(), told);
    }
}
