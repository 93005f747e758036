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
mod tests;
