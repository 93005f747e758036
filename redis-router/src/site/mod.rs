//! One master as one worker sees it: its topology, the shared connections, the pools to lease from. Kind: driver.

mod mux;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use proxy_core::backoff::Backoff;
use proxy_core::link::Scratch;
use proxy_core::tasks;
use proxy_core::upstream::permits::Permits;
use proxy_core::upstream::pool::{Pool, PoolLimits, Role};
use proxy_core::upstream::{Endpoint, Hold, Policy, Topology};
use proxy_core::worker::Floor;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::answers::{HOLD_FULL, NO_MASTER};
use crate::command::Tenure;
use crate::downstream::Downstream;
use crate::metrics::Tally;
use crate::server::{Dial, Greeting, Leasehold, LoginError, Purpose};
use crate::topology::Barrier;
use mux::Mux;
pub use mux::{Nature, Share};

/// How often shared connections are looked after: entries that have waited too long, connections that nobody uses.
const BEAT: Duration = Duration::from_millis(50);

/// How long what a server answered to a client that shows no password is not asked again, in microseconds: thousands
/// come at once and select their database.
const LOGIN_HOLDS: u64 = 5_000_000;

/// Shared connections of one worker to one master: combinations of user, password, database and protocol. Sixteen
/// databases in both protocols for eight users are 256; whoever wants more wants Redis' `maxclients` for himself.
const MOST_LANES: usize = 256;

/// What a client hears that wants one more.
const TOO_MANY_LANES: &[u8] = b"-ERR too many combinations of users, databases and protocols are in use\r\n";

/// The pause after a first failed login, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// So long after a promotion its replicas may still be on their way to the new master.
const SETTLING: Duration = Duration::from_secs(10);

/// What all workers share of one master.
pub struct Common {
    /// The name by which Sentinel knows it.
    pub master: String,
    /// What was published of it.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// The waiting room.
    pub hold: Arc<Hold>,
    /// Leased connections, over all workers.
    pub permits: Arc<Permits>,
    /// Whether writes wait for a planned failover.
    pub barrier: Barrier,
}

/// See the module. Kept in an `Rc` for as long as its worker lives.
pub struct Site {
    /// What the workers share.
    pub common: Arc<Common>,
    /// How its servers are reached.
    pub dial: Rc<Dial>,
    /// What was met.
    pub tally: Rc<Tally>,
    muxes: RefCell<HashMap<Lane, Rc<Mux>>>,
    pools: RefCell<HashMap<Purpose, Rc<Pool<Leasehold>>>>,
    current: RefCell<Arc<Topology>>,
    floor: Rc<Floor>,
    start: Instant,
    next_lane: Cell<usize>,
    /// Clients that have heard something in this turn; empty between turns.
    stirred: RefCell<Vec<Rc<Downstream>>>,
    /// Logins that a server took, and when.
    logins: RefCell<HashMap<Purpose, (u64, Greeting)>>,
    /// Sessions that wait for the barrier to fall.
    barred: RefCell<Vec<Waker>>,
}

/// Which of the shared connections of one purpose: one to the master, one to each replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// What it is for.
    pub purpose: Purpose,
    /// Which of the replicas, by counting; 0 for the master.
    pub number: usize,
}

impl Site {
    /// A site that looks after itself on this worker.
    pub fn open(common: Arc<Common>, dial: Rc<Dial>, tally: Rc<Tally>, floor: Rc<Floor>) -> Rc<Self> {
        let current = RefCell::new(common.topology.borrow().clone());
        let site = Rc::new(Self {
            common,
            dial,
            tally,
            muxes: RefCell::default(),
            pools: RefCell::default(),
            current,
            floor,
            start: Instant::now(),
            next_lane: Cell::new(0),
            stirred: RefCell::default(),
            logins: RefCell::default(),
            barred: RefCell::default(),
        });
        tasks::spawn_session(site.clone().look_after());
        site
    }

    /// Microseconds since the worker began: what entries are stamped with.
    #[inline]
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The topology as this worker knows it.
    pub fn topology(&self) -> Arc<Topology> {
        self.current.borrow().clone()
    }

    /// A lane for a new client: clients of replicas are dealt out to them in turn.
    pub fn lane(&self, purpose: Purpose) -> Lane {
        let number = match purpose.role {
            Role::Primary => 0,
            Role::Replica => {
                let replicas = self.current.borrow().replicas.eligible().max(1);
                self.next_lane.set((self.next_lane.get() + 1) % replicas);
                self.next_lane.get()
            }
        };
        Lane { purpose, number }
    }

    /// A share in the connection of a lane.
    pub fn share(self: &Rc<Self>, lane: Lane) -> Share {
        let known = self.muxes.borrow().get(&lane).cloned().filter(|mux| !mux.is_retired());
        let mux = known.unwrap_or_else(|| {
            let mux = Mux::open(lane.clone(), self.clone());
            self.muxes.borrow_mut().insert(lane, mux.clone());
            mux
        });
        Share::of(&mux)
    }

    /// The pool of connections for one client each.
    pub fn pool(&self, purpose: &Purpose) -> Rc<Pool<Leasehold>> {
        let mut pools = self.pools.borrow_mut();
        let open = || {
            let limits = PoolLimits {
                role: purpose.role,
                policy: Policy::LeastInFlight,
                min: 0,
                wait: self.common.hold.deadline().saturating_duration_since(Instant::now()),
                idle: Duration::from_secs(60),
                lifetime: Duration::from_secs(24 * 3600),
            };
            let leasehold = Leasehold { dial: self.dial.clone(), purpose: purpose.clone() };
            let Common { permits, hold, topology, .. } = &*self.common;
            Pool::new(
                leasehold,
                limits,
                permits.clone(),
                hold.clone(),
                self.scratch().clone(),
                topology.clone(),
            )
        };
        pools.entry(purpose.clone()).or_insert_with(open).clone()
    }

    /// The worker's buffer.
    pub fn scratch(&self) -> &Scratch {
        &self.dial.scratch
    }

    /// Whether the server takes this login: its greeting, or what the client is to hear. Waits in the hold for a server.
    /// Whoever shows a password (`proves`) is always asked about; for others what was so a moment ago is so.
    pub async fn verify(&self, purpose: &Purpose, proves: bool) -> Result<Greeting, Bytes> {
        if let Some((at, greeting)) = self.logins.borrow().get(purpose).filter(|_| !proves)
            && self.now().saturating_sub(*at) < LOGIN_HOLDS
        {
            return Ok(greeting.clone());
        }
        let known = self.muxes.borrow().keys().any(|lane| lane.purpose == *purpose);
        if !known && self.muxes.borrow().len() >= MOST_LANES {
            return Err(Bytes::from_static(TOO_MANY_LANES));
        }
        let greeting = self.log_in(purpose).await?;
        let mut logins = self.logins.borrow_mut();
        let now = self.now();
        logins.retain(|_, (at, _)| now.saturating_sub(*at) < LOGIN_HOLDS);
        logins.insert(purpose.clone(), (now, greeting.clone()));
        Ok(greeting)
    }

    async fn log_in(&self, purpose: &Purpose) -> Result<Greeting, Bytes> {
        let refused = |text: &str| Bytes::from(text.to_owned());
        let held = self.common.hold.enter(0).map_err(|_| refused(HOLD_FULL))?;
        let deadline = self.common.hold.deadline();
        let lane = Lane { purpose: purpose.clone(), number: 0 };
        let mut topology = self.common.topology.clone();
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let found = held.wait_until(&mut topology, deadline, |seen| purpose.role.has_target(seen));
            found.await.map_err(|_| refused(NO_MASTER))?;
            if let Some(target) = self.target(&lane) {
                match self.dial.log_in(target.addr(), purpose).await {
                    Ok((_, greeting)) => return Ok(greeting),
                    Err(LoginError::Denied(answer)) => return Err(answer),
                    Err(_) => self.dial.watcher.suspect(&target),
                }
            }
            if Instant::now() >= deadline {
                return Err(refused(NO_MASTER));
            }
            sleep(pauses.next_delay(fastrand::u32(..))).await;
        }
    }

    /// Where a lane leads now.
    pub fn target(&self, lane: &Lane) -> Option<Arc<Endpoint>> {
        let topology = self.current.borrow();
        match lane.purpose.role {
            Role::Primary => topology.primary.clone(),
            Role::Replica => {
                let endpoints = topology.replicas.endpoints();
                let eligible: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.eligible()).collect();
                let picked = eligible.get(lane.number % eligible.len().max(1))?;
                Some(Arc::clone(picked))
            }
        }
    }

    /// Whether what is under way at `endpoint` may go on: a master that is merely out of sight is not given up.
    pub fn may_stay(&self, lane: &Lane, endpoint: &Arc<Endpoint>, epoch: u64) -> bool {
        let topology = self.current.borrow();
        match (lane.purpose.role, &topology.primary) {
            (Role::Primary, Some(primary)) => Arc::ptr_eq(primary, endpoint) && topology.epoch == epoch,
            (Role::Primary, None) => !topology.fenced,
            (Role::Replica, _) => endpoint.eligible(),
        }
    }

    /// How long the master has been master: its replicas need an acknowledgement or two, one a second, to count as good.
    pub fn tenure(&self) -> Tenure {
        match self.current.borrow().since.elapsed() < SETTLING {
            true => Tenure::Fresh,
            false => Tenure::Settled,
        }
    }

    /// True while writes wait for a planned failover; the waker is woken when they need not any more.
    pub fn is_barred(&self, waker: &Waker) -> bool {
        let raised = self.common.barrier.raised();
        if raised {
            self.barred.borrow_mut().push(waker.clone());
        }
        raised
    }

    /// How many shared connections there are, and bytes that wait on them.
    pub fn census(&self) -> (usize, usize) {
        let muxes = self.muxes.borrow();
        (muxes.len(), muxes.values().map(|mux| mux.held_bytes()).sum())
    }

    async fn look_after(self: Rc<Self>) {
        let mut topology = self.common.topology.clone();
        let mut barrier = self.common.barrier.subscribe();
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                changed = topology.changed() => {
                    if changed.is_err() {
                        return; // the process ends
                    }
                    *self.current.borrow_mut() = topology.borrow_and_update().clone();
                    self.each(Mux::look);
                    self.floor.pulse_all(); // whoever has a connection of its own
                }
                changed = barrier.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.barred.take().into_iter().for_each(Waker::wake);
                }
                _ = beat.tick() => {
                    self.each(Mux::beat);
                    self.muxes.borrow_mut().retain(|_, mux| !mux.is_retired());
                    self.pools.borrow_mut().retain(|_, pool| {
                        let census = pool.census();
                        Rc::strong_count(pool) > 1 || census.open + census.opening + census.waiting > 0
                    });
                }
            }
        }
    }

    fn each(&self, act: impl Fn(&Mux)) {
        let muxes: Vec<_> = self.muxes.borrow().values().cloned().collect();
        muxes.iter().for_each(|mux| act(mux));
    }
}
