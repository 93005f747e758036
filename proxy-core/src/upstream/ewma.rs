//! How long an endpoint's work takes lately: an average that forgets, and that believes bad news at once. Kind: pure.
//!
//! A sample above the average replaces it; one below moves it the further, the longer ago the last one was. So an
//! endpoint that turns slow is avoided after one answer, and has to prove for a while that it is well again. The idea is
//! "peak EWMA" of Finagle (`PeakEwma.scala`), and so is the span.

use std::time::{Duration, Instant};

/// After so long without news a third of the old average is left (1/e).
const SPAN: Duration = Duration::from_secs(10);

/// An average of durations that follows a peak at once and forgets it slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakEwma {
    seconds: f64,
    at: Option<Instant>,
}

impl PeakEwma {
    /// Work took so long; it ended at `now`.
    pub fn observe(&mut self, sample: Duration, now: Instant) {
        let sample = sample.as_secs_f64();
        let kept = self.at.map_or(0.0, |at| kept(now.saturating_duration_since(at)));
        let faded = self.seconds * kept + sample * (1.0 - kept);
        self.seconds = faded.max(sample);
        self.at = Some(now);
    }

    /// The average as of the last sample; zero before the first.
    pub fn value(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    /// The average in microseconds, at least one if there ever was a sample, so that it can be multiplied.
    pub fn micros(&self) -> u32 {
        let micros = (self.seconds * 1e6).clamp(0.0, f64::from(u32::MAX)) as u32;
        if self.at.is_some() { micros.max(1) } else { 0 }
    }
}

/// The share of an old average that is left after so long.
fn kept(age: Duration) -> f64 {
    (-age.as_secs_f64() / SPAN.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Samples in milliseconds with the milliseconds that pass before each, and the average in the end.
    #[track_caller]
    fn check(samples: &[(u32, u32)], expected_ms: std::ops::Range<u32>) {
        let (mut ewma, mut now) = (PeakEwma::default(), Instant::now());
        for &(pause, sample) in samples {
            now += pause * MS;
            ewma.observe(sample * MS, now);
        }
        let value = ewma.value();
        assert!(expected_ms.start * MS <= value && value < expected_ms.end * MS, "{samples:?}: {value:?}");
    }

    #[test]
    fn bad_news_count_at_once_and_good_ones_slowly() {
        check(&[(0, 10)], 10..11);
        check(&[(0, 10), (1, 500)], 500..501);
        check(&[(0, 500), (1, 10)], 499..501);
        check(&[(0, 500), (10_000, 10)], 185..195);
        check(&[(0, 500), (100_000, 10)], 10..11);
    }

    #[test]
    fn nothing_is_known_before_the_first_sample() {
        let mut ewma = PeakEwma::default();
        assert_eq!((ewma.value(), ewma.micros()), (Duration::ZERO, 0));
        ewma.observe(Duration::ZERO, Instant::now());
        assert_eq!(ewma.micros(), 1, "known, and as fast as can be");
        ewma.observe(Duration::MAX, Instant::now());
        assert_eq!(ewma.micros(), u32::MAX);
    }
}
