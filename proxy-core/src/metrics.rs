//! Metrics: a registry that is passed, never global, and the families that every binary has. Kind: wiring.
//!
//! Names are given without the binary's prefix, which the registry adds (`sessions_active` becomes
//! `pg_router_sessions_active`), and every name stands in `docs/metrics.md`; the tidy test holds us to it.
//! Asking twice for a family gives the same family, so that two listeners can both ask for theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};

use crate::error::Error;

/// Buckets for waits and round trips, in seconds: 50 µs to 60 s.
pub const LATENCY_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

#[derive(Debug, Clone)]
enum Family {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    Histogram(HistogramVec),
}

/// Where the metrics of one process live. Clones share them.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: prometheus::Registry,
    families: Arc<Mutex<HashMap<&'static str, Family>>>,
}

impl Registry {
    /// A registry for a binary (`pg-router`), with `build_info` in it.
    pub fn new(binary: &str, version: &str) -> Self {
        let prefix = binary.replace('-', "_");
        let inner = prometheus::Registry::new_custom(Some(prefix), None)
            .expect("only an empty prefix is refused, and binaries have names");
        let registry = Self { inner, families: Arc::default() };
        registry
            .gauge_vec("build_info", "1, with the version as a label", &["version"])
            .with_label_values(&[version])
            .set(1);
        registry
    }

    /// A counter.
    pub fn counter(&self, name: &'static str, help: &str) -> IntCounter {
        self.counter_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// A family of counters, one per value of the labels.
    pub fn counter_vec(&self, name: &'static str, help: &str, labels: &[&str]) -> IntCounterVec {
        let make = || IntCounterVec::new(Opts::new(name, help), labels).map(Family::Counter);
        match self.family(name, make) {
            Family::Counter(vec) => vec,
            other => misused(name, &other),
        }
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &str) -> IntGauge {
        self.gauge_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// A family of gauges, one per value of the labels.
    pub fn gauge_vec(&self, name: &'static str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let make = || IntGaugeVec::new(Opts::new(name, help), labels).map(Family::Gauge);
        match self.family(name, make) {
            Family::Gauge(vec) => vec,
            other => misused(name, &other),
        }
    }

    /// A histogram over `buckets`, such as [`LATENCY_SECONDS`].
    pub fn histogram(&self, name: &'static str, help: &str, buckets: &[f64]) -> Histogram {
        self.histogram_vec(name, help, &[], buckets).with_label_values::<&str>(&[])
    }

    /// A family of histograms, one per value of the labels.
    pub fn histogram_vec(
        &self,
        name: &'static str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        match self.family(name, || HistogramVec::new(opts, labels).map(Family::Histogram)) {
            Family::Histogram(vec) => vec,
            other => misused(name, &other),
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn exposition(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.inner.gather())
            .expect("the encoder fails only on families without a name, which can't be registered")
    }

    /// The family of that name, made and registered when it is asked for the first time.
    fn family(&self, name: &'static str, make: impl FnOnce() -> prometheus::Result<Family>) -> Family {
        // The map is never left half changed, so a panic elsewhere while it was locked does no harm.
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.entry(name).or_insert_with(|| self.register(make())).clone()
    }

    fn register(&self, made: prometheus::Result<Family>) -> Family {
        let family = made.expect("metric names and labels are literals that the registry's test reads");
        let collector: Box<dyn Collector> = match family.clone() {
            Family::Counter(vec) => Box::new(vec),
            Family::Gauge(vec) => Box::new(vec),
            Family::Histogram(vec) => Box::new(vec),
        };
        self.inner.register(collector).expect("a name is registered once: `families` remembers it");
        family
    }
}

/// The same name for two types is a bug that the first start of the binary shows.
fn misused(name: &str, other: &Family) -> ! {
    panic!("metric {name} is already registered as another type: {other:?}")
}

/// The families that every listener of every binary has.
#[derive(Debug, Clone)]
pub struct SessionMetrics {
    active: IntGauge,
    total: IntCounter,
    listener: String,
    ended: IntCounterVec,
    errors: IntCounterVec,
}

impl SessionMetrics {
    /// The families of the listener that goes by this name.
    pub fn new(registry: &Registry, listener: &str) -> Self {
        let active = registry.gauge_vec("sessions_active", "Sessions that are open now", &["listener"]);
        let total = registry.counter_vec("sessions_total", "Sessions opened since the start", &["listener"]);
        Self {
            active: active.with_label_values(&[listener]),
            total: total.with_label_values(&[listener]),
            listener: listener.to_owned(),
            ended: registry.counter_vec(
                "sessions_ended_total",
                "Sessions by how they ended",
                &["listener", "ending"],
            ),
            errors: errors(registry),
        }
    }

    /// Counts how a session ended. What failed before there was one ended at that `door`.
    pub fn settle(&self, outcome: Result<&str, Error>, door: &str) {
        match outcome {
            Ok(ending) => self.ended(ending),
            Err(error) => {
                self.error(&error);
                self.ended(door);
                tracing::debug!(%error, "a client did not come in");
            }
        }
    }

    fn ended(&self, ending: &str) {
        self.ended.with_label_values(&[self.listener.as_str(), ending]).inc();
    }

    /// Counts a session as open until the returned guard is dropped.
    #[must_use]
    pub fn open(&self) -> OpenSession {
        self.active.inc();
        self.total.inc();
        OpenSession { active: self.active.clone() }
    }

    /// Counts an error by side and kind.
    fn error(&self, error: &Error) {
        self.errors.with_label_values(&error.as_labels()).inc();
    }
}

/// `errors_total{side,kind}`: what failed, by [`Error::as_labels`].
pub fn errors(registry: &Registry) -> IntCounterVec {
    registry.counter_vec("errors_total", "Errors by the side that failed and how", &["side", "kind"])
}

/// A session is open.
#[derive(Debug)]
pub struct OpenSession {
    active: IntGauge,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.active.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[track_caller]
    fn check(registry: &Registry, line: &str) {
        let text = registry.exposition();
        assert!(text.lines().any(|l| l == line), "no line {line:?} in:\n{text}");
    }

    fn registry() -> Registry {
        Registry::new("pg-router", "1.2.3")
    }

    #[test]
    fn the_build_tells_its_version() {
        check(&registry(), r#"pg_router_build_info{version="1.2.3"} 1"#);
    }

    #[test]
    fn names_take_the_prefix_of_the_binary() {
        let registry = registry();
        registry.counter("held_total", "Held").inc_by(3);
        check(&registry, "pg_router_held_total 3");
    }

    #[test]
    fn who_asks_twice_gets_the_same_family() {
        let registry = registry();
        registry.gauge("held", "Held now").inc();
        registry.gauge("held", "Held now").inc();
        check(&registry, "pg_router_held 2");
    }

    #[test]
    fn histograms_have_their_buckets() {
        let registry = registry();
        registry.histogram("wait_seconds", "Waits", LATENCY_SECONDS).observe(0.003);
        check(&registry, r#"pg_router_wait_seconds_bucket{le="0.005"} 1"#);
    }

    #[test]
    fn a_session_is_active_until_it_is_dropped() {
        let registry = registry();
        let sessions = SessionMetrics::new(&registry, "primary");
        let open = sessions.open();
        check(&registry, r#"pg_router_sessions_active{listener="primary"} 1"#);
        drop(open);
        check(&registry, r#"pg_router_sessions_active{listener="primary"} 0"#);
        check(&registry, r#"pg_router_sessions_total{listener="primary"} 1"#);
    }

    #[test]
    fn errors_are_counted_by_side_and_kind() {
        let registry = registry();
        let sessions = SessionMetrics::new(&registry, "primary");
        sessions.settle(Err(Error::upstream(Kind::Closed, "gone")), "login");
        check(&registry, r#"pg_router_sessions_ended_total{ending="login",listener="primary"} 1"#);
        check(&registry, r#"pg_router_errors_total{kind="closed",side="upstream"} 1"#);
    }

    #[test]
    #[should_panic(expected = "already registered as another type")]
    fn one_name_has_one_type() {
        let registry = registry();
        registry.counter("held", "Held");
        registry.gauge("held", "Held");
    }
}
