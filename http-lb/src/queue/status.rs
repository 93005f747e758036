//! How a queue stands, for `/status` and the admin endpoint. Kind: pure.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::upstream::Endpoint;

/// How a queue stands.
#[derive(Clone, Debug)]
pub struct QueueStatus {
    /// How many wait.
    pub waiting: usize,
    /// Whether replicas that are down are asked too.
    pub panics: bool,
    /// How many replicas are up.
    pub up: usize,
    /// The slots of all replicas that may be asked; `None`: no limit.
    pub slots: Option<u32>,
    /// The replicas, those included that have left and still work.
    pub replicas: Vec<ReplicaStatus>,
    /// How many wait in each class, and how long somebody who comes now would.
    pub classes: Vec<(usize, Duration)>,
}

/// One replica.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    /// Where it is, and how it does.
    pub endpoint: Arc<Endpoint>,
    /// Its slots; 0: no limit.
    pub slots: u32,
    /// Those in use.
    pub used: u32,
    /// How long its work takes lately.
    pub latency: Duration,
    /// It has left the cluster and finishes what it has.
    pub leaving: bool,
}
