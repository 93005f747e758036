//! How long commands take, by class. Kind: pure.
//!
//! Buckets are log-linear: each power of two microseconds is cut into eight equal parts, so that a latency is known to an
//! eighth at worst, from a microsecond to a minute, in 192 cells a class.

use serde::Serialize;

use crate::command::Class;

/// Each power of two has so many buckets.
const PARTS: u64 = 1 << PARTS_BITS;
const PARTS_BITS: u32 = 3;

/// What takes 2^26 microseconds, which is 67 seconds, and all that takes longer, is in the last bucket.
const LARGEST: u64 = (1 << 26) - 1;

const BUCKETS: usize = bucket(LARGEST) + 1;

/// The bucket of a latency. Below 8 each has its own; from there the three bits behind the first one count.
const fn bucket(micros: u64) -> usize {
    let micros = if micros > LARGEST { LARGEST } else { micros };
    if micros < PARTS {
        return micros as usize;
    }
    let power = micros.ilog2();
    let part = (micros >> (power - PARTS_BITS)) & (PARTS - 1);
    ((power - PARTS_BITS + 1) as u64 * PARTS + part) as usize
}

/// The smallest latency of a bucket.
const fn floor(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    (PARTS + bucket % PARTS) << (bucket / PARTS - 1)
}

/// The latency that stands for all in a bucket.
const fn middle(bucket: usize) -> u64 {
    let (from, to) = (floor(bucket), floor(bucket + 1));
    from + (to - from) / 2
}

/// How often which latency was seen, by class.
#[derive(Debug, Clone)]
pub struct Latencies {
    classes: Vec<Histogram>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { classes: vec![Histogram::default(); Class::ALL.len()] }
    }
}

#[derive(Debug, Clone)]
struct Histogram {
    counts: [u64; BUCKETS],
    /// What was [drained](Latencies::drain) of each.
    drained: [u64; BUCKETS],
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], drained: [0; BUCKETS], max: 0 }
    }
}

/// One class in a few numbers, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    class: &'static str,
    count: u64,
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Latencies {
    /// A command of this class took so long.
    #[inline]
    pub fn record(&mut self, class: Class, micros: u64) {
        // The enum's order is that of `ALL`; a test holds them to it.
        let histogram = &mut self.classes[class as usize];
        histogram.counts[bucket(micros)] += 1;
        histogram.max = histogram.max.max(micros);
    }

    /// What was seen since the last time: how many commands of a class took about so many seconds.
    pub fn drain(&mut self, mut each: impl FnMut(Class, f64, u64)) {
        for (class, histogram) in Class::ALL.into_iter().zip(&mut self.classes) {
            let cells = histogram.counts.iter().zip(&mut histogram.drained).enumerate();
            for (bucket, (&count, drained)) in cells {
                if count > *drained {
                    each(class, middle(bucket) as f64 / 1e6, count - *drained);
                    *drained = count;
                }
            }
        }
    }

    /// Adds what another worker has seen.
    pub fn merge(&mut self, other: &Self) {
        for (mine, other) in self.classes.iter_mut().zip(&other.classes) {
            mine.counts.iter_mut().zip(&other.counts).for_each(|(mine, other)| *mine += other);
            mine.drained.iter_mut().zip(&other.drained).for_each(|(mine, other)| *mine += other);
            mine.max = mine.max.max(other.max);
        }
    }

    /// The classes that were seen.
    pub fn summaries(&self) -> Vec<Summary> {
        let classes = Class::ALL.into_iter().zip(&self.classes);
        classes.filter_map(|(class, histogram)| histogram.summary(class)).collect()
    }
}

impl Histogram {
    fn summary(&self, class: Class) -> Option<Summary> {
        let count: u64 = self.counts.iter().sum();
        let quantile = |permille| self.quantile(count, permille);
        (count > 0).then(|| Summary {
            class: class.name(),
            count,
            p50: quantile(500),
            p99: quantile(990),
            p999: quantile(999),
            max: self.max,
        })
    }

    /// So many per thousand took at most about this long.
    fn quantile(&self, count: u64, permille: u64) -> u64 {
        let mut left = (u128::from(count) * u128::from(permille)).div_ceil(1000) as u64;
        for (bucket, &count) in self.counts.iter().enumerate() {
            left = left.saturating_sub(count);
            if left == 0 {
                return middle(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gaps() {
        assert_eq!(BUCKETS, 192);
        for at in 0..BUCKETS {
            let (from, to) = (floor(at), floor(at + 1));
            assert_eq!((bucket(from), bucket(to - 1)), (at, at));
            assert!(to - from <= (from / PARTS).max(1), "{from}..{to} is too wide");
            assert_eq!(bucket(middle(at)), at);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn classes_are_numbered_as_they_are_listed() {
        for (at, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, at);
        }
    }

    #[test]
    fn a_summary_is_right_to_an_eighth() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|micros| latencies.record(Class::Write, micros));
        let [summary] = &latencies.summaries()[..] else { panic!("one class was seen") };
        for (told, exact) in [(summary.p50, 500), (summary.p99, 990), (summary.p999, 999)] {
            assert!(told.abs_diff(exact) <= exact / 8, "{told} for {exact}");
        }
        assert_eq!((summary.class, summary.count, summary.max), ("write", 1000, 1000));
    }

    #[test]
    fn what_was_drained_is_not_drained_again_but_still_told() {
        let mut latencies = Latencies::default();
        let drained = |latencies: &mut Latencies| {
            let mut seen = Vec::new();
            latencies.drain(|class, seconds, count| seen.push((class, (seconds * 1e6) as u64, count)));
            seen
        };
        latencies.record(Class::Read, 5);
        latencies.record(Class::Read, 5);
        latencies.record(Class::Blocking, u64::MAX);
        assert_eq!(drained(&mut latencies)[0], (Class::Read, 5, 2));
        assert_eq!(drained(&mut latencies), []);
        latencies.record(Class::Read, 5);
        assert_eq!(drained(&mut latencies), [(Class::Read, 5, 1)]);
        assert_eq!(latencies.summaries()[0].count, 3);
    }
}
