//! The words in which a pool and its users speak: what it is told, what it answers. Kind: pure.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::link::{Link, Outbox};
use crate::upstream::{Endpoint, Policy, Topology};

/// Opens upstream connections of one kind.
pub trait Connect: 'static {
    /// What the protocol keeps with each connection.
    type State: 'static;

    /// Opens a connection that is ready for work: connected, encrypted, logged in.
    fn connect(&self, to: &Arc<Endpoint>) -> impl Future<Output = Result<(Link, Self::State), Failure>>;

    /// Something is wrong with this endpoint: whoever watches it should look at once.
    fn suspect(&self, endpoint: &Arc<Endpoint>);

    /// What to say before an idle connection is closed.
    fn farewell(&self) -> &'static [u8];
}

/// In which state a lease goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// At a boundary: the next session may have it.
    Clean,
    /// Nobody knows what it still owes: close it.
    Discard,
}

/// The leased side, as a machine sees it.
pub struct Port<'a, S> {
    /// The protocol's own state of this upstream connection.
    pub state: &'a mut S,
    /// Bytes of our own making for it.
    pub outbox: &'a mut Outbox,
}

/// Why no connection could be opened.
#[derive(Debug)]
pub enum Failure {
    /// Not now; another try may succeed.
    Unavailable(String),
    /// The server refuses this user, database or the like: whoever waits hears its answer.
    Denied(Bytes),
}

/// Why a session gets no lease. What waits was not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There was no upstream until the hold's deadline.
    NoUpstream,
    /// More wait than the hold has room for.
    HoldFull,
    /// All connections were busy until the deadline.
    TimedOut,
    /// The client took its request back.
    Cancelled,
    /// The server's own answer.
    Denied(Bytes),
}

/// Which endpoints a pool serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The primary alone.
    Primary,
    /// Any eligible replica.
    Replica,
}

impl Role {
    /// Whether there is anybody to open a connection to.
    pub fn has_target(self, topology: &Topology) -> bool {
        match self {
            Self::Primary => topology.primary.is_some(),
            Self::Replica => topology.replicas.eligible() > 0,
        }
    }

    /// Whether a connection that leads to `endpoint` since `epoch` may be kept: while nobody is known to have followed,
    /// what is under way on the last primary goes on. Nothing new is begun there.
    pub fn may_keep(self, endpoint: &Arc<Endpoint>, epoch: u64, topology: &Topology) -> bool {
        let unsettled = self == Self::Primary && topology.primary.is_none() && !topology.fenced;
        (unsettled && epoch == topology.epoch) || self.is_served_by(endpoint, epoch, topology)
    }

    /// Whether work that began at `endpoint` in `epoch` may go on there.
    #[inline]
    pub fn is_served_by(self, endpoint: &Arc<Endpoint>, epoch: u64, topology: &Topology) -> bool {
        epoch == topology.epoch
            && match self {
                Self::Primary => {
                    topology.primary.as_ref().is_some_and(|primary| Arc::ptr_eq(primary, endpoint))
                }
                Self::Replica => endpoint.eligible(),
            }
    }
}

/// A pool's limits.
#[derive(Debug, Clone)]
pub struct PoolLimits {
    /// Which endpoints.
    pub role: Role,
    /// How one is picked of several.
    pub policy: Policy,
    /// Connections kept open on each worker even when idle.
    pub min: usize,
    /// How long a session waits for a connection.
    pub wait: Duration,
    /// How long a connection may idle.
    pub idle: Duration,
    /// How long a connection may live; each lives up to a tenth less, so that they do not end together.
    pub lifetime: Duration,
}

/// What a pool holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Open connections, lent and idle.
    pub open: usize,
    /// Of these, idle.
    pub idle: usize,
    /// Connections being opened.
    pub opening: usize,
    /// Sessions waiting.
    pub waiting: usize,
}
