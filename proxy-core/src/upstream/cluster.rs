//! A named set of interchangeable endpoints, swapped as one. Kind: driver.
//!
//! Promise: an endpoint whose address stays keeps its `Arc` over an update, and with it its health, its admin state
//! and what is in flight; so does one whose address comes back while work is still in flight there. What is eligible is
//! read at the moment of the pick, never from a second table.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
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
    turns: watch::Sender<()>,
    /// Who has left and is still held by somebody, most often by work in flight.
    departed: Mutex<Vec<Weak<Endpoint>>>,
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
            turns: watch::Sender::new(()),
            departed: Mutex::default(),
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
            match known.cloned().or_else(|| self.find(&addr)).or_else(|| self.come_back(&addr)) {
                Some(endpoint) => {
                    endpoint.reconfigure(weight, Arc::clone(&rules));
                    push_once(&mut next, endpoint);
                }
                None => {
                    let turns = self.turns.clone();
                    next.push(Arc::new(Endpoint::telling(addr, weight, Arc::clone(&rules), now, turns)));
                }
            }
        }
        self.set(next);
    }

    /// Makes these endpoints the whole set.
    pub fn set(&self, endpoints: impl IntoIterator<Item = Arc<Endpoint>>) {
        let next: Endpoints = endpoints.into_iter().collect();
        let former = self.endpoints.swap(Arc::new(Arc::clone(&next)));
        self.remember_departed(&former, &next);
        self.changes.send_replace(());
    }

    fn remember_departed(&self, former: &[Arc<Endpoint>], next: &[Arc<Endpoint>]) {
        let gone = former.iter().filter(|endpoint| !next.iter().any(|other| Arc::ptr_eq(other, endpoint)));
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        departed.retain(|endpoint| endpoint.strong_count() > 0);
        departed.extend(gone.map(Arc::downgrade));
    }

    /// Who was at `addr` before, if work is still in flight there.
    fn come_back(&self, addr: &Addr) -> Option<Arc<Endpoint>> {
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |endpoint: &Arc<Endpoint>| endpoint.addr() == addr && endpoint.in_flight() > 0;
        let at = departed.iter().position(|weak| weak.upgrade().is_some_and(|endpoint| is_it(&endpoint)))?;
        departed.swap_remove(at).upgrade()
    }

    /// Hears of every change of the set.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Hears when an endpoint that [`Cluster::update`] made becomes eligible or ceases to be.
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turns.subscribe()
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
        latency: 0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::{Admin, Outcome};

    fn addr(port: u16) -> Addr {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    /// A cluster whose endpoints, at ports from 1 on, have these weights and are all up.
    fn cluster(weights: &[u16], now: Instant) -> Cluster {
        let cluster = Cluster::new("test", []);
        cluster.update((1..).map(addr).zip(weights.iter().copied()), Rules::default(), now);
        for endpoint in cluster.endpoints().iter() {
            endpoint.observe(Ok::<(), &str>(()), now);
        }
        cluster
    }

    fn ports(cluster: &Cluster) -> Vec<String> {
        cluster.endpoints().iter().map(|endpoint| endpoint.addr().to_string()).collect()
    }

    #[test]
    fn who_stays_keeps_its_state() {
        let now = Instant::now();
        let cluster = cluster(&[1, 1], now);
        let stays = cluster.find(&addr(2)).unwrap();
        let _work = stays.enter();
        cluster.update([(addr(2), 7), (addr(3), 1)], Rules::default(), now);
        assert!(cluster.contains(&stays) && stays.eligible());
        assert_eq!((stays.weight(), stays.in_flight()), (7, 1));
        assert_eq!(ports(&cluster), ["127.0.0.1:2", "127.0.0.1:3"]);
        assert!(!cluster.find(&addr(3)).unwrap().eligible(), "who is new is unchecked");
    }

    #[test]
    fn an_address_named_twice_counts_once() {
        let cluster = Cluster::new("test", []);
        cluster.update([(addr(1), 1), (addr(2), 1), (addr(1), 5)], Rules::default(), Instant::now());
        assert_eq!(ports(&cluster), ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(cluster.find(&addr(1)).unwrap().weight(), 5);
    }

    #[test]
    fn another_endpoint_at_the_same_address_is_another() {
        let now = Instant::now();
        let cluster = cluster(&[1], now);
        let first = cluster.find(&addr(1)).unwrap();
        cluster.update([], Rules::default(), now);
        cluster.update([(addr(1), 1)], Rules::default(), now);
        assert!(!cluster.contains(&first));
    }

    #[test]
    fn who_comes_back_while_work_is_in_flight_is_the_same() {
        let now = Instant::now();
        let cluster = cluster(&[1, 1], now);
        let (busy, idle) = (cluster.find(&addr(1)).unwrap(), cluster.find(&addr(2)).unwrap());
        let _work = busy.enter();
        cluster.update([], Rules::default(), now);
        cluster.update([(addr(1), 3), (addr(2), 1)], Rules::default(), now);
        assert!(cluster.contains(&busy) && !cluster.contains(&idle));
        assert_eq!((busy.weight(), cluster.departed.lock().unwrap().len()), (3, 1));
    }

    #[test]
    fn a_turn_is_heard() {
        let now = Instant::now();
        let cluster = cluster(&[1], now);
        let (mut turns, endpoint) = (cluster.turns(), cluster.find(&addr(1)).unwrap());
        let mut heard = |what: &str, expected: bool| {
            assert_eq!(turns.has_changed().unwrap(), expected, "{what}");
            turns.mark_unchanged();
        };
        endpoint.observe(Ok::<(), &str>(()), now);
        heard("another good check", false);
        endpoint.lower("test", now);
        heard("down", true);
        endpoint.set_admin(Admin::Drain);
        heard("drained", true);
    }

    #[test]
    fn a_change_is_heard() {
        let cluster = cluster(&[1], Instant::now());
        let changes = cluster.changes();
        assert!(!changes.has_changed().unwrap());
        cluster.set([]);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn work_is_counted_from_the_pick_to_its_end() {
        let now = Instant::now();
        let cluster = cluster(&[1, 1], now);
        let first = cluster.pick(Policy::LeastInFlight, 0, now).unwrap();
        let second = cluster.pick(Policy::LeastInFlight, 0, now).unwrap();
        assert_ne!(first.endpoint().addr(), second.endpoint().addr());
        first.settle(Outcome::Unreachable, now);
        assert_eq!(cluster.eligible(), 1);
        drop(second);
        assert!(cluster.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
    }

    #[test]
    fn picks_are_in_proportion_to_the_weights() {
        let check = |policy| {
            let now = Instant::now();
            let cluster = cluster(&[1, 2, 5], now);
            let work: Vec<_> =
                (0..800).map(|_| cluster.pick(policy, fastrand::u64(..), now).unwrap()).collect();
            let shares: Vec<_> = cluster.endpoints().iter().map(|endpoint| endpoint.in_flight()).collect();
            for (share, expected) in shares.iter().zip([100, 200, 500]) {
                assert!(share.abs_diff(expected) <= expected / 10, "{policy:?}, {}: {shares:?}", work.len());
            }
        };
        check(Policy::RoundRobin);
        check(Policy::LeastInFlight);
    }

    proptest! {
        #[test]
        fn who_is_not_eligible_is_never_picked(
            states in proptest::collection::vec((any::<bool>(), 0u8..3, 1u16..9), 0..7),
            randoms in proptest::collection::vec(any::<u64>(), 1..20),
        ) {
            let now = Instant::now();
            let weights: Vec<_> = states.iter().map(|state| state.2).collect();
            let cluster = cluster(&weights, now);
            for (endpoint, &(up, admin, _)) in cluster.endpoints().iter().zip(&states) {
                if !up {
                    endpoint.lower("test", now);
                }
                endpoint.set_admin([Admin::Ready, Admin::Drain, Admin::Maint][usize::from(admin)]);
            }
            for random in randoms {
                for policy in [Policy::RoundRobin, Policy::LeastInFlight, Policy::TwoChoices] {
                    let picked = cluster.pick(policy, random, now);
                    prop_assert_eq!(picked.is_some(), cluster.eligible() > 0);
                    prop_assert!(picked.is_none_or(|work| work.endpoint().eligible()));
                }
            }
        }
    }
}
