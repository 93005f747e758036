//! What a cluster's queue counts; every series is found once, at the start. Kind: wiring.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use proxy_core::metrics::{LATENCY_SECONDS, Registry};

use super::class::Class;
use super::ticket::Shed;

/// The series of one class.
#[derive(Debug)]
struct OfClass {
    seconds: Histogram,
    length: IntGauge,
    abandoned: IntCounter,
    shed: [IntCounter; Shed::ALL.len()],
}

/// The series of one cluster.
#[derive(Debug)]
pub struct QueueMetrics {
    classes: Vec<OfClass>,
    used: IntGauge,
    slots: IntGauge,
    ejections: IntCounter,
    redispatched: IntCounter,
}

impl QueueMetrics {
    /// The series of the cluster of this name; `names` are the classes', the most urgent one first. What comes below the
    /// last of them is counted there.
    pub fn new(registry: &Registry, cluster: &str, names: &[&str]) -> Self {
        let of_cluster = &[cluster];
        let used = registry.gauge_vec("slots_used", "Slots in use", &["cluster"]);
        let slots = registry.gauge_vec("slots", "Slots of replicas that may be asked", &["cluster"]);
        let ejections =
            registry.counter_vec("ejections_total", "Times that traffic took a replica out", &["cluster"]);
        let redispatched = registry.counter_vec(
            "redispatched_total",
            "Requests that went on to another replica",
            &["cluster"],
        );
        Self {
            classes: names.iter().map(|name| OfClass::new(registry, cluster, name)).collect(),
            used: used.with_label_values(of_cluster),
            slots: slots.with_label_values(of_cluster),
            ejections: ejections.with_label_values(of_cluster),
            redispatched: redispatched.with_label_values(of_cluster),
        }
    }

    /// A request has waited for so long until it got its slot.
    pub(super) fn waited(&self, class: Class, waited: Duration) {
        if let Some(series) = self.of(class) {
            series.seconds.observe(waited.as_secs_f64());
        }
    }

    pub(super) fn abandoned(&self, class: Class) {
        if let Some(series) = self.of(class) {
            series.abandoned.inc();
        }
    }

    pub(super) fn shed(&self, class: Class, reason: Shed) {
        if let Some(series) = self.of(class) {
            series.shed[reason as usize].inc();
        }
    }

    pub(super) fn ejected(&self) {
        self.ejections.inc();
    }

    pub(super) fn redispatched(&self) {
        self.redispatched.inc();
    }

    /// What is told on every beat rather than with every request.
    pub(super) fn measure(&self, used: u32, slots: Option<u32>, lengths: impl Fn(Class) -> usize) {
        self.used.set(used.into());
        self.slots.set(slots.unwrap_or_default().into());
        for (class, series) in Class::all().zip(&self.classes) {
            series.length.set(i64::try_from(lengths(class)).unwrap_or(i64::MAX));
        }
    }

    fn of(&self, class: Class) -> Option<&OfClass> {
        self.classes.get(class.index()).or(self.classes.last())
    }
}

impl OfClass {
    fn new(registry: &Registry, cluster: &str, class: &str) -> Self {
        let labels = &["cluster", "class"];
        let of_class = &[cluster, class];
        let seconds = registry.histogram_vec(
            "queue_seconds",
            "How long requests that had to wait did so until they got a slot",
            labels,
            LATENCY_SECONDS,
        );
        let length = registry.gauge_vec("queue_length", "Requests that wait for a slot", labels);
        let abandoned =
            registry.counter_vec("abandoned_total", "Clients that left while they waited", labels);
        let shed = registry.counter_vec(
            "shed_total",
            "Requests that got no slot, by the reason",
            &["cluster", "class", "reason"],
        );
        Self {
            seconds: seconds.with_label_values(of_class),
            length: length.with_label_values(of_class),
            abandoned: abandoned.with_label_values(of_class),
            shed: Shed::ALL.map(|reason| shed.with_label_values(&[cluster, class, reason.label()])),
        }
    }
}
