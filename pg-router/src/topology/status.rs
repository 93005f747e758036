//! The topology as the status page shows it. Kind: pure.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chronicle::Switch;
use super::observation::{Moment, NodeView, Observation, Sight};
use super::verdict::{Decision, Role, Verdict};

/// All that the page tells, as of one judgement.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) nodes: Vec<NodeView>,
    pub(super) verdict: Option<Verdict>,
    pub(super) switches: Vec<Switch>,
    /// Why the last verdict was not published, if the publisher refused it.
    pub(super) refused: Option<String>,
}

impl Snapshot {
    /// The page's data.
    pub(super) fn to_json(&self, now: Moment) -> Value {
        let decision = self.verdict.as_ref().map(|verdict| &verdict.primary);
        let alerts = self.verdict.iter().flat_map(|verdict| &verdict.alerts).map(ToString::to_string);
        json!({
            "primary": primary(decision),
            "held": held(decision),
            "refused": self.refused,
            "suspect": self.verdict.as_ref().is_none_or(|verdict| verdict.suspect),
            "alerts": alerts.collect::<Vec<_>>(),
            "nodes": self.nodes.iter().map(|node| self.node(node, now)).collect::<Vec<_>>(),
            "switches": self.switches,
        })
    }

    fn node(&self, node: &NodeView, now: Moment) -> Value {
        let role = self.verdict.as_ref().and_then(|verdict| verdict.role(&node.key)).unwrap_or(Role::Unasked);
        let seen: Option<&Arc<Observation>> = match &node.sight {
            Sight::Seen(seen) => Some(seen),
            Sight::Unasked | Sight::Lost(_) => None,
        };
        json!({
            "node": &*node.key,
            "role": role.as_str(),
            "why": role.why(),
            "node_id": seen.and_then(|seen| seen.node_id),
            "timeline": seen.and_then(|seen| seen.timeline),
            "lsn": seen.map(|seen| format!("{:X}/{:X}", seen.lsn >> 32, seen.lsn & 0xffff_ffff)),
            "lag_ms": seen.filter(|seen| seen.in_recovery).map(|seen| seen.lag.as_millis() as u64),
            "followers": seen.map(|seen| &seen.followers),
            "sender": seen.and_then(|seen| seen.receiver.as_ref()).map(|receiver| &receiver.sender),
            "seen_ms_ago": seen.map(|seen| now.saturating_sub(seen.at).as_millis() as u64),
        })
    }
}

fn primary(decision: Option<&Decision>) -> Value {
    match decision {
        Some(Decision::Primary(reign)) => json!({
            "node": &*reign.node,
            "node_id": reign.node_id,
            "timeline": reign.timeline,
            "system_identifier": reign.system_identifier.to_string(),
        }),
        _ => Value::Null,
    }
}

fn held(decision: Option<&Decision>) -> Option<&'static str> {
    match decision {
        Some(Decision::Held(reason)) => Some(reason.as_str()),
        _ => None,
    }
}
