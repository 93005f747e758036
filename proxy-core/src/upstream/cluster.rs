//! A named set of interchangeable endpoints, swapped as one. Kind: driver.
//!
//! Promise: an endpoint whose address stays keeps its `Arc` over an update, and with it its health, its admin state
//! and what is in flight. What is eligible is read at the moment of the pick, never from a second table.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    endpoint::{Endpoint, EndpointStatus, InFlight, Rules},
    pick::{Candidate, Policy, choose},
};
use crate::net::Addr;

/// The endpoints of a cluster at one moment.
pub type Endpoints = Arc<[Arc<Endpoint>]>;

/// A named set of interchangeable endpoints.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    endpoints: ArcSwap<Endpoints>,
    changes: watch::Sender<()>,
    tickets: AtomicU64,
}

impl Cluster {
    /// A set of endpoints that exist already, such as the replicas among the nodes of a topology.
    pub fn new(name: impl Into<String>, endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        let endpoints: Endpoints = endpoints.into_iter().collect();
        Self {
            name: name.into(),
            endpoints: ArcSwap::from_pointee(endpoints),
            changes: watch::Sender::new(()),
            tickets: AtomicU64::default(),
        }
    }

    /// What it is called in logs, metrics and `/status`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All endpoints, eligible or not.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints::clone(&self.endpoints.load())
    }

    /// The endpoint at `addr`.
    pub fn find(&self, addr: &Addr) -> Option<Arc<Endpoint>> {
        self.endpoints.load().iter().find(|endpoint| endpoint.addr() == addr).cloned()
    }

    /// Whether this very endpoint (not another one at its address) belongs to the cluster.
    pub fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.endpoints.load().iter().any(|member| Arc::ptr_eq(member, endpoint))
    }

    /// Makes these addresses, with their weights, the whole set. Who stays keeps its state; who is new starts
    /// unchecked; an address named twice counts once, with its last weight. One task at a time may call this.
    pub fn update(&self, members: impl IntoIterator<Item = (Addr, u16)>, rules: Rules, now: Instant) {
        let rules = Arc::new(rules);
        let mut next: Vec<Arc<Endpoint>> = Vec::new();
        for (addr, weight) in members {
            let known = next.iter().find(|endpoint| endpoint.addr() == &addr);
            match known.cloned().or_else(|| self.find(&addr)) {
                Some(endpoint) => {
                    endpoint.reconfigure(weight, Arc::clone(&rules));
                    push_once(&mut next, endpoint);
                }
                None => next.push(Arc::new(Endpoint::new(addr, weight, Arc::clone(&rules), now))),
            }
        }
        self.set(next);
    }

    /// Makes these endpoints the whole set.
    pub fn set(&self, endpoints: impl IntoIterator<Item = Arc<Endpoint>>) {
        self.endpoints.store(Arc::new(endpoints.into_iter().collect()));
        self.changes.send_replace(());
    }

    /// Hears of every change of the set.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Chooses an eligible endpoint and counts the work on it, or `None` when nobody is eligible. `random` is any
    /// uniform number.
    pub fn pick(&self, policy: Policy, random: u64, now: Instant) -> Option<InFlight> {
        let endpoints = self.endpoints.load();
        let index = choose(policy, candidates(&endpoints, now), self.ticket(policy), random)?;
        endpoints.get(index).map(Endpoint::enter)
    }

    /// How many could be picked now.
    pub fn eligible(&self) -> usize {
        self.endpoints.load().iter().filter(|endpoint| endpoint.eligible()).count()
    }

    /// The state of all endpoints for `/status`.
    pub fn snapshot(&self, now: Instant) -> Vec<EndpointStatus> {
        self.endpoints.load().iter().map(|endpoint| endpoint.snapshot(now)).collect()
    }

    /// Only round robin pays for the shared counter.
    fn ticket(&self, policy: Policy) -> u64 {
        if policy == Policy::RoundRobin { self.tickets.fetch_add(1, Relaxed) } else { 0 }
    }
}

fn push_once(endpoints: &mut Vec<Arc<Endpoint>>, endpoint: Arc<Endpoint>) {
    if !endpoints.iter().any(|member| Arc::ptr_eq(member, &endpoint)) {
        endpoints.push(endpoint);
    }
}

fn candidates(endpoints: &[Arc<Endpoint>], now: Instant) -> impl Iterator<Item = Candidate> + Clone {
    let eligible = endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.eligible());
    eligible.map(move |(index, endpoint)| Candidate {
        index,
        weight: endpoint.effective_weight(now),
        in_flight: endpoint.in_flight(),
    })
}
