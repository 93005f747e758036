//! The watcher's face: what others may ask of it and tell it. Kind: driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proxy_core::net::Addr;
use proxy_core::upstream::{Endpoint, Publisher, Topology};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::debug;

use super::barrier::Barrier;
use super::control::{Control, Fault};
use super::observation::{Epoch, Moment, NodeView, Sight};
use super::settings::Settings;
use super::status::Snapshot;
use super::verdict::{Decision, Ground, Standing};

/// The ear and the mouth of the watcher, for everybody else. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What the watcher and its handles share.
pub(super) struct Shared {
    settings: Arc<Settings>,
    born: Instant,
    barrier: Barrier,
    publisher: Arc<Publisher>,
    snapshot: Mutex<Snapshot>,
    /// Who can be told to look again.
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    bells: Mutex<Vec<Arc<Notify>>>,
}

/// Who plays which part now, for who wants to change it.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The master.
    pub master: Addr,
    /// As of which epoch.
    pub epoch: Epoch,
    /// Replicas that may become the master.
    pub replicas: Vec<Addr>,
    /// Nodes that answer but could not: which, and why.
    pub unfit: Vec<(String, &'static str)>,
    /// Sentinels that answer.
    pub sentinels: Vec<Addr>,
    /// Whether a failover is under way.
    pub unsettled: bool,
}

impl Handle {
    /// Traffic met something that speaks against this node: all are looked at again, at once. Never more than a hint.
    pub fn suspect(&self, endpoint: &Endpoint) {
        debug!(node = %endpoint.addr(), "traffic speaks against a node");
        endpoint.suspect();
        self.shared.look_again();
    }

    /// The topology for `/status`.
    pub fn status(&self) -> Value {
        let shared = &self.shared;
        locked(&shared.snapshot).to_json(&shared.settings.master, shared.born.elapsed())
    }

    /// The barrier before failovers of this master that are known to come.
    pub fn barrier(&self) -> Barrier {
        self.shared.barrier().clone()
    }

    /// The name by which the Sentinels know the master.
    pub fn master(&self) -> &str {
        &self.shared.settings.master
    }

    /// Hears of every publication.
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.shared.publisher.subscribe()
    }

    /// Who plays which part now; or why nobody is the master.
    pub fn cast(&self) -> Result<Cast, &'static str> {
        locked(&self.shared.snapshot).cast()
    }

    /// What this node (`host:port`) is, and whether it is to be sent writes, or reads.
    pub fn standing(&self, node: &str) -> Option<Standing> {
        locked(&self.shared.snapshot).verdict.as_ref()?.standing(&node.into())
    }

    /// How many replicas may be read from.
    pub fn replicas(&self) -> usize {
        locked(&self.shared.snapshot).verdict.as_ref().map_or(0, |verdict| verdict.replicas().count())
    }

    /// A control connection to a Redis node.
    pub(crate) async fn reach_node(&self, addr: &Addr) -> Result<Control, Fault> {
        let settings = &self.shared.settings;
        Control::open(addr, &settings.redis, &settings.allowed).await
    }

    /// A control connection to a Sentinel.
    pub(crate) async fn reach_sentinel(&self, addr: &Addr) -> Result<Control, Fault> {
        Control::open(addr, &self.shared.settings.sentinel, &super::AllowList::default()).await
    }

    /// How long an answer may take.
    pub fn patience(&self) -> Duration {
        self.shared.settings.pace.patience
    }
}

impl Shared {
    pub(super) fn barrier(&self) -> &Barrier {
        &self.barrier
    }

    pub(super) fn new(settings: Arc<Settings>, publisher: Arc<Publisher>) -> Self {
        Self {
            settings,
            publisher,
            born: Instant::now(),
            barrier: Barrier::default(),
            snapshot: Mutex::default(),
            endpoints: Mutex::default(),
            bells: Mutex::default(),
        }
    }

    pub(super) fn handle(self: &Arc<Self>) -> Handle {
        Handle { shared: Arc::clone(self) }
    }

    pub(super) fn born(&self) -> Instant {
        self.born
    }

    pub(super) fn now(&self) -> Moment {
        self.born.elapsed()
    }

    pub(super) fn show(&self, snapshot: Snapshot) {
        *locked(&self.snapshot) = snapshot;
    }

    pub(super) fn set_endpoints(&self, endpoints: Vec<Arc<Endpoint>>) {
        *locked(&self.endpoints) = endpoints;
    }

    pub(super) fn set_bells(&self, bells: Vec<Arc<Notify>>) {
        *locked(&self.bells) = bells;
    }

    pub(super) fn look_again(&self) {
        locked(&self.endpoints).iter().for_each(|endpoint| endpoint.suspect());
        locked(&self.bells).iter().for_each(|bell| bell.notify_one());
    }
}

/// Nothing that holds one of these locks can leave half a value behind.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Snapshot {
    fn cast(&self) -> Result<Cast, &'static str> {
        let verdict = self.verdict.as_ref().ok_or("nothing is known yet")?;
        let reign = match &verdict.master {
            Decision::Master(reign) => reign,
            Decision::Held(held) => return Err(held.as_str()),
        };
        let mut cast = Cast {
            master: reign.node.parse().map_err(|_| "the master has no address")?,
            epoch: reign.epoch,
            replicas: Vec::new(),
            unfit: Vec::new(),
            sentinels: Vec::new(),
            unsettled: verdict.ground != Ground::Sentinel || self.candidacy.is_some(),
        };
        for node in self.nodes.iter().filter(|node| node.key != reign.node) {
            cast.take_in(node, verdict.standing(&node.key));
        }
        let seen = self.sentinels.iter().filter(|sentinel| matches!(sentinel.sight, Sight::Seen(_)));
        cast.sentinels = seen.filter_map(|sentinel| sentinel.key.parse().ok()).collect();
        Ok(cast)
    }
}

impl Cast {
    fn take_in(&mut self, node: &NodeView, standing: Option<Standing>) {
        match standing {
            Some(Standing::Replica) => self.replicas.extend(node.key.parse().ok()),
            // A Sentinel does not choose who is out of its sight.
            None | Some(Standing::Unasked | Standing::Lost(_) | Standing::Expired) => {}
            Some(standing) => self.unfit.push((node.key.to_string(), standing.why().unwrap_or("unfit"))),
        }
    }
}
