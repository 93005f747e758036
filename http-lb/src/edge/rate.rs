//! How often a client may ask: a bucket for each, in bounded memory, shared by all workers. Kind: pure.
//!
//! A bucket is one number: when it would be full again (the generic cell rate algorithm, ITU-T I.371). Those who were
//! quiet longest are forgotten first, by whole generations: when one is full, it becomes the old one, and the old one
//! goes. Whoever is forgotten has a full bucket again.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::RateLimit;

/// Workers seldom meet at the same lock; a power of two.
const SHARDS: usize = 16;

/// One limit and its buckets.
#[derive(Debug)]
pub struct Limiter {
    /// How long it takes for one more request to come into a bucket.
    each: u64,
    /// How long it takes to fill an empty one.
    whole: u64,
    /// Nobody can choose a key that falls to another's bucket.
    keys: RandomState,
    began: Instant,
    shards: Box<[Mutex<Shard>]>,
    per_shard: usize,
}

/// When each bucket will be full, in nanoseconds since the limiter began.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Limiter {
    /// As configured, with chance for the keys.
    pub fn new(limit: &RateLimit, keys: RandomState, now: Instant) -> Self {
        let each = (nanos(limit.per) / u64::from(limit.requests.max(1))).max(1);
        let burst = limit.burst.unwrap_or(limit.requests).max(1);
        Self {
            each,
            whole: each.saturating_mul(u64::from(burst)),
            keys,
            began: now,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            per_shard: (limit.max_keys / SHARDS / 2).max(1),
        }
    }

    /// Takes one from the bucket of this key.
    ///
    /// # Errors
    /// It is empty; the time until there is one again.
    pub fn take(&self, key: impl Hash, now: Instant) -> Result<(), Duration> {
        let key = self.keys.hash_one(key);
        let now = nanos(now.saturating_duration_since(self.began));
        let shard = &self.shards[usize::try_from(key).unwrap_or(0) % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full = shard.get(key).unwrap_or(0).max(now);
        let after = full.saturating_add(self.each);
        match after.saturating_sub(now).checked_sub(self.whole) {
            None | Some(0) => {
                shard.put(key, after, self.per_shard);
                Ok(())
            }
            Some(late) => Err(Duration::from_nanos(late)),
        }
    }
}

impl Shard {
    fn get(&self, key: u64) -> Option<u64> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn put(&mut self, key: u64, full: u64, most: usize) {
        if self.young.len() >= most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, full);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    fn limiter(requests: u32, per: Duration, burst: Option<u32>, max_keys: usize) -> (Limiter, Instant) {
        let limit = RateLimit { name: "l".into(), requests, per, burst, key: Key::Address, max_keys };
        let now = Instant::now();
        (Limiter::new(&limit, RandomState::new(), now), now)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_let_in_and_then_one_at_a_time() {
        let (limiter, now) = limiter(2, SECOND, Some(3), 1000);
        let taken = |at| limiter.take("ann", at).is_ok();
        assert!(taken(now) && taken(now) && taken(now));
        assert_eq!(limiter.take("ann", now), Err(SECOND / 2));
        assert!(limiter.take("bob", now).is_ok());
        assert!(taken(now + SECOND / 2) && !taken(now + SECOND / 2));
        let later = now + 10 * SECOND;
        assert!(taken(later) && taken(later) && taken(later) && !taken(later));
    }

    #[test]
    fn who_is_refused_pays_nothing() {
        let (limiter, now) = limiter(1, SECOND, None, 1000);
        assert!(limiter.take("ann", now).is_ok());
        (0..100).for_each(|_| assert!(limiter.take("ann", now).is_err()));
        assert!(limiter.take("ann", now + SECOND).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let (limiter, now) = limiter(1, SECOND, None, 64);
        (0..100_000).for_each(|key| _ = limiter.take(key, now));
        let held = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        assert!(limiter.shards.iter().map(held).sum::<usize>() <= 64);
    }

    #[test]
    fn an_age_or_a_nanosecond_is_no_trouble() {
        for per in [Duration::from_nanos(1), Duration::MAX] {
            let (limiter, now) = limiter(u32::MAX, per, Some(u32::MAX), 10);
            assert!(limiter.take("ann", now).is_ok());
        }
    }
}
