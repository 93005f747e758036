//! How slow a peer may be: a time of grace, and then so many bytes for each second that we waited for it. Who was quick
//! before may pause for longer, yet not for hours on end: what we keep for it is kept from others. Kind: pure.

use std::time::Duration;

/// How many times the time of grace a peer may pause at a stretch, whatever it has moved. By default that is a minute,
/// NGINX's `send_timeout`. The kernel alone takes megabytes for a peer that reads nothing: they'd buy it hours.
const LONGEST: u32 = 6;

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tempo {
    /// How long it may keep us waiting for nothing.
    pub grace: Duration,
    /// Bytes that buy it one second more.
    pub bytes_per_second: u32,
}

/// How long one peer has kept us waiting for one body, and what it moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// It moved so many bytes.
    pub fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
    }

    /// It kept us waiting for so long.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// How long it may keep us waiting from here on.
    pub fn patience(&self, tempo: &Tempo) -> Duration {
        let bought =
            Duration::from_millis(self.moved.saturating_mul(1000) / u64::from(tempo.bytes_per_second.max(1)));
        (tempo.grace + bought).saturating_sub(self.waited).min(tempo.grace.saturating_mul(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPO: Tempo = Tempo { grace: Duration::from_secs(10), bytes_per_second: 1000 };

    #[track_caller]
    fn check(moved: usize, waited: u64, patience: u64) {
        let mut pace = Pace::default();
        pace.moved(moved);
        pace.waited(Duration::from_secs(waited));
        assert_eq!(pace.patience(&TEMPO), Duration::from_secs(patience));
    }

    #[test]
    fn nobody_pauses_for_hours_on_what_it_moved_before() {
        check(49_000, 0, 59);
        check(10_000_000, 0, 60);
        check(10_000_000, 9_960, 50);
    }

    #[test]
    fn the_beginning_is_a_time_of_grace() {
        check(0, 0, 10);
        check(0, 4, 6);
        check(0, 10, 0);
    }

    #[test]
    fn bytes_buy_time() {
        check(5000, 10, 5);
        check(5000, 20, 0);
        check(50_000, 20, 40);
    }

    #[test]
    fn a_byte_now_and_then_buys_next_to_nothing() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.waited(Duration::from_secs(1));
            pace.moved(1);
        }
        assert!(pace.patience(&TEMPO) < Duration::from_millis(20));
    }
}
