//! What requests have come to, as metrics. Kind: driver.
//!
//! A worker counts in plain cells, as its sessions share a thread, and adds up a few times a second. Answers of replicas
//! are kept apart from ours: a 502 of ours means a replica that is gone, a 502 of theirs one that says so.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use prometheus::local::LocalHistogram;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use proxy_core::metrics::{LATENCY_SECONDS, Registry};

use crate::queue::{CLASSES, Class};

/// How often a worker adds up.
const BEAT: Duration = Duration::from_millis(100);

/// Status codes that are counted: 100 to 599.
const CODES: usize = 500;

/// Whose answer a client was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A replica's.
    Replica,
    /// A file.
    File,
    /// One of our own: a redirect, a page.
    Us,
}

impl By {
    const ALL: [Self; 3] = [Self::Replica, Self::File, Self::Us];

    /// As a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::File => "file",
            Self::Us => "us",
        }
    }
}

/// What is counted of a request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Its class.
    pub class: Class,
    /// Whose answer it got.
    pub by: By,
    /// The answer's status.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
}

type Codes = Box<[Cell<u64>; CODES]>;

/// What one worker has counted since it last added up.
pub struct Tally {
    /// The names of the classes.
    names: [String; CLASSES],
    codes: [[OnceCell<Codes>; By::ALL.len()]; CLASSES],
    seconds: [LocalHistogram; CLASSES],
    replica_seconds: LocalHistogram,
    /// Requests that were tried again.
    pub retries: Cell<u64>,
    /// Connections that were opened to replicas.
    pub dialled: Cell<u64>,
    /// Answers that broke off after they had begun.
    pub broken: Cell<u64>,
    /// Replicas that said more than they were asked for.
    pub babbling: Cell<u64>,
}

impl Tally {
    /// Counts a request that is over.
    #[inline]
    pub fn count(&self, told: &Told) {
        let codes = self.codes[told.class.index()][told.by as usize]
            .get_or_init(|| Box::new([const { Cell::new(0) }; CODES]));
        if let Some(code) = codes.get(usize::from(told.status.saturating_sub(100))) {
            code.set(code.get() + 1);
        }
        self.seconds[told.class.index()].observe(told.took.as_secs_f64());
    }

    /// Counts how long a replica was at work on a request.
    #[inline]
    pub fn worked(&self, time: Duration) {
        self.replica_seconds.observe(time.as_secs_f64());
    }
}

/// Adds one.
pub fn add(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

/// The families; clones count the same.
#[derive(Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    replica_seconds: Histogram,
    answered: IntCounterVec,
    retries: IntCounter,
    dialled: IntCounter,
    broken: IntCounter,
    babbling: IntCounter,
    idle: IntGauge,
}

impl Metrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counter_vec(
                "requests_total",
                "Requests by class, status, and whose answer it was: a replica's, a file, or ours",
                &["class", "code", "by"],
            ),
            seconds: registry.histogram_vec(
                "request_seconds",
                "How long requests took, from the head to the answer's last byte, by class",
                &["class"],
                LATENCY_SECONDS,
            ),
            replica_seconds: registry.histogram(
                "replica_seconds",
                "How long replicas were at work on a request",
                LATENCY_SECONDS,
            ),
            answered: registry.counter_vec(
                "answered_total",
                "Requests that were answered without a replica or a file, by the reason",
                &["why"],
            ),
            retries: registry.counter("retries_total", "Requests that were tried again"),
            dialled: registry.counter("dialled_total", "Connections opened to replicas for requests"),
            broken: registry.counter("broken_answers_total", "Answers that broke off after they had begun"),
            babbling: registry.counter(
                "babbling_replicas_total",
                "Answers behind which a replica said more than it should",
            ),
            idle: registry.gauge("replica_connections_idle", "Connections to replicas that are kept idle"),
        }
    }

    /// What one worker counts in; the classes go by these names.
    pub fn tally(&self, classes: &[String]) -> Tally {
        let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
        let local = |class: usize| self.seconds.with_label_values(&[&name(class)]).local();
        Tally {
            names: std::array::from_fn(name),
            codes: Default::default(),
            seconds: std::array::from_fn(local),
            replica_seconds: self.replica_seconds.local(),
            retries: Cell::default(),
            dialled: Cell::default(),
            broken: Cell::default(),
            babbling: Cell::default(),
        }
    }

    /// Counts a request that was answered at the edge, and why.
    pub fn answered(&self, why: &str) {
        self.answered.with_label_values(&[why]).inc();
    }
}

/// Passes a worker's numbers on for as long as it lives. `idle`: its idle connections to replicas.
pub async fn export(tally: Rc<Tally>, idle: impl Fn() -> usize, metrics: Metrics) {
    let mut beat = tokio::time::interval(BEAT);
    let mut before = 0;
    loop {
        beat.tick().await;
        pass_on(&tally, &metrics);
        let now = i64::try_from(idle()).unwrap_or(i64::MAX);
        // Workers share the gauge, so that each moves it by its own difference.
        metrics.idle.add(now - before);
        before = now;
    }
}

fn pass_on(tally: &Tally, metrics: &Metrics) {
    for class in Class::all() {
        for by in By::ALL {
            let Some(codes) = tally.codes[class.index()][by as usize].get() else { continue };
            for (at, count) in codes.iter().enumerate().filter(|(_, count)| count.get() > 0) {
                let (class, code) = (tally.names[class.index()].as_str(), (at + 100).to_string());
                metrics.requests.with_label_values(&[class, &code, by.label()]).inc_by(count.take());
            }
        }
        tally.seconds[class.index()].flush();
    }
    tally.replica_seconds.flush();
    let pairs = [
        (&tally.retries, &metrics.retries),
        (&tally.dialled, &metrics.dialled),
        (&tally.broken, &metrics.broken),
        (&tally.babbling, &metrics.babbling),
    ];
    pairs.iter().for_each(|(cell, counter)| counter.inc_by(cell.take()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_counts_is_told_by_class_code_and_origin() {
        let registry = Registry::new("http-lb", "1");
        let metrics = Metrics::new(&registry);
        let tally = metrics.tally(&["checkout".to_owned()]);
        let told = Told { class: Class::TOP, by: By::Replica, status: 200, took: Duration::from_millis(3) };
        tally.count(&told);
        tally.count(&told);
        tally.count(&Told { by: By::Us, status: 502, ..told });
        tally.count(&Told { status: 999, ..told });
        add(&tally.retries);
        pass_on(&tally, &metrics);
        pass_on(&tally, &metrics);
        let text = registry.exposition();
        for line in [
            r#"http_lb_requests_total{by="replica",class="checkout",code="200"} 2"#,
            r#"http_lb_requests_total{by="us",class="checkout",code="502"} 1"#,
            r#"http_lb_request_seconds_count{class="checkout"} 4"#,
            "http_lb_retries_total 1",
        ] {
            assert!(text.lines().any(|told| told == line), "no {line} in\n{text}");
        }
    }
}
