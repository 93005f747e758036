//! What the watcher counts. Kind: driver.

use std::collections::HashMap;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};
use proxy_core::metrics::Registry;

use super::observation::{NodeKey, NodeView, SentinelView, Sight};
use super::verdict::{Standing, Verdict};

pub(super) struct Gauges {
    master: String,
    role: IntGaugeVec,
    offset: IntGaugeVec,
    lag: IntGaugeVec,
    sentinel: IntGaugeVec,
    alerts: IntGaugeVec,
    pub(super) switches: IntCounter,
    losses: IntCounterVec,
    shown: HashMap<NodeKey, Standing>,
}

impl Gauges {
    pub(super) fn new(master: &str, registry: &Registry) -> Self {
        Self {
            master: master.to_owned(),
            role: registry.gauge_vec(
                "node_role",
                "1 for the role that the node has now",
                &["master", "node", "role"],
            ),
            offset: registry.gauge_vec(
                "node_offset",
                "The replication offset of the node",
                &["master", "node"],
            ),
            lag: registry.gauge_vec(
                "node_lag_milliseconds",
                "For how long the replica has been behind its master",
                &["master", "node"],
            ),
            sentinel: registry.gauge_vec(
                "sentinel_epoch",
                "The config-epoch that the Sentinel tells; -1 while it does not answer",
                &["master", "sentinel"],
            ),
            alerts: registry.gauge_vec(
                "topology_alerts",
                "What a person should look at, as /status tells it",
                &["master"],
            ),
            switches: registry
                .counter("switches_total", "How often a master was published that was not it before"),
            losses: registry.counter_vec(
                "node_losses_total",
                "Looks at a node or a Sentinel that failed",
                &["node", "why"],
            ),
            shown: HashMap::new(),
        }
    }

    /// A look has failed.
    pub(super) fn lost(&self, key: &NodeKey, why: &str) {
        self.losses.with_label_values(&[&**key, why]).inc();
    }

    /// Shows everybody as judged; a role that a node no longer has goes to zero.
    pub(super) fn show(&mut self, sentinels: &[SentinelView], nodes: &[NodeView], verdict: &Verdict) {
        for (node, standing) in &verdict.standings {
            self.show_role(node, *standing);
        }
        for node in nodes {
            if let Sight::Seen(seen) = &node.sight {
                let labels = [self.master.as_str(), &*node.key];
                self.offset.with_label_values(&labels).set(i64::try_from(seen.offset).unwrap_or(i64::MAX));
                let lag = i64::try_from(seen.lag.as_millis()).unwrap_or(i64::MAX);
                self.lag.with_label_values(&labels).set(lag);
            }
        }
        for sentinel in sentinels {
            let epoch = match &sentinel.sight {
                Sight::Seen(said) => i64::try_from(said.epoch).unwrap_or(i64::MAX),
                Sight::Unasked | Sight::Lost(_) => -1,
            };
            self.sentinel.with_label_values(&[self.master.as_str(), &*sentinel.key]).set(epoch);
        }
        let alerts = i64::try_from(verdict.alerts.len()).unwrap_or(i64::MAX);
        self.alerts.with_label_values(&[self.master.as_str()]).set(alerts);
    }

    fn show_role(&mut self, node: &NodeKey, standing: Standing) {
        let before = self.shown.insert(node.clone(), standing);
        if before.is_some_and(|before| before.as_str() == standing.as_str()) {
            return;
        }
        let labels =
            |standing: Standing| [self.master.clone(), node.to_string(), standing.as_str().to_owned()];
        if let Some(before) = before {
            self.role.with_label_values(&labels(before)).set(0);
        }
        self.role.with_label_values(&labels(standing)).set(1);
    }

    /// A node is no longer watched.
    pub(super) fn forget_node(&mut self, node: &NodeKey) {
        let Some(standing) = self.shown.remove(node) else { return };
        // A label set that was never made is nothing to remove.
        let _ = self.role.remove_label_values(&[self.master.as_str(), &**node, standing.as_str()]);
        let _ = self.offset.remove_label_values(&[self.master.as_str(), &**node]);
        let _ = self.lag.remove_label_values(&[self.master.as_str(), &**node]);
    }

    /// A Sentinel is no longer asked.
    pub(super) fn forget_sentinel(&mut self, sentinel: &NodeKey) {
        let _ = self.sentinel.remove_label_values(&[self.master.as_str(), &**sentinel]);
    }
}
