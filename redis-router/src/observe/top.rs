//! The keys that are used most, of any number of keys in bounded memory. Kind: pure.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi: *Efficient Computation of Frequent and Top-k Elements in Data Streams*,
//! 2005): a key that is not counted takes the place of the one that was counted least, and its count, as its error. Every
//! key that makes up more than one in `capacity` of all is then among those counted. Only one use in so many is looked
//! at, which is what makes it cheap; counts are told multiplied.

use serde::Serialize;

use super::key::{KeyStyle, hash};

/// Of longer keys the beginning is kept; they are told apart by their hash.
const LONGEST: usize = 128;

/// A key and how often it was used, about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hot {
    /// The key, as it is shown.
    pub key: String,
    /// So often at most.
    pub uses: u64,
    /// By so much less at worst, sampling aside.
    pub error: u64,
    #[serde(skip)]
    hash: u64,
}

#[derive(Debug)]
struct Counter {
    key: Box<[u8]>,
    hash: u64,
    count: u64,
    error: u64,
}

/// Counts keys.
#[derive(Debug)]
pub struct TopKeys {
    counters: Vec<Counter>,
    capacity: usize,
    one_in: u32,
    style: KeyStyle,
    /// So many uses are passed over until the next one is counted.
    pause: u32,
    chance: u64,
}

impl TopKeys {
    /// Counts one in so many uses, none if that is 0, in so many counters.
    pub fn new(capacity: usize, one_in: u32, style: KeyStyle, seed: u64) -> Self {
        // Zero is the one state that the generator never leaves.
        let mut keys = Self { counters: Vec::new(), capacity, one_in, style, pause: 0, chance: seed | 1 };
        keys.pause = keys.next_pause();
        keys
    }

    /// Whether the next use is one that is counted: ask before finding the key.
    #[inline]
    pub fn samples(&mut self) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        self.pause = self.next_pause();
        self.one_in > 0 && self.capacity > 0
    }

    /// Counts a key's use, one that [is counted](Self::samples).
    pub fn see(&mut self, key: &[u8]) {
        let hash = hash(key);
        let shown = &key[..key.len().min(LONGEST)];
        let same = |counter: &Counter| counter.hash == hash && *counter.key == *shown;
        if let Some(counter) = self.counters.iter_mut().find(|counter| same(counter)) {
            counter.count += 1;
        } else if self.counters.len() < self.capacity {
            self.counters.push(Counter { key: shown.into(), hash, count: 1, error: 0 });
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.count) {
            let error = least.count;
            *least = Counter { key: shown.into(), hash, count: error + 1, error };
        }
    }

    /// The most used ones, the most used first.
    pub fn top(&self, len: usize) -> Vec<Hot> {
        let each = u64::from(self.one_in);
        let hot = |counter: &Counter| Hot {
            key: self.style.show(&counter.key),
            uses: counter.count.saturating_mul(each),
            error: counter.error.saturating_mul(each),
            hash: counter.hash,
        };
        let mut top = sorted(self.counters.iter().map(hot).collect());
        top.truncate(len);
        top
    }

    /// How many to pass over: a number up to twice the mean, so that no rhythm of the clients is met.
    fn next_pause(&mut self) -> u32 {
        // Xorshift (Marsaglia 2003); nobody gains from guessing it.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let width = u64::from(self.one_in).saturating_mul(2).saturating_sub(1).max(1);
        u32::try_from((self.chance >> 32) % width).unwrap_or(u32::MAX)
    }
}

/// Those of two workers as one.
pub(super) fn merge(mut all: Vec<Hot>, other: Vec<Hot>) -> Vec<Hot> {
    for hot in other {
        match all.iter_mut().find(|known| known.hash == hot.hash && known.key == hot.key) {
            Some(known) => {
                known.uses += hot.uses;
                known.error += hot.error;
            }
            None => all.push(hot),
        }
    }
    sorted(all)
}

fn sorted(mut hot: Vec<Hot>) -> Vec<Hot> {
    hot.sort_by(|a, b| b.uses.cmp(&a.uses).then_with(|| a.key.cmp(&b.key)));
    hot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(capacity: usize, one_in: u32) -> TopKeys {
        TopKeys::new(capacity, one_in, KeyStyle::Plain, 42)
    }

    fn told(hot: &[Hot]) -> Vec<(&str, u64, u64)> {
        hot.iter().map(|hot| (&*hot.key, hot.uses, hot.error)).collect()
    }

    #[test]
    fn with_room_for_all_counts_are_exact() {
        let mut keys = keys(4, 1);
        for key in ["a", "b", "a", "c", "a", "b"] {
            assert!(keys.samples());
            keys.see(key.as_bytes());
        }
        assert_eq!(told(&keys.top(2)), [("a", 3, 0), ("b", 2, 0)]);
    }

    #[test]
    fn a_hot_key_is_found_among_many() {
        let mut keys = keys(8, 1);
        for at in 0..10_000 {
            keys.see(
                if at % 4 == 0 { b"hot".to_vec() } else { format!("cold {at}").into_bytes() }.as_slice(),
            );
        }
        let top = keys.top(1);
        let hot = &top[0];
        assert_eq!(hot.key, "hot");
        assert!(hot.uses - hot.error <= 2_500 && hot.uses >= 2_500, "{hot:?}");
        assert_eq!(keys.top(99).len(), 8, "memory is bounded");
    }

    #[test]
    fn one_in_so_many_is_sampled_whatever_the_rhythm() {
        let mut keys = keys(8, 10);
        for at in 0..100_000 {
            if keys.samples() {
                keys.see(if at % 10 == 0 { b"tenth" } else { b"other" });
            }
        }
        let top = keys.top(2);
        for (hot, exact) in top.iter().zip([90_000_u64, 10_000]) {
            assert!(hot.uses.abs_diff(exact) < exact / 8, "{hot:?}");
        }
    }

    #[test]
    fn none_is_none() {
        for mut keys in [keys(8, 0), keys(0, 1)] {
            assert!((0..1000).all(|_| !keys.samples()));
        }
    }

    #[test]
    fn long_keys_are_told_apart() {
        let mut keys = keys(8, 1);
        for last in 0..2 {
            let mut key = vec![b'x'; 500];
            key.push(last);
            keys.see(&key);
        }
        assert_eq!(keys.top(9).len(), 2);
    }

    #[test]
    fn workers_are_added_up() {
        let (mut one, mut two) = (keys(4, 1), keys(4, 1));
        ["a", "a", "b"].iter().for_each(|key| one.see(key.as_bytes()));
        ["b", "b", "c"].iter().for_each(|key| two.see(key.as_bytes()));
        assert_eq!(told(&merge(one.top(4), two.top(4))), [("b", 3, 0), ("a", 2, 0), ("c", 1, 0)]);
    }
}
