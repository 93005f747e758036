//! The topology as the status page shows it. Kind: pure.

use serde_json::{Value, json};

use super::chronicle::{Switch, millis};
use super::observation::{Candidacy, Moment, NodeView, SentinelView, Sight};
use super::verdict::{Decision, Standing, Verdict};

/// All that the page tells, as of one judgement.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) sentinels: Vec<SentinelView>,
    pub(super) nodes: Vec<NodeView>,
    pub(super) candidacy: Option<Candidacy>,
    pub(super) verdict: Option<Verdict>,
    pub(super) switches: Vec<Switch>,
    /// Why the last verdict was not published, if the publisher refused it.
    pub(super) refused: Option<String>,
}

impl Snapshot {
    /// The page's data.
    pub(super) fn to_json(&self, master: &str, now: Moment) -> Value {
        let verdict = self.verdict.as_ref();
        let alerts = verdict.into_iter().flat_map(|verdict| &verdict.alerts).map(ToString::to_string);
        json!({
            "name": master,
            "master": reign(verdict),
            "why": verdict.filter(|verdict| verdict.reign().is_some()).map(|verdict| verdict.ground.as_str()),
            "held": held(verdict),
            "refused": self.refused,
            "suspect": verdict.is_none_or(|verdict| verdict.suspect),
            "alerts": alerts.collect::<Vec<_>>(),
            "candidate": self.candidacy.as_ref().map(|candidacy| json!({
                "node": &*candidacy.node,
                "epoch": candidacy.epoch,
                "leader": &*candidacy.leader,
                "aborted": candidacy.aborted,
            })),
            "sentinels": self.sentinels.iter().map(|view| sentinel(view, now)).collect::<Vec<_>>(),
            "nodes": self.nodes.iter().map(|view| self.node(view, now)).collect::<Vec<_>>(),
            "switches": self.switches,
        })
    }

    fn node(&self, node: &NodeView, now: Moment) -> Value {
        let standing = self.verdict.as_ref().and_then(|verdict| verdict.standing(&node.key));
        let standing = standing.unwrap_or(Standing::Unasked);
        let seen = if let Sight::Seen(seen) = &node.sight { Some(seen) } else { None };
        json!({
            "node": &*node.key,
            "role": standing.as_str(),
            "why": standing.why(),
            "offset": seen.map(|seen| seen.offset),
            "replicas": seen.filter(|seen| seen.is_master()).map(|seen| seen.followers()),
            "lag_ms": seen.filter(|seen| !seen.is_master()).map(|seen| millis(seen.lag)),
            "replid": seen.map(|seen| &seen.replid),
            "run_id": seen.map(|seen| &seen.run_id),
            "seen_ms_ago": seen.map(|seen| millis(now.saturating_sub(seen.at))),
        })
    }
}

fn sentinel(view: &SentinelView, now: Moment) -> Value {
    let said = if let Sight::Seen(said) = &view.sight { Some(said) } else { None };
    let lost = if let Sight::Lost(loss) = &view.sight { Some(loss.as_str()) } else { None };
    json!({
        "sentinel": &*view.key,
        "lost": lost,
        "names": said.map(|said| &*said.master),
        "epoch": said.map(|said| said.epoch),
        "failover": said.and_then(|said| said.failover.clone()),
        "flags": said.map(|said| said.flags.as_str()),
        "quorum": said.map(|said| said.quorum),
        "others": said.map(|said| said.others),
        "seen_ms_ago": said.map(|said| millis(now.saturating_sub(said.at))),
    })
}

fn reign(verdict: Option<&Verdict>) -> Value {
    let reign = verdict.and_then(Verdict::reign);
    reign.map_or(Value::Null, |reign| json!({ "node": &*reign.node, "epoch": reign.epoch }))
}

fn held(verdict: Option<&Verdict>) -> Option<&'static str> {
    match &verdict?.master {
        Decision::Held(held) => Some(held.as_str()),
        Decision::Master(_) => None,
    }
}
