//! The watcher of one master: hears Sentinels and nodes, judges, publishes. Kind: driver.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::drain;
use proxy_core::metrics::Registry;
use proxy_core::net::Addr;
use proxy_core::upstream::{Cluster, Endpoint, Publisher};
use serde_json::{Value, json};

use super::barrier::Barrier;
use super::control::Access;
use super::discovery::{AddressMap, AllowList};

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

/// The ear and the mouth of the watcher, for everybody else. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    barrier: Barrier,
}

impl Handle {
    /// Traffic met something that speaks against this node: all are looked at again, at once. Never more than a hint.
    pub fn suspect(&self, endpoint: &Endpoint) {
        endpoint.suspect();
    }

    /// The topology for `/status`.
    pub fn status(&self) -> Value {
        json!({})
    }

    /// The barrier of planned failovers of this master.
    pub fn barrier(&self) -> Barrier {
        self.barrier.clone()
    }
}

/// The watcher of one master.
pub struct Watcher {
    barrier: Barrier,
}

impl Watcher {
    /// A watcher that goes on from what the publisher remembers; `replicas` is the cluster whose members it sets.
    pub fn new(
        settings: Settings,
        publisher: Arc<Publisher>,
        replicas: Arc<Cluster>,
        registry: &Registry,
    ) -> Self {
        let _ = (settings, publisher, replicas, registry);
        Self { barrier: Barrier::default() }
    }

    /// The handle for everybody else.
    pub fn handle(&self) -> Handle {
        Handle { barrier: self.barrier.clone() }
    }

    /// Watches until the process terminates; a drain still needs to know the master.
    pub async fn run(self, mut drain: drain::Watch) {
        drain.terminating().await;
    }
}
