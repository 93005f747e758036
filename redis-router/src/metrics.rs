//! What a worker's sessions and shared connections have met, as metrics. Kind: driver.
//!
//! They count in plain cells, as they share a thread; a worker adds them up a few times a second.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{HistogramVec, IntCounter, IntGauge};
use proxy_core::metrics::{LATENCY_SECONDS, Registry};

use crate::command::{self, Class, Command, first_key};
use crate::observe::{Limits, Observer, Snapshot, Subject, Told};
use crate::wire::Args;

/// How often a worker adds up.
const BEAT: Duration = Duration::from_millis(100);

/// So many beats lie between two looks at what a worker has noticed.
const NOTICED_EVERY: u64 = 10;

/// What one worker has counted since it last added up.
pub struct Tally {
    replayed: Cell<u64>,
    unknown: Cell<u64>,
    expired: Cell<u64>,
    disorders: Cell<u64>,
    denied: Cell<u64>,
    violations: Cell<u64>,
    leases: Cell<u64>,
    gaps: Cell<u64>,
    /// What was noticed about commands.
    observer: RefCell<Observer>,
}

fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

impl Tally {
    /// Nothing is counted yet.
    pub fn new(limits: &Limits) -> Self {
        let zero = Cell::default;
        Self {
            replayed: zero(),
            unknown: zero(),
            expired: zero(),
            disorders: zero(),
            denied: zero(),
            violations: zero(),
            leases: zero(),
            gaps: zero(),
            observer: RefCell::new(Observer::new(limits, fastrand::u64(..))),
        }
    }

    /// A command is on its way.
    #[inline]
    pub fn used(&self, command: &Command, request: &[u8]) {
        let keys = &mut self.observer.borrow_mut().keys;
        if keys.samples()
            && let Some(key) = first_key(command, Args::new(request))
        {
            keys.see(key);
        }
    }

    /// A reply of so many bytes has come to this client's command, by its number, after so many microseconds.
    #[inline]
    pub fn answered(&self, command: u16, request: &[u8], client: &str, micros: u64, size: usize) {
        let Some(command) = command::all().get(usize::from(command)) else { return };
        let observer = &mut *self.observer.borrow_mut();
        observer.latencies.record(command::class(command), micros);
        if observer.slow.wants(micros) || observer.big.wants(size as u64) {
            note(observer, command, request, client, micros, size as u64);
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
}

#[cold]
fn note(observer: &mut Observer, command: &Command, request: &[u8], client: &str, micros: u64, size: u64) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let key = first_key(command, Args::new(request));
    let subject = Subject { command: command.name, key, client: &client, at };
    observer.slow.note(micros, &subject);
    observer.big.note(size, &subject);
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
    latencies: HistogramVec,
    /// What each worker has noticed, as of its last beat.
    noticed: Arc<Mutex<BTreeMap<usize, Snapshot>>>,
    shared: IntGauge,
    waiting: IntGauge,
}

impl Metrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> Self {
        Self {
            replayed: registry.counter(
                "replayed_total",
                "Commands sent anew to a master, as they had not run or only read",
            ),
            unknown: registry.counter(
                "unknown_outcome_total",
                "Writes of unknown outcome, answered so: sent to a master that was lost",
            ),
            expired: registry
                .counter("hold_expired_total", "Commands answered with LOADING: no master in time"),
            disorders: registry
                .counter("disorders_total", "Shared connections given up as their replies were out of order"),
            denied: registry.counter("denied_total", "Commands that the router itself refused"),
            violations: registry
                .counter("protocol_violations_total", "Clients whose bytes broke the protocol"),
            leases: registry.counter("leases_total", "Times that a client was given a connection of its own"),
            gaps: registry
                .counter("subscription_gaps_total", "Subscriptions re-established on another server"),
            latencies: registry.histogram_vec(
                "command_seconds",
                "How long commands took on shared connections, by class",
                &["class"],
                LATENCY_SECONDS,
            ),
            noticed: Arc::default(),
            shared: registry.gauge("shared_connections", "Shared connections to servers, open or wanted"),
            waiting: registry.gauge("open_request_bytes", "Bytes of requests whose outcome is open"),
        }
    }
}

impl Metrics {
    /// What all workers have noticed about commands, for `/status`.
    pub fn noticed(&self) -> Told {
        // A snapshot is whole whoever has panicked.
        let noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let merge = |mut all: Snapshot, one: &Snapshot| {
            all.merge(one.clone());
            all
        };
        noticed.values().fold(Snapshot::default(), merge).tell()
    }

    fn notice(&self, worker: usize, tally: &Tally) {
        let snapshot = tally.observer.borrow().snapshot();
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, snapshot);
    }
}

/// Passes a worker's numbers on for as long as it lives. `census`: its shared connections, and bytes that wait on them.
pub async fn export(worker: usize, tally: Rc<Tally>, census: impl Fn() -> (usize, usize), metrics: Metrics) {
    let mut beat = tokio::time::interval(BEAT);
    let (mut shared, mut bytes) = (0, 0);
    for round in 0_u64.. {
        beat.tick().await;
        pass_on(&tally, &metrics);
        if round.is_multiple_of(NOTICED_EVERY) {
            metrics.notice(worker, &tally);
        }
        let now = census();
        let now = (now.0 as i64, now.1 as i64);
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
    let local: Vec<_> =
        Class::ALL.iter().map(|class| metrics.latencies.with_label_values(&[class.name()]).local()).collect();
    tally.observer.borrow_mut().latencies.drain(|class, seconds, count| {
        (0..count).for_each(|_| local[class as usize].observe(seconds));
    });
    // Dropped, the local histograms add to the shared ones.
}
