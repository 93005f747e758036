//! What the watcher of a master is to know. Kind: wiring.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::net::Addr;
use tokio::time::Instant;

use super::control::Access;
use super::discovery::{AddressMap, AllowList};
use super::probe::Glass;
use super::sentinel::Beat;
use super::verdict::Limits;

/// How often to look, and how long to wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks in quiet times (`probe_interval`).
    pub calm: Duration,
    /// Between two looks at a node that is about to be promoted (`suspect_interval`).
    pub suspect: Duration,
    /// How long an answer may take.
    pub patience: Duration,
}

/// When writes are refused for want of anybody who speaks for the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Whether to do it at all.
    pub enabled: bool,
    /// How long no Sentinel and no replica may be in sight before.
    pub after: Duration,
}

/// What to watch, and how.
pub struct Settings {
    /// The name by which the Sentinels know the master.
    pub master: String,
    /// The Sentinels to begin with.
    pub sentinels: Vec<Addr>,
    /// How to get to the Redis nodes.
    pub redis: Arc<Access>,
    /// How to get to the Sentinels.
    pub sentinel: Arc<Access>,
    /// Which addresses Sentinels may name.
    pub allowed: AllowList,
    /// Under which address we reach them.
    pub address_map: AddressMap,
    /// How often to look.
    pub pace: Pace,
    /// Self-fencing.
    pub fence: Fence,
    /// For how long all Sentinels must agree on a master of an older epoch, which answers as one, before it is believed.
    pub regress_after: Duration,
    /// A replica that is further behind gets no reads; no limit if none.
    pub max_lag: Option<Duration>,
}

impl Settings {
    /// What bounds the judge.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            // A look may come late by its whole patience, and is still the last one.
            expiry: self.pace.calm * 3 + self.pace.patience,
            fence: self.fence.enabled.then_some(self.fence.after),
            regress: self.regress_after,
            max_lag: self.max_lag,
        }
    }

    /// How Sentinels are asked.
    pub(super) fn beat(&self, born: Instant) -> Beat {
        Beat {
            master: self.master.clone(),
            access: Arc::clone(&self.sentinel),
            allowed: self.allowed.clone(),
            address_map: self.address_map.clone(),
            calm: self.pace.calm,
            patience: self.pace.patience,
            born,
        }
    }

    /// How nodes are looked at.
    pub(super) fn glass(&self, born: Instant) -> Glass {
        Glass {
            access: Arc::clone(&self.redis),
            allowed: self.allowed.clone(),
            calm: self.pace.calm,
            suspect: self.pace.suspect,
            patience: self.pace.patience,
            born,
        }
    }
}
