//! What a worker's sessions and shared connections have met, as metrics. Kind: driver.
//!
//! They count in plain cells, as they share a thread; a worker adds them up a few times a second.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use proxy_core::metrics::Registry;

use crate::command::Class;
use crate::session::Downstream;
use crate::site::Site;

/// How often a worker adds up.
const BEAT: Duration = Duration::from_millis(100);

/// What one worker has counted since it last added up.
#[derive(Default)]
pub struct Tally {
    replayed: Cell<u64>,
    unknown: Cell<u64>,
    expired: Cell<u64>,
    disorders: Cell<u64>,
    denied: Cell<u64>,
    violations: Cell<u64>,
    leases: Cell<u64>,
    gaps: Cell<u64>,
    commands: [Cell<u64>; Class::ALL.len()],
    /// Clients that have heard something in this turn; empty between turns.
    stirred: RefCell<Vec<Rc<Downstream>>>,
}

fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

impl Tally {
    /// A reply has come to a command of this class, after so many microseconds.
    #[inline]
    pub fn answered(&self, class: u16, _micros: u64) {
        if let Some(cell) = self.commands.get(usize::from(class)) {
            add(cell, 1);
        }
    }

    /// A connection was lost with such requests under way.
    pub fn lost(&self, replayed: u64, unknown: u64) {
        add(&self.replayed, replayed);
        add(&self.unknown, unknown);
    }

    /// Commands were answered as they had waited for too long.
    pub fn expired(&self, n: u64) {
        add(&self.expired, n);
    }

    /// A shared connection's replies could not be trusted.
    pub fn disordered(&self) {
        add(&self.disorders, 1);
    }

    /// A command was refused by the router itself.
    pub fn denied(&self) {
        add(&self.denied, 1);
    }

    /// A client's bytes broke the protocol.
    pub fn violated(&self) {
        add(&self.violations, 1);
    }

    /// A client was given a connection of its own.
    pub fn leased(&self) {
        add(&self.leases, 1);
    }

    /// A subscription was re-established: what was published meanwhile is lost.
    pub fn gap(&self) {
        add(&self.gaps, 1);
    }

    /// The list of clients to be written to at the end of the turn.
    pub fn stirred(&self) -> RefMut<'_, Vec<Rc<Downstream>>> {
        self.stirred.borrow_mut()
    }
}

/// The families; clones count the same.
#[derive(Clone)]
pub struct Metrics {
    replayed: IntCounter,
    unknown: IntCounter,
    expired: IntCounter,
    disorders: IntCounter,
    denied: IntCounter,
    violations: IntCounter,
    leases: IntCounter,
    gaps: IntCounter,
    commands: IntCounterVec,
    shared: IntGauge,
    waiting: IntGauge,
}

impl Metrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help);
        Self {
            replayed: counter(
                "replayed_total",
                "Commands sent anew to a master, as they had not run or only read",
            ),
            unknown: counter(
                "unknown_outcome_total",
                "Writes answered with UNKNOWN: sent to a master that was lost",
            ),
            expired: counter("hold_expired_total", "Commands answered with LOADING: no master in time"),
            disorders: counter(
                "disorders_total",
                "Shared connections given up as their replies were out of order",
            ),
            denied: counter("denied_total", "Commands that the router itself refused"),
            violations: counter("protocol_violations_total", "Clients whose bytes broke the protocol"),
            leases: counter("leases_total", "Times that a client was given a connection of its own"),
            gaps: counter("subscription_gaps_total", "Subscriptions re-established on another server"),
            commands: registry.counter_vec("commands_total", "Commands answered, by class", &["class"]),
            shared: registry.gauge("shared_connections", "Shared connections to servers, open or wanted"),
            waiting: registry.gauge("open_request_bytes", "Bytes of requests whose outcome is open"),
        }
    }
}

/// Passes a worker's numbers on for as long as it lives.
pub async fn export(tally: Rc<Tally>, sites: Vec<Rc<Site>>, metrics: Metrics) {
    let mut beat = tokio::time::interval(BEAT);
    let (mut shared, mut bytes) = (0, 0);
    loop {
        beat.tick().await;
        pass_on(&tally, &metrics);
        let census: Vec<_> = sites.iter().map(|site| site.census()).collect();
        let now = census.iter().fold((0, 0), |sum, one| (sum.0 + one.0 as i64, sum.1 + one.1 as i64));
        // Workers share the gauges, so that each moves them by its own difference.
        metrics.shared.add(now.0 - shared);
        metrics.waiting.add(now.1 - bytes);
        (shared, bytes) = now;
    }
}

fn pass_on(tally: &Tally, metrics: &Metrics) {
    let pairs: [(&Cell<u64>, &IntCounter); 8] = [
        (&tally.replayed, &metrics.replayed),
        (&tally.unknown, &metrics.unknown),
        (&tally.expired, &metrics.expired),
        (&tally.disorders, &metrics.disorders),
        (&tally.denied, &metrics.denied),
        (&tally.violations, &metrics.violations),
        (&tally.leases, &metrics.leases),
        (&tally.gaps, &metrics.gaps),
    ];
    pairs.iter().for_each(|(cell, counter)| counter.inc_by(cell.take()));
    for (class, cell) in Class::ALL.iter().zip(&tally.commands) {
        metrics.commands.with_label_values(&[class.name()]).inc_by(cell.take());
    }
}
