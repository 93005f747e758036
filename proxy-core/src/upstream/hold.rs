//! The waiting room while there is no primary: bounded in time, count and bytes. Kind: driver.
//!
//! One `Hold` serves all workers, by atomics. Limits are admission only: who is in is never thrown out before the
//! deadline. After a failover all would rush at a primary with cold caches at once, therefore the first few go at
//! once and the others within a short spread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::topology::Topology;
use crate::{backoff::fraction, metrics::Registry};

/// The bounds of the waiting room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// How long one client waits. More than a promotion takes: repmgr's defaults need 60 s, Bitnami's 15 s.
    pub timeout: Duration,
    /// How many wait at once.
    pub max_clients: usize,
    /// How many bytes of not yet sent requests are kept for them.
    pub max_bytes: usize,
    /// How many leave at once when a primary is there.
    pub release_at_once: u32,
    /// Within which time the others follow.
    pub release_spread: Duration,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            max_clients: 10_000,
            max_bytes: 256 * 1024 * 1024,
            release_at_once: 16,
            release_spread: Duration::from_millis(20),
        }
    }
}

/// Why a client may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `max_clients` are waiting already.
    #[error("too many clients are waiting for a primary")]
    Clients,
    /// `max_bytes` are kept already.
    #[error("too many bytes are kept for clients waiting for a primary")]
    Bytes,
}

impl Refused {
    /// The label of its metric.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Bytes => "bytes",
        }
    }
}

/// No primary came before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no primary came in time")]
pub struct TimedOut;

/// What is counted about waiting.
#[derive(Clone, Debug)]
pub struct HoldMetrics {
    current: IntGauge,
    total: IntCounter,
    refused: IntCounterVec,
}

impl HoldMetrics {
    /// The families `held_current`, `held_total` and `hold_refused_total{reason}`.
    pub fn new(registry: &Registry) -> Self {
        let refused = "Times a client could not wait, or not long enough, for a primary";
        Self {
            current: registry.gauge("held_current", "Clients that wait for a primary now"),
            total: registry.counter("held_total", "Times a client began to wait for a primary"),
            refused: registry.counter_vec("hold_refused_total", refused, &["reason"]),
        }
    }

    fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}

/// The waiting room.
#[derive(Debug)]
pub struct Hold {
    limits: ArcSwap<HoldLimits>,
    clients: AtomicUsize,
    bytes: AtomicUsize,
    /// Low half of the revision that is being let out, and how many have left with it.
    leaving: AtomicU64,
    metrics: HoldMetrics,
}

impl Hold {
    /// An empty waiting room.
    pub fn new(limits: HoldLimits, metrics: HoldMetrics) -> Self {
        Self {
            limits: ArcSwap::from_pointee(limits),
            clients: AtomicUsize::default(),
            bytes: AtomicUsize::default(),
            leaving: AtomicU64::default(),
            metrics,
        }
    }

    /// Changed limits, for those who come from now on.
    pub fn reconfigure(&self, limits: HoldLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// Until when somebody who comes now may wait.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limits.load().timeout
    }

    /// Takes a place for a client with `bytes` of requests to keep. Dropping the place gives it back.
    pub fn enter(self: &Arc<Self>, bytes: usize) -> Result<Held, Refused> {
        let limits = self.limits.load();
        self.admit(bytes, &limits).inspect_err(|refused| self.metrics.refused(refused.reason()))?;
        self.metrics.current.inc();
        self.metrics.total.inc();
        Ok(Held { hold: Arc::clone(self), bytes })
    }

    /// The state for `/status`.
    pub fn snapshot(&self) -> HoldStatus {
        HoldStatus { clients: self.clients.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    fn admit(&self, bytes: usize, limits: &HoldLimits) -> Result<(), Refused> {
        take(&self.clients, 1, limits.max_clients).ok_or(Refused::Clients)?;
        take(&self.bytes, bytes, limits.max_bytes).ok_or_else(|| {
            self.clients.fetch_sub(1, Relaxed);
            Refused::Bytes
        })
    }

    /// The how-manieth to leave with this revision.
    fn turn_to_leave(&self, revision: u64) -> u32 {
        let next = |leaving| Some(next_to_leave(leaving, revision));
        let before = self.leaving.fetch_update(Relaxed, Relaxed, next).unwrap_or_else(|unchanged| unchanged);
        (next_to_leave(before, revision) & u64::from(u32::MAX)) as u32
    }

    /// How long a client that saw its primary come still waits.
    fn patience(&self, revision: u64) -> Duration {
        let limits = self.limits.load();
        if self.turn_to_leave(revision) <= limits.release_at_once {
            return Duration::ZERO;
        }
        fraction(limits.release_spread, fastrand::u32(..))
    }
}

/// Adds `amount` unless the sum would pass `limit`.
fn take(counter: &AtomicUsize, amount: usize, limit: usize) -> Option<()> {
    let add = |taken: usize| taken.checked_add(amount).filter(|&sum| sum <= limit);
    counter.fetch_update(Relaxed, Relaxed, add).ok().map(drop)
}

/// Upper half: the revision's low 32 bits. Lower half: how many have left with it.
fn next_to_leave(leaving: u64, revision: u64) -> u64 {
    let wave = revision << 32;
    let left = if leaving & !u64::from(u32::MAX) == wave { leaving & u64::from(u32::MAX) } else { 0 };
    wave | (left + 1).min(u32::MAX.into())
}

/// A place in the waiting room; dropping it gives it back.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Held {
    hold: Arc<Hold>,
    bytes: usize,
}

impl Held {
    /// Waits for a topology with a primary. See `wait_until`.
    pub async fn wait(
        &self,
        topology: &mut watch::Receiver<Arc<Topology>>,
        deadline: Instant,
    ) -> Result<Arc<Topology>, TimedOut> {
        self.wait_until(topology, deadline, |topology| topology.primary.is_some()).await
    }

    /// Waits for a topology that is `good` enough. Who finds one at once goes at once; who waited for it leaves in
    /// the spread, and waits on if it went bad meanwhile. Safe to drop: nothing is lost but the place in the spread.
    /// The end of the process (its publisher is gone) is a `TimedOut` too.
    pub async fn wait_until(
        &self,
        topology: &mut watch::Receiver<Arc<Topology>>,
        deadline: Instant,
        mut good: impl FnMut(&Topology) -> bool,
    ) -> Result<Arc<Topology>, TimedOut> {
        let mut may_go = true;
        loop {
            let seen = Arc::clone(&topology.borrow_and_update());
            if !good(&seen) {
                self.news(topology, deadline).await?;
                may_go = false;
            } else if may_go {
                return Ok(seen);
            } else {
                self.linger(&seen, deadline).await;
                may_go = true;
            }
        }
    }

    async fn news(
        &self,
        topology: &mut watch::Receiver<Arc<Topology>>,
        deadline: Instant,
    ) -> Result<(), TimedOut> {
        let changed = timeout_at(deadline, topology.changed()).await;
        changed.ok().and_then(Result::ok).ok_or_else(|| {
            self.hold.metrics.refused("timeout");
            TimedOut
        })
    }

    /// Never past the deadline: the primary is there, so the client goes rather than fails.
    async fn linger(&self, topology: &Topology, deadline: Instant) {
        let patience = self.hold.patience(topology.revision);
        if !patience.is_zero() {
            sleep_until(deadline.min(Instant::now() + patience)).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hold.clients.fetch_sub(1, Relaxed);
        self.hold.bytes.fetch_sub(self.bytes, Relaxed);
        self.hold.metrics.current.dec();
    }
}

/// The waiting room's state for `/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HoldStatus {
    /// How many wait.
    pub clients: usize,
    /// How many bytes are kept for them.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;
    use crate::upstream::{Cluster, Endpoint, Rules};

    const MS: Duration = Duration::from_millis(1);

    fn hold(limits: HoldLimits) -> Arc<Hold> {
        Arc::new(Hold::new(limits, HoldMetrics::new(&Registry::new("test", "0"))))
    }

    fn topology(primary: bool, revision: u64) -> Arc<Topology> {
        let now = Instant::now().into_std();
        let endpoint = || Endpoint::new("127.0.0.1:1".parse().unwrap(), 1, Arc::new(Rules::default()), now);
        Arc::new(Topology {
            epoch: 1,
            lineage: "a".into(),
            primary: primary.then(|| Arc::new(endpoint())),
            replicas: Arc::new(Cluster::new("replicas", [])),
            fenced: false,
            since: now,
            revision,
        })
    }

    /// An outage, and the hand that ends it.
    fn outage() -> watch::Sender<Arc<Topology>> {
        watch::Sender::new(topology(false, 0))
    }

    /// One client's stay: how long, and whether it got a primary.
    async fn stay(
        hold: &Arc<Hold>,
        topology: &watch::Sender<Arc<Topology>>,
        timeout: Duration,
    ) -> (Duration, bool) {
        let start = Instant::now();
        let held = hold.enter(0).unwrap();
        let outcome = held.wait(&mut topology.subscribe(), start + timeout).await;
        (start.elapsed(), outcome.is_ok())
    }

    async fn after<T>(delay: Duration, act: impl FnOnce() -> T) -> T {
        sleep(delay).await;
        act()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_primary_releases() {
        let (hold, topology_sender) = (hold(HoldLimits::default()), outage());
        let waiting = stay(&hold, &topology_sender, 1000 * MS);
        let (outcome, ()) =
            tokio::join!(waiting, after(300 * MS, || drop(topology_sender.send_replace(topology(true, 1)))));
        assert_eq!(outcome, (300 * MS, true));
        assert_eq!(hold.snapshot(), HoldStatus { clients: 0, bytes: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_a_primary_goes_at_once() {
        let hold = hold(HoldLimits { release_at_once: 0, ..HoldLimits::default() });
        let topology = watch::Sender::new(topology(true, 1));
        assert_eq!(stay(&hold, &topology, 1000 * MS).await, (Duration::ZERO, true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_the_wait() {
        let (hold, topology) = (hold(HoldLimits::default()), outage());
        assert_eq!(stay(&hold, &topology, 250 * MS).await, (250 * MS, false));
        assert_eq!(hold.metrics.refused.with_label_values(&["timeout"]).get(), 1);
        assert_eq!(hold.metrics.current.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_the_configured_time_from_now() {
        let hold = hold(HoldLimits { timeout: 250 * MS, ..HoldLimits::default() });
        assert_eq!(hold.deadline(), Instant::now() + 250 * MS);
        hold.reconfigure(HoldLimits { timeout: 100 * MS, ..HoldLimits::default() });
        assert_eq!(hold.deadline(), Instant::now() + 100 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vanished_publisher_ends_the_wait() {
        let (hold, topology) = (hold(HoldLimits::default()), outage());
        let mut ear = topology.subscribe();
        drop(topology);
        let held = hold.enter(0).unwrap();
        assert_eq!(held.wait(&mut ear, hold.deadline()).await.err(), Some(TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn news_without_a_primary_release_nobody() {
        let (hold, sender) = (hold(HoldLimits::default()), outage());
        let (outcome, ()) = tokio::join!(
            stay(&hold, &sender, 200 * MS),
            after(100 * MS, || drop(sender.send_replace(topology(false, 1))))
        );
        assert_eq!(outcome, (200 * MS, false));
    }

    #[test]
    fn clients_are_counted_and_limited() {
        let hold = hold(HoldLimits { max_clients: 2, ..HoldLimits::default() });
        let first = hold.enter(10).unwrap();
        let _second = hold.enter(20).unwrap();
        assert_eq!(hold.snapshot(), HoldStatus { clients: 2, bytes: 30 });
        assert_eq!(hold.enter(0).unwrap_err(), Refused::Clients);
        drop(first);
        assert!(hold.enter(0).is_ok(), "a place that was given back");
        assert_eq!(hold.metrics.refused.with_label_values(&["clients"]).get(), 1);
        assert_eq!((hold.metrics.total.get(), hold.metrics.current.get()), (3, 1));
    }

    #[test]
    fn bytes_are_counted_and_limited() {
        let hold = hold(HoldLimits { max_bytes: 100, ..HoldLimits::default() });
        let _first = hold.enter(60).unwrap();
        assert_eq!(hold.enter(41).unwrap_err(), Refused::Bytes);
        assert_eq!(hold.enter(usize::MAX).unwrap_err(), Refused::Bytes);
        assert_eq!(hold.snapshot(), HoldStatus { clients: 1, bytes: 60 }, "who is refused takes no place");
        assert!(hold.enter(40).is_ok());
    }

    /// Releases `crowd` clients at one moment and says how long after it each of them left.
    async fn release(crowd: usize, limits: HoldLimits) -> Vec<Duration> {
        let (hold, sender) = (hold(limits), outage());
        let crowd = join_all((0..crowd).map(|_| stay(&hold, &sender, 10_000 * MS)));
        let (stays, ()) =
            tokio::join!(crowd, after(100 * MS, || drop(sender.send_replace(topology(true, 1)))));
        assert!(stays.iter().all(|stay| stay.1));
        stays.iter().map(|stay| stay.0 - 100 * MS).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_few_leave_at_once_and_the_others_within_the_spread() {
        let limits = HoldLimits { release_at_once: 5, release_spread: 200 * MS, ..HoldLimits::default() };
        let mut waits = release(400, limits).await;
        waits.sort();
        assert_eq!(waits[..5], [Duration::ZERO; 5]);
        assert!(waits[399] <= 201 * MS, "{:?}", waits[399]);
        assert!((60 * MS..140 * MS).contains(&waits[200]), "half in half of it: {:?}", waits[200]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_spread_is_all_at_once() {
        let limits =
            HoldLimits { release_at_once: 0, release_spread: Duration::ZERO, ..HoldLimits::default() };
        assert_eq!(release(50, limits).await, [Duration::ZERO; 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_that_goes_before_its_client_does_is_waited_for_again() {
        let limits = HoldLimits { release_at_once: 0, release_spread: 100_000 * MS, ..HoldLimits::default() };
        let (hold, sender) = (hold(limits), outage());
        let comes_and_goes = async {
            after(10 * MS, || sender.send_replace(topology(true, 1))).await;
            after(MS, || sender.send_replace(topology(false, 2))).await;
        };
        let (outcome, ()) = tokio::join!(stay(&hold, &sender, 1000 * MS), comes_and_goes);
        assert_eq!(outcome, (1000 * MS, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_time_ends_while_it_leaves_still_leaves() {
        let limits = HoldLimits { release_at_once: 0, release_spread: 100_000 * MS, ..HoldLimits::default() };
        let (hold, sender) = (hold(limits), outage());
        let (outcome, _) = tokio::join!(
            stay(&hold, &sender, 50 * MS),
            after(10 * MS, || sender.send_replace(topology(true, 1)))
        );
        assert!(outcome.1 && outcome.0 <= 51 * MS, "{outcome:?}");
    }

    #[test]
    fn each_release_counts_its_own() {
        let hold = hold(HoldLimits::default());
        let turns = [1, 1, 1, 2, 2, 1 << 32, 1 << 32].map(|revision| hold.turn_to_leave(revision));
        assert_eq!(turns, [1, 2, 3, 1, 2, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stricter_client_waits_for_what_it_needs() {
        let (hold, sender) = (hold(HoldLimits::default()), watch::Sender::new(topology(true, 1)));
        let held = hold.enter(0).unwrap();
        let mut ear = sender.subscribe();
        let newer = held.wait_until(&mut ear, hold.deadline(), |seen| seen.revision > 1);
        let (outcome, _) = tokio::join!(newer, after(5 * MS, || sender.send_replace(topology(true, 2))));
        assert_eq!(outcome.unwrap().revision, 2);
    }
}
