//! Which standbys may be read from (rule R9). Kind: pure.

use super::observation::{Observation, RepmgrKind, Timeline};
use super::verdict::{Limits, Role, Unfit};

/// What a node is that takes no writes, as of the timeline that was confirmed last and of the primary, if it is in sight.
/// While the primary is suspected its standbys stay: they are in step as long as they stream.
pub(super) fn role(
    standby: &Observation,
    current: Timeline,
    primary: Option<&Observation>,
    limits: &Limits,
) -> Role {
    let inactive = || primary.is_some_and(|primary| is_inactive(standby, primary));
    let reason = unfit(standby, current, limits).or_else(|| inactive().then_some(Unfit::Inactive));
    reason.map_or(Role::Replica, Role::Unroutable)
}

fn unfit(standby: &Observation, current: Timeline, limits: &Limits) -> Option<Unfit> {
    if !standby.in_recovery {
        return Some(Unfit::ReadOnly);
    }
    if current == 0 {
        return Some(Unfit::NoPrimary);
    }
    let Some(receiver) = standby.receiver.as_ref().filter(|receiver| receiver.streaming) else {
        return Some(Unfit::NotStreaming);
    };
    if receiver.timeline != current {
        return Some(Unfit::OtherTimeline);
    }
    if standby.replay_paused {
        return Some(Unfit::Paused);
    }
    limits.max_lag.is_some_and(|limit| standby.lag > limit).then_some(Unfit::Lagging)
}

/// Whether the primary's table calls this node inactive or a witness; a node that the table doesn't know is not judged.
fn is_inactive(standby: &Observation, primary: &Observation) -> bool {
    let row = standby.node_id.zip(primary.repmgr.as_ref()).and_then(|(id, view)| view.row(id));
    row.is_some_and(|row| !row.active || row.kind == RepmgrKind::Witness)
}
