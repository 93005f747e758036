//! Who is primary, as of which epoch; published to every worker. Kind: driver.
//!
//! Promises: an older epoch, another lineage, or a second primary within one epoch is never published; what is
//! published is on disk first; losing the primary loses no memory of the epoch.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use prometheus::{IntCounterVec, IntGauge};
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    cluster::Cluster,
    endpoint::{Endpoint, EndpointStatus},
    epoch::{Refused, Reign, admit},
    state::State,
};
use crate::metrics::Registry;

/// Which endpoint is primary and which are replicas, as of an epoch.
#[derive(Clone, Debug)]
pub struct Topology {
    /// What only grows within a lineage: PostgreSQL's timeline, Sentinel's config-epoch.
    pub epoch: u64,
    /// Which history the epoch counts: PostgreSQL's system identifier, the name of a Redis master. Empty before the
    /// first primary was ever seen.
    pub lineage: String,
    /// Who takes writes; nobody during a failover.
    pub primary: Option<Arc<Endpoint>>,
    /// Who may answer reads.
    pub replicas: Arc<Cluster>,
    /// While there is no primary: true if what is under way on the last one must be given up, as another server claims
    /// to have followed it; false if it is merely out of sight.
    pub fenced: bool,
    /// When the primary became what it is here (somebody, somebody else, or nobody).
    pub since: Instant,
    /// Grows with every publication, so that two of them can be told apart.
    pub revision: u64,
}

impl Topology {
    /// Nobody leads and nobody follows, for ever: where all upstreams are equals.
    pub fn leaderless(now: Instant) -> Self {
        let (epoch, lineage, revision) = (0, String::new(), 0);
        let replicas = Arc::new(Cluster::new("none", []));
        Self { epoch, lineage, primary: None, replicas, fenced: false, since: now, revision }
    }

    /// The state for `/status`.
    pub fn snapshot(&self, now: Instant) -> TopologyStatus {
        TopologyStatus {
            epoch: self.epoch,
            lineage: self.lineage.clone(),
            primary: self.primary.as_ref().map(|primary| primary.snapshot(now)),
            replicas: self.replicas.snapshot(now),
            since_ms: u64::try_from(now.saturating_duration_since(self.since).as_millis())
                .unwrap_or(u64::MAX),
        }
    }
}

/// A topology's state for `/status`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "each field is the topology's of the same name")]
pub struct TopologyStatus {
    pub epoch: u64,
    pub lineage: String,
    pub primary: Option<EndpointStatus>,
    pub replicas: Vec<EndpointStatus>,
    pub since_ms: u64,
}

/// What a watcher believes and wants published.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The epoch in which `primary` is primary.
    pub epoch: u64,
    /// The history that the epoch counts.
    pub lineage: String,
    /// Who takes writes.
    pub primary: Arc<Endpoint>,
    /// Who may answer reads.
    pub replicas: Arc<Cluster>,
}

/// What is counted about topologies.
#[derive(Debug)]
struct Metrics {
    epoch: IntGauge,
    has_primary: IntGauge,
    refused: IntCounterVec,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let refused = "Claims of being primary that were not published";
        Self {
            epoch: registry.gauge("topology_epoch", "The last published epoch"),
            has_primary: registry.gauge("topology_has_primary", "1 while there is a primary, else 0"),
            refused: registry.counter_vec("topology_refused_total", refused, &["reason"]),
        }
    }

    fn published(&self, topology: &Topology) {
        self.epoch.set(i64::try_from(topology.epoch).unwrap_or(i64::MAX));
        self.has_primary.set(topology.primary.is_some().into());
    }

    fn refused(&self, refused: &Refused) {
        self.refused.with_label_values(&[refused.reason()]).inc();
    }
}

/// The hand that publishes topologies. One per process and topology; held by its watcher.
#[derive(Debug)]
pub struct Publisher {
    state: Mutex<State>,
    topology: watch::Sender<Arc<Topology>>,
    metrics: Metrics,
}

impl Publisher {
    /// Starts with no primary and with the epoch that `state` remembers.
    pub fn new(state: State, replicas: Arc<Cluster>, registry: &Registry, now: Instant) -> Self {
        let (epoch, lineage) =
            state.remembered().map_or_else(Default::default, |r| (r.epoch, r.lineage.clone()));
        let topology =
            Topology { epoch, lineage, primary: None, replicas, fenced: false, since: now, revision: 0 };
        let metrics = Metrics::new(registry);
        metrics.published(&topology);
        Self { state: Mutex::new(state), topology: watch::Sender::new(Arc::new(topology)), metrics }
    }

    /// Publishes `claim` unless it is from the past, from elsewhere, or against the primary of the same epoch (see
    /// `epoch::admit`). Every publication is news, the same epoch and primary with other replicas too. Blocks for
    /// one fsync when epoch or primary changed.
    pub fn publish(&self, claim: Claim, now: Instant) -> Result<Arc<Topology>, Refused> {
        let mut state = self.state();
        let claimed = claim.reign();
        if let Some(known) = state.remembered() {
            admit(&claimed, known, state.path()).inspect_err(|refused| self.metrics.refused(refused))?;
        }
        state.remember(claimed);
        Ok(self.replace(|current| current.succeeded_by(claim, now)))
    }

    /// Publishes `claim` against what is remembered: a promotion that was given up, a history that began anew. Only for who
    /// has proof of it; an older epoch alone is none.
    pub fn overrule(&self, claim: Claim, now: Instant) -> Arc<Topology> {
        let mut state = self.state();
        warn!(lineage = %claim.lineage, epoch = claim.epoch, primary = %claim.primary.addr(), "what was remembered is overruled");
        state.remember(claim.reign());
        self.replace(|current| current.succeeded_by(claim, now))
    }

    /// The primary is gone and nobody has followed: those who need one wait. The epoch stays. `fenced`: what is under
    /// way on the last primary must be given up.
    pub fn lost_primary(&self, fenced: bool, now: Instant) -> Arc<Topology> {
        let _one_at_a_time = self.state();
        let current = self.current();
        if current.primary.is_none() && current.fenced == fenced {
            return current;
        }
        self.replace(|current| current.bereft(fenced, now))
    }

    /// What was published last.
    pub fn current(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.borrow())
    }

    /// The last reign, of this run or of an earlier one: what a watcher starts from.
    pub fn remembered(&self) -> Option<Reign> {
        self.state().remembered().cloned()
    }

    /// Hears of every publication.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.subscribe()
    }

    fn replace(&self, next: impl FnOnce(&Topology) -> Topology) -> Arc<Topology> {
        let next = Arc::new(next(&self.current()));
        announce(&next);
        self.metrics.published(&next);
        self.topology.send_replace(Arc::clone(&next));
        next
    }

    /// Nothing that runs under this lock panics by design; if it did, the memory is still the last one remembered.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    fn reign(&self) -> Reign {
        let primary = self.primary.addr().to_string();
        Reign { lineage: self.lineage.clone(), epoch: self.epoch, primary }
    }
}

impl Topology {
    fn succeeded_by(&self, claim: Claim, now: Instant) -> Self {
        let stays = self.primary.as_ref().is_some_and(|primary| Arc::ptr_eq(primary, &claim.primary));
        Self {
            epoch: claim.epoch,
            lineage: claim.lineage,
            primary: Some(claim.primary),
            replicas: claim.replicas,
            fenced: false,
            since: if stays && self.epoch == claim.epoch { self.since } else { now },
            revision: self.revision + 1,
        }
    }

    fn bereft(&self, fenced: bool, now: Instant) -> Self {
        let since = if self.primary.is_some() { now } else { self.since };
        Self { primary: None, fenced, since, revision: self.revision + 1, ..self.clone() }
    }
}

fn announce(topology: &Topology) {
    let Topology { epoch, lineage, primary, replicas, .. } = topology;
    let replicas = replicas.endpoints().len();
    match primary {
        Some(primary) => info!(%lineage, epoch, primary = %primary.addr(), replicas, "topology published"),
        None => warn!(%lineage, epoch, replicas, "no primary: clients that need one are held"),
    }
}

#[cfg(test)]
mod tests;
