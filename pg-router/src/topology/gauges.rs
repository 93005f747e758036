//! What the watcher counts. Kind: driver.

use std::collections::HashMap;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use proxy_core::metrics::Registry;

use super::observation::{NodeKey, NodeView, Sight};
use super::verdict::{Role, Verdict};

pub(super) struct Gauges {
    role: IntGaugeVec,
    timeline: IntGaugeVec,
    lag: IntGaugeVec,
    zombies: IntGauge,
    pub(super) switches: IntCounter,
    pub(super) losses: IntCounterVec,
    pub(super) evidence: IntCounterVec,
    shown: HashMap<NodeKey, Role>,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            role: registry.gauge_vec("node_role", "1 for the role that the node has now", &["node", "role"]),
            timeline: registry.gauge_vec("node_timeline", "The timeline that the node is on", &["node"]),
            lag: registry.gauge_vec(
                "node_lag_milliseconds",
                "For how long received WAL has waited to be replayed",
                &["node"],
            ),
            zombies: registry.gauge("zombie_nodes", "Nodes that take writes and are not the primary"),
            switches: registry
                .counter("switches_total", "How often a primary was confirmed that was not it before"),
            losses: registry.counter_vec("node_losses_total", "Monitor looks that failed", &["node", "why"]),
            evidence: registry.counter_vec("evidence_total", "What traffic told against a node", &["kind"]),
            shown: HashMap::new(),
        }
    }

    /// Shows the nodes as they were judged; a role that a node no longer has goes to zero.
    pub(super) fn show(&mut self, nodes: &[NodeView], verdict: &Verdict) {
        for (node, role) in &verdict.roles {
            self.show_role(node, *role);
        }
        for node in nodes {
            if let Sight::Seen(seen) = &node.sight {
                self.timeline.with_label_values(&[&*node.key]).set(seen.timeline.unwrap_or(0).into());
                let lag = i64::try_from(seen.lag.as_millis()).unwrap_or(i64::MAX);
                self.lag.with_label_values(&[&*node.key]).set(lag);
            }
        }
        self.zombies.set(i64::try_from(verdict.zombies().count()).unwrap_or(i64::MAX));
    }

    fn show_role(&mut self, node: &NodeKey, role: Role) {
        let before = self.shown.insert(node.clone(), role);
        if let Some(before) = before.filter(|before| before.as_str() != role.as_str()) {
            self.role.with_label_values(&[&**node, before.as_str()]).set(0);
        }
        self.role.with_label_values(&[&**node, role.as_str()]).set(1);
    }

    /// A node is no longer watched.
    pub(super) fn forget(&mut self, node: &NodeKey) {
        if let Some(role) = self.shown.remove(node) {
            // A label set that was never made is nothing to remove.
            let _ = self.role.remove_label_values(&[&**node, role.as_str()]);
            let _ = self.timeline.remove_label_values(&[node]);
            let _ = self.lag.remove_label_values(&[node]);
        }
    }
}
