//! One upstream address with its live state: health, the operator's wish, what is in flight. Kind: driver.
//!
//! Two fields that HAProxy's `server-t.h` also keeps apart: what is observed (`Health`) and what is wished (`Admin`).
//! An endpoint is eligible when it is up *and* ready. All state is in atomics, because every worker reads it and the
//! prober writes it; decisions are made by the pure machines in `health` and `weight`.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::{
    health::{Event, Health, Thresholds},
    weight,
};
use crate::net::Addr;

/// The weight of an endpoint whose configuration names none.
pub const DEFAULT_WEIGHT: u16 = 1;

/// What holds for every endpoint of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How many checks in a row turn an endpoint.
    pub thresholds: Thresholds,
    /// How many failures by traffic in a row lower an endpoint; 0: none do. Not told: as many as checks.
    pub failures: Option<u16>,
    /// How long the share of an endpoint that came up grows; zero = the whole at once.
    pub slow_start: Duration,
}

/// What an operator wishes for an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Serve.
    #[default]
    Ready,
    /// Finish what is in flight, take nothing new.
    Drain,
    /// Take nothing; what is in flight may be cut.
    Maint,
}

/// How a piece of work on an endpoint ended, as far as its fitness is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did its part.
    Served,
    /// It failed by its own fault; some of these in a row lower it ([`Rules::failures`]).
    Failed,
    /// It refused or vanished: lowered at once.
    Unreachable,
}

/// One upstream address with its live state. Shared as `Arc<Endpoint>`; identity is the `Arc`, not the address.
#[derive(Debug)]
pub struct Endpoint {
    addr: Addr,
    born: Instant,
    rules: ArcSwap<Rules>,
    weight: AtomicU16,
    health: AtomicU32,
    admin: AtomicU8,
    in_flight: AtomicU32,
    /// Failures by traffic in a row; any success clears it.
    stumbles: AtomicU16,
    /// When it last came up, in milliseconds since `born`.
    up_since: AtomicU64,
    last_failure: ArcSwapOption<String>,
    suspicion: Notify,
    /// Told when it becomes eligible or ceases to be, so that its cluster hears of it.
    turns: watch::Sender<()>,
}

impl Endpoint {
    /// An endpoint that nobody has checked yet.
    pub fn new(addr: Addr, weight: u16, rules: Arc<Rules>, now: Instant) -> Self {
        Self::telling(addr, weight, rules, now, watch::Sender::new(()))
    }

    /// One that tells `turns` when it turns.
    pub(super) fn telling(
        addr: Addr,
        weight: u16,
        rules: Arc<Rules>,
        now: Instant,
        turns: watch::Sender<()>,
    ) -> Self {
        Self {
            addr,
            born: now,
            rules: ArcSwap::new(rules),
            weight: weight.into(),
            health: Health::Unknown.to_bits().into(),
            admin: AtomicU8::default(),
            in_flight: AtomicU32::default(),
            stumbles: AtomicU16::default(),
            up_since: AtomicU64::default(),
            last_failure: ArcSwapOption::empty(),
            suspicion: Notify::new(),
            turns,
        }
    }

    /// Where it listens.
    pub const fn addr(&self) -> &Addr {
        &self.addr
    }

    /// What was observed of it.
    pub fn health(&self) -> Health {
        Health::from_bits(self.health.load(Relaxed))
    }

    /// What the operator wishes of it.
    pub fn admin(&self) -> Admin {
        match self.admin.load(Relaxed) {
            0 => Admin::Ready,
            1 => Admin::Drain,
            _ => Admin::Maint,
        }
    }

    /// Whether it may be given new work: up and ready.
    pub fn eligible(&self) -> bool {
        self.health().is_up() && self.admin() == Admin::Ready
    }

    /// How many pieces of work it carries now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Its configured weight.
    pub fn weight(&self) -> u16 {
        self.weight.load(Relaxed)
    }

    /// Its weight at `now` in `weight::UNIT`s: smaller while it is fresh.
    pub fn effective_weight(&self, now: Instant) -> u32 {
        weight::ramped(self.weight(), self.up_for(now), self.rules.load().slow_start)
    }

    /// The operator's wish.
    pub fn set_admin(&self, admin: Admin) {
        self.admin.store(admin as u8, Relaxed);
        self.turns.send_replace(());
        info!(endpoint = %self.addr, ?admin, "endpoint's admin state set");
    }

    /// Whether its share still grows at `now`, as it came up only lately.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.up_for(now) < self.rules.load().slow_start
    }

    /// A changed configuration for an endpoint that stays.
    pub(super) fn reconfigure(&self, weight: u16, rules: Arc<Rules>) {
        self.weight.store(weight, Relaxed);
        self.rules.store(rules);
    }

    /// A probe's result. The only way up.
    pub fn observe<E: Display>(&self, result: Result<(), E>, now: Instant) -> Health {
        match result {
            Ok(()) => self.turn(Event::Passed, now),
            Err(reason) => {
                self.last_failure.store(Some(Arc::new(reason.to_string())));
                self.turn(Event::Failed, now)
            }
        }
    }

    /// Traffic met something that leaves no doubt: down at once, and whoever probes it looks again at once.
    pub fn lower(&self, reason: impl Display, now: Instant) {
        self.last_failure.store(Some(Arc::new(reason.to_string())));
        self.turn(Event::Lowered, now);
        self.suspect();
    }

    /// Asks whoever probes this endpoint for an immediate check. Many calls before that check are one.
    pub fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Waits until somebody suspects this endpoint. For the one task that probes it; safe to drop.
    pub async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Counts a piece of work until the guard is settled or dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { endpoint: Arc::clone(self) }
    }

    /// Its state for `/status`.
    pub fn snapshot(&self, now: Instant) -> EndpointStatus {
        EndpointStatus {
            addr: self.addr.to_string(),
            weight: self.weight(),
            health: self.health().name(),
            admin: self.admin(),
            eligible: self.eligible(),
            in_flight: self.in_flight(),
            up_for_ms: self.health().is_up().then(|| millis(self.up_for(now))),
            last_failure: self.last_failure.load_full().map(|reason| reason.as_ref().clone()),
        }
    }

    fn settle(&self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Served => self.recover(),
            Outcome::Failed => self.stumble(now),
            Outcome::Unreachable => self.lower("unreachable to traffic", now),
        }
    }

    /// The load before the store keeps the cache line shared between workers in the ordinary case.
    fn recover(&self) {
        if self.stumbles.load(Relaxed) != 0 {
            self.stumbles.store(0, Relaxed);
        }
    }

    fn stumble(&self, now: Instant) {
        let rules = **self.rules.load();
        let stumbles = self.stumbles.fetch_add(1, Relaxed).saturating_add(1);
        let enough = rules.failures.unwrap_or(rules.thresholds.fall.max(1));
        if enough > 0 && stumbles >= enough {
            self.stumbles.store(0, Relaxed);
            self.lower(format_args!("traffic failed {stumbles} times in a row"), now);
        }
    }

    fn turn(&self, event: Event, now: Instant) -> Health {
        let thresholds = self.rules.load().thresholds;
        let step = |bits| Some(Health::from_bits(bits).after(event, thresholds).to_bits());
        let before = self.health.fetch_update(Relaxed, Relaxed, step).unwrap_or_else(|unchanged| unchanged);
        let before = Health::from_bits(before);
        let after = before.after(event, thresholds);
        if before.is_up() != after.is_up() || before == Health::Unknown {
            self.turned(after, now);
        }
        after
    }

    fn turned(&self, health: Health, now: Instant) {
        if health.is_up() {
            self.up_since.store(millis(now.saturating_duration_since(self.born)), Relaxed);
            self.stumbles.store(0, Relaxed);
            info!(endpoint = %self.addr, "endpoint is up");
        } else {
            let reason = self.last_failure.load();
            let reason = reason.as_ref().map_or("", |reason| reason.as_str());
            warn!(endpoint = %self.addr, reason, "endpoint is down");
        }
        self.turns.send_replace(());
    }

    fn up_for(&self, now: Instant) -> Duration {
        let since = self.born + Duration::from_millis(self.up_since.load(Relaxed));
        now.saturating_duration_since(since)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One piece of work on an endpoint, counted from `enter` to `settle` or drop.
#[derive(Debug)]
#[must_use = "dropping it at once uncounts the work that it stands for"]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
}

impl InFlight {
    /// Where the work goes.
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The work says something about the endpoint, for which the guard is still needed.
    pub fn judge(&self, outcome: Outcome, now: Instant) {
        self.endpoint.settle(outcome, now);
    }

    /// The work ended and says something about the endpoint. A mere drop says nothing (the client left, say).
    pub fn settle(self, outcome: Outcome, now: Instant) {
        self.judge(outcome, now);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}

/// An endpoint's state for `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is the endpoint's method of the same name")]
pub struct EndpointStatus {
    pub addr: String,
    pub weight: u16,
    pub health: &'static str,
    pub admin: Admin,
    pub eligible: bool,
    pub in_flight: u32,
    pub up_for_ms: Option<u64>,
    pub last_failure: Option<String>,
}

#[cfg(test)]
mod tests;
