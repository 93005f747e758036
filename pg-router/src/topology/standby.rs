//! Which standbys may be read from (rule R9).
//!
//! Kind: pure.

use super::observation::{Observation, RepmgrKind};
use super::verdict::{Limits, Role, Unfit};

/// What a node is that takes no writes, beside this primary.
pub(super) fn role(standby: &Observation, primary: Option<&Observation>, limits: &Limits) -> Role {
    match unfit(standby, primary, limits) {
        Some(reason) => Role::Unroutable(reason),
        None => Role::Replica,
    }
}

fn unfit(standby: &Observation, primary: Option<&Observation>, limits: &Limits) -> Option<Unfit> {
    if !standby.in_recovery {
        return Some(Unfit::ReadOnly);
    }
    let Some(primary) = primary else { return Some(Unfit::NoPrimary) };
    let Some(receiver) = standby.receiver.as_ref().filter(|receiver| receiver.streaming) else {
        return Some(Unfit::NotStreaming);
    };
    if Some(receiver.timeline) != primary.timeline {
        return Some(Unfit::OtherTimeline);
    }
    if standby.replay_paused {
        return Some(Unfit::Paused);
    }
    if limits.max_lag.is_some_and(|limit| standby.lag > limit) {
        return Some(Unfit::Lagging);
    }
    is_inactive(standby, primary).then_some(Unfit::Inactive)
}

/// Whether the primary's table calls this node inactive or a witness; a node that the table doesn't know is not judged.
fn is_inactive(standby: &Observation, primary: &Observation) -> bool {
    let row = standby.node_id.zip(primary.repmgr.as_ref()).and_then(|(id, view)| view.row(id));
    row.is_some_and(|row| !row.active || row.kind == RepmgrKind::Witness)
}
