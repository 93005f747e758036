//! What a worker's sessions and pools have met, as metrics. Kind: driver.
//!
//! Sessions count in plain cells, as they share a thread; a worker adds them up a few times a second.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, IntGaugeVec};
use proxy_core::metrics::Registry;

use crate::accept::Desk;
use crate::session::Tally;
use crate::topology::Evidence;

/// How often a worker adds up.
const BEAT: Duration = Duration::from_millis(100);

/// The families; clones count the same.
#[derive(Clone)]
pub struct Metrics {
    replayed: IntCounter,
    unknown_outcome: IntCounter,
    aborted: IntCounter,
    transactions: IntCounter,
    refused: IntCounter,
    violations: IntCounter,
    connections: IntGaugeVec,
    waiting: IntGauge,
}

impl Metrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> Self {
        Self {
            replayed: registry.counter("replayed_total", "Requests run anew elsewhere, as they had not run"),
            unknown_outcome: registry.counter("unknown_outcome_total", "Requests answered with 08007"),
            aborted: registry
                .counter("aborted_total", "Transactions that were lost with their server (40001)"),
            transactions: registry
                .counter("transactions_total", "Server connections given back at a boundary"),
            refused: registry
                .counter("refused_total", "Requests for which no server connection could be had"),
            violations: registry
                .counter("protocol_violations_total", "Clients whose bytes broke the protocol"),
            connections: registry.gauge_vec("server_connections", "Server connections by state", &["state"]),
            waiting: registry.gauge("pool_waiting", "Sessions that wait for a server connection now"),
        }
    }
}

/// Passes a worker's numbers on for as long as it lives.
pub async fn export(desk: Rc<Desk>, metrics: Metrics) {
    let mut beat = tokio::time::interval(BEAT);
    let mut last = Held::default();
    loop {
        beat.tick().await;
        pass_on(&desk.tally, &metrics);
        report_refused_writes(&desk);
        last = last.replaced_by(Held::of(&desk), &metrics);
    }
}

/// A write was refused as if by a standby: the watcher looks whether the primary is one still.
fn report_refused_writes(desk: &Desk) {
    let primary = desk.floor.topology.borrow().primary.clone();
    if let Some(primary) = primary.filter(|_| desk.tally.read_only.take() > 0) {
        desk.shared.dial.suspect(&primary, Evidence::ReadOnly);
    }
}

fn pass_on(tally: &Tally, metrics: &Metrics) {
    let pairs: [(&Cell<u64>, &IntCounter); 6] = [
        (&tally.replayed, &metrics.replayed),
        (&tally.unknown_outcome, &metrics.unknown_outcome),
        (&tally.aborted, &metrics.aborted),
        (&tally.boundaries, &metrics.transactions),
        (&tally.refused, &metrics.refused),
        (&tally.violations, &metrics.violations),
    ];
    pairs.iter().for_each(|(cell, counter)| counter.inc_by(cell.take()));
}

/// What a worker's pools hold at a moment; workers share the gauges, so that each moves them by its own difference.
#[derive(Default)]
struct Held {
    idle: i64,
    lent: i64,
    opening: i64,
    waiting: i64,
}

impl Held {
    fn of(desk: &Desk) -> Self {
        let mut held = Self::default();
        desk.pools.each(|_, pool| {
            let census = pool.census();
            held.idle += census.idle as i64;
            held.lent += (census.open - census.idle) as i64;
            held.opening += census.opening as i64;
            held.waiting += census.waiting as i64;
        });
        held
    }

    fn replaced_by(self, now: Self, metrics: &Metrics) -> Self {
        let state = |name: &str| metrics.connections.with_label_values(&[name]);
        state("idle").add(now.idle - self.idle);
        state("lent").add(now.lent - self.lent);
        state("opening").add(now.opening - self.opening);
        metrics.waiting.add(now.waiting - self.waiting);
        now
    }
}
