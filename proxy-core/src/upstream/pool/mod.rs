//! Ready connections to an upstream, borrowed for a while. One pool serves one worker; pools of the same name on
//! other workers share its cap. Kind: driver.
//!
//! Promises: a connection that is given back goes straight to the session that has waited longest; no newcomer
//! overtakes; nothing opened as of an older epoch is ever lent; the cap holds over all workers.
//!
//! ```text
//!   try_lease ──▶ idle, newest first ──────────────▶ Lease
//!   lease ──▶ [hold while there is no upstream] ──▶ queue ──▶ Lease      release ──▶ queue, else idle, else closed
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::permits::{Permit, Permits, Request};
use super::topology::Topology;
use super::{Endpoint, Hold, InFlight, Policy};
use crate::backoff::Backoff;
use crate::link::{Link, Outbox, Scratch};
use crate::tasks;

/// How often a pool looks after its queue and its idle connections; the precision of its time limits.
const BEAT: Duration = Duration::from_millis(100);

/// Connections that one pool opens at the same time. A server forks and hashes for each: more at once are not
/// quicker, and a server that has just been promoted has other things to do.
const OPENING_AT_ONCE: usize = 8;

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
    fn has_target(self, topology: &Topology) -> bool {
        match self {
            Self::Primary => topology.primary.is_some(),
            Self::Replica => topology.replicas.eligible() > 0,
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

/// An open connection with what the protocol knows of it.
pub struct Conn<S> {
    /// The peer.
    pub link: Link,
    /// The protocol's own state.
    pub state: S,
    in_flight: InFlight,
    epoch: u64,
    idle_since: Instant,
    retire_at: Instant,
    _permit: Permit,
}

impl<S> Conn<S> {
    /// The endpoint it leads to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.in_flight.endpoint()
    }
}

/// A worker's pool. Kept in an `Rc`; its tasks hold it weakly and end with it.
pub struct Pool<C: Connect> {
    me: Weak<Self>,
    connect: C,
    limits: PoolLimits,
    permits: Arc<Permits>,
    hold: Arc<Hold>,
    scratch: Scratch,
    topology: watch::Receiver<Arc<Topology>>,
    current: RefCell<Arc<Topology>>,
    /// Newest last: the warmest connection is used first, and the coldest may idle away.
    idle: RefCell<Vec<Box<Conn<C::State>>>>,
    queue: RefCell<VecDeque<Rc<Waiter<C>>>>,
    /// Our wish for a connection of a namesake, while sessions wait and the cap is reached.
    request: RefCell<Option<Request>>,
    open: Cell<usize>,
    opening: Cell<usize>,
    backoff: RefCell<Backoff>,
    /// No new attempt before this moment: the last one failed.
    not_before: Cell<Option<Instant>>,
}

struct Waiter<C: Connect> {
    since: Instant,
    fate: RefCell<Fate<C>>,
}

enum Fate<C: Connect> {
    Waiting(Option<Waker>),
    Handed(Box<Conn<C::State>>),
    Refused(Refusal),
    /// The topology has changed: look again.
    Again,
    /// It waits no longer.
    Gone,
}

/// A borrowed connection. Dropped without [`Lease::release`], it is closed.
pub struct Lease<C: Connect> {
    conn: Option<Box<Conn<C::State>>>,
    pool: Rc<Pool<C>>,
}

impl<C: Connect> Deref for Lease<C> {
    type Target = Conn<C::State>;
    fn deref(&self) -> &Self::Target {
        self.conn.as_ref().expect("a lease holds its connection until it is released, which consumes it")
    }
}

impl<C: Connect> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.conn.as_mut().expect("a lease holds its connection until it is released, which consumes it")
    }
}

impl<C: Connect> Lease<C> {
    /// The connection as a machine sees it.
    #[inline]
    pub fn port(&mut self) -> Port<'_, C::State> {
        let conn = &mut **self;
        Port { state: &mut conn.state, outbox: &mut conn.link.outbox }
    }

    /// False once its endpoint is not what it was leased as.
    #[inline]
    pub fn is_current(&self) -> bool {
        self.pool.is_current(self)
    }

    /// The endpoint behind it is to be looked at.
    pub fn suspect(&self) {
        self.pool.connect.suspect(self.endpoint());
    }

    /// Gives the connection back.
    #[inline]
    pub fn release(mut self, reuse: Reuse) {
        let conn = self.conn.take().expect("a lease is released once, as that consumes it");
        self.pool.take_back(conn, reuse);
    }
}

impl<C: Connect> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.take_back(conn, Reuse::Discard);
        }
    }
}

impl<C: Connect> Pool<C> {
    /// A pool that opens connections by `connect`; `permits` are shared with its namesakes on other workers.
    /// It looks after itself on the current worker until it is dropped.
    pub fn new(
        connect: C,
        limits: PoolLimits,
        permits: Arc<Permits>,
        hold: Arc<Hold>,
        scratch: Scratch,
        topology: watch::Receiver<Arc<Topology>>,
    ) -> Rc<Self> {
        let current = RefCell::new(topology.borrow().clone());
        let pool = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            connect,
            limits,
            permits,
            hold,
            scratch,
            topology,
            current,
            idle: RefCell::default(),
            queue: RefCell::default(),
            request: RefCell::default(),
            open: Cell::new(0),
            opening: Cell::new(0),
            backoff: RefCell::new(Backoff::new(Duration::from_millis(5), Duration::from_secs(1))),
            not_before: Cell::new(None),
        });
        tasks::spawn_session(look_after(Rc::downgrade(&pool), pool.permits.clone(), pool.topology.clone()));
        pool
    }

    /// A lease that can be had at once, if nobody waits for one.
    #[inline]
    pub fn try_lease(&self) -> Option<Lease<C>> {
        loop {
            let mut conn = self.idle.borrow_mut().pop()?;
            let stirred = conn.link.has_stirred(&mut self.scratch.borrow());
            if !stirred && self.is_current(&conn) {
                return Some(self.lend(conn));
            }
            if stirred {
                self.connect.suspect(conn.endpoint());
            }
            self.close(conn);
        }
    }

    /// Waits for a lease: first, in the hold, for an upstream (`bytes` are what the client's request occupies
    /// meanwhile), then in the queue.
    ///
    /// # Errors
    /// A [`Refusal`]: the request may be answered with it, as nothing was sent.
    pub async fn lease(&self, bytes: usize) -> Result<Lease<C>, Refusal> {
        loop {
            self.held(bytes).await?;
            if let Some(lease) = self.try_lease() {
                return Ok(lease);
            }
            match self.queue_up().await {
                Fate::Handed(conn) => return Ok(self.lend(conn)),
                Fate::Refused(refusal) => return Err(refusal),
                _ => {}
            }
        }
    }

    /// Connections open, idle and waited for, for the status page.
    pub fn census(&self) -> Census {
        Census {
            open: self.open.get(),
            idle: self.idle.borrow().len(),
            opening: self.opening.get(),
            waiting: self.queue.borrow().len(),
        }
    }

    fn lend(&self, conn: Box<Conn<C::State>>) -> Lease<C> {
        let pool = self.me.upgrade().expect("a pool lends through an Rc");
        Lease { conn: Some(conn), pool }
    }

    #[inline]
    fn is_current(&self, conn: &Conn<C::State>) -> bool {
        let current = self.current.borrow();
        match self.limits.role {
            Role::Primary => {
                conn.epoch == current.epoch
                    && current.primary.as_ref().is_some_and(|primary| Arc::ptr_eq(primary, conn.endpoint()))
            }
            Role::Replica => conn.epoch == current.epoch && conn.endpoint().eligible(),
        }
    }

    /// Whether there is an endpoint to connect to, as far as the topology says.
    pub fn has_target(&self) -> bool {
        self.limits.role.has_target(&self.current.borrow())
    }

    async fn held(&self, bytes: usize) -> Result<(), Refusal> {
        if self.has_target() {
            return Ok(());
        }
        let held = self.hold.enter(bytes).map_err(|_| Refusal::HoldFull)?;
        let mut topology = self.topology.clone();
        let role = self.limits.role;
        let released = held.wait_until(&mut topology, self.hold.deadline(), |topology| role.has_target(topology));
        released.await.map_err(|_| Refusal::NoUpstream)?;
        self.adopt_topology();
        Ok(())
    }

    async fn queue_up(&self) -> Fate<C> {
        let waiter = Rc::new(Waiter { since: Instant::now(), fate: RefCell::new(Fate::Waiting(None)) });
        self.queue.borrow_mut().push_back(waiter.clone());
        self.grow();
        let place = Place { waiter, pool: self };
        poll_fn(|cx| {
            let mut fate = place.waiter.fate.borrow_mut();
            if let Fate::Waiting(waker) = &mut *fate {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::replace(&mut *fate, Fate::Gone))
        })
        .await
    }

    /// Opens connections while sessions wait that none of those being opened is for.
    fn grow(&self) {
        let wanted = |pool: &Self| {
            let queue = pool.queue.borrow().len();
            let short = pool.limits.min.saturating_sub(pool.open.get());
            pool.opening.get() < queue.max(short).min(OPENING_AT_ONCE)
        };
        if self.not_before.get().is_some_and(|moment| Instant::now() < moment) {
            return; // the last attempt has just failed; its successor is on the clock
        }
        while self.has_target() && wanted(self) {
            let Some(permit) = self.permits.try_take() else { return self.ask() };
            let Some(target) = self.pick() else { return };
            self.opening.set(self.opening.get() + 1);
            tasks::spawn_session(open(self.me.clone(), target, permit));
        }
    }

    fn ask(&self) {
        let mut request = self.request.borrow_mut();
        if request.is_none() && !self.queue.borrow().is_empty() {
            *request = Some(self.permits.ask());
        }
    }

    fn pick(&self) -> Option<(InFlight, u64)> {
        let now = std::time::Instant::now();
        let current = self.current.borrow();
        let in_flight = match self.limits.role {
            Role::Primary => current.primary.as_ref().map(|primary| primary.enter()),
            Role::Replica => current.replicas.pick(self.limits.policy, fastrand::u64(..), now),
        };
        in_flight.map(|in_flight| (in_flight, current.epoch))
    }

    fn opened(&self, link: Link, state: C::State, (in_flight, epoch): (InFlight, u64), permit: Permit) {
        self.backoff.borrow_mut().reset();
        self.not_before.set(None);
        let now = Instant::now();
        let less = self.limits.lifetime.mul_f64(fastrand::f64() / 10.0);
        let retire_at = now + self.limits.lifetime - less;
        self.open.set(self.open.get() + 1);
        let conn = Conn { link, state, in_flight, epoch, idle_since: now, retire_at, _permit: permit };
        self.take_back(Box::new(conn), Reuse::Clean);
        self.grow();
    }

    fn failed(&self, failure: Failure, endpoint: &Arc<Endpoint>) {
        match failure {
            Failure::Denied(answer) => self.refuse_all(&Refusal::Denied(answer)),
            Failure::Unavailable(reason) => {
                tracing::debug!(%reason, endpoint = %endpoint.addr(), "no upstream connection");
                self.connect.suspect(endpoint);
                let pause = self.backoff.borrow_mut().next_delay(fastrand::u32(..));
                self.not_before.set(Some(Instant::now() + pause));
                let pool = self.me.clone();
                tasks::spawn_session(async move {
                    tokio::time::sleep(pause).await;
                    pool.upgrade().inspect(|pool| pool.grow());
                });
            }
        }
    }

    fn refuse_all(&self, refusal: &Refusal) {
        let waiting = std::mem::take(&mut *self.queue.borrow_mut());
        waiting.into_iter().for_each(|waiter| waiter.resolve(Fate::Refused(refusal.clone())));
    }

    /// A connection came back, or was just opened: to the longest waiter, else to rest, else away.
    #[inline]
    fn take_back(&self, mut conn: Box<Conn<C::State>>, reuse: Reuse) {
        let quiet = conn.link.inbox.is_empty() && conn.link.outbox.is_empty();
        if reuse == Reuse::Discard || !quiet || !self.is_current(&conn) {
            self.close(conn);
            return self.grow();
        }
        if let Some(waiter) = self.next_waiter() {
            return waiter.resolve(Fate::Handed(conn));
        }
        self.request.take();
        if self.permits.asking() > 0 {
            return self.close(conn); // a namesake on another worker has sessions waiting, and we have none
        }
        conn.idle_since = Instant::now();
        self.idle.borrow_mut().push(conn);
    }

    fn next_waiter(&self) -> Option<Rc<Waiter<C>>> {
        let mut queue = self.queue.borrow_mut();
        std::iter::from_fn(|| queue.pop_front()).find(|waiter| waiter.is_waiting())
    }

    fn close(&self, conn: Box<Conn<C::State>>) {
        self.open.set(self.open.get() - 1);
        let mut link = conn.link;
        if link.outbox.is_empty() {
            link.outbox.push(self.connect.farewell());
            // One attempt: a peer that can't take five bytes now is closed without them.
            let _ = link.poll_flush(&mut std::task::Context::from_waker(Waker::noop()));
        }
    }

    fn adopt_topology(&self) {
        *self.current.borrow_mut() = self.topology.borrow().clone();
        self.sweep(|pool, conn| pool.is_current(conn));
        if !self.has_target() {
            // They wait in the hold from now on.
            let waiting = std::mem::take(&mut *self.queue.borrow_mut());
            waiting.into_iter().for_each(|waiter| waiter.resolve(Fate::Again));
        }
        self.not_before.set(None);
        self.grow();
    }

    fn sweep(&self, keep: impl Fn(&Self, &mut Conn<C::State>) -> bool) {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for mut conn in idle {
            match keep(self, &mut conn) {
                true => self.idle.borrow_mut().push(conn),
                false => self.close(conn),
            }
        }
    }

    /// Ends waits that are over, closes what is old, cold or dead, keeps the warm minimum.
    fn beat(&self) {
        let now = Instant::now();
        let overdue = |waiter: &Rc<Waiter<C>>| now.duration_since(waiter.since) >= self.limits.wait;
        while self.queue.borrow().front().is_some_and(overdue) {
            let waiter = self.queue.borrow_mut().pop_front();
            waiter.into_iter().for_each(|waiter| waiter.resolve(Fate::Refused(Refusal::TimedOut)));
        }
        self.sweep(|pool, conn| {
            let cold = now.duration_since(conn.idle_since) >= pool.limits.idle && pool.open.get() > pool.limits.min;
            let stirred = conn.link.has_stirred(&mut pool.scratch.borrow());
            if stirred {
                pool.connect.suspect(conn.endpoint());
            }
            !cold && !stirred && now < conn.retire_at && pool.is_current(conn)
        });
        self.grow();
    }

    /// A namesake on another worker waits while we have idle ones: one of them goes.
    fn shed(&self) {
        if self.queue.borrow().is_empty() && self.permits.asking() > 0 {
            let coldest = (!self.idle.borrow().is_empty()).then(|| self.idle.borrow_mut().remove(0));
            coldest.into_iter().for_each(|conn| self.close(conn));
        }
    }
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

/// A session's place in the queue; dropped when it waits no longer.
struct Place<'a, C: Connect> {
    waiter: Rc<Waiter<C>>,
    pool: &'a Pool<C>,
}

impl<C: Connect> Drop for Place<'_, C> {
    fn drop(&mut self) {
        // It left while a connection was on its way to it: that goes to the next.
        if let Fate::Handed(conn) = self.waiter.fate.replace(Fate::Gone) {
            self.pool.take_back(conn, Reuse::Clean);
        }
    }
}

impl<C: Connect> Waiter<C> {
    fn is_waiting(&self) -> bool {
        matches!(*self.fate.borrow(), Fate::Waiting(_))
    }

    fn resolve(&self, fate: Fate<C>) {
        if let Fate::Waiting(Some(waker)) = self.fate.replace(fate) {
            waker.wake();
        }
    }
}

/// Opens one connection for a pool, if the pool is still there when it is open.
async fn open<C: Connect>(pool: Weak<Pool<C>>, target: (InFlight, u64), permit: Permit) {
    let Some(pool) = pool.upgrade() else { return };
    let endpoint = target.0.endpoint().clone();
    let outcome = pool.connect.connect(&endpoint).await;
    pool.opening.set(pool.opening.get() - 1);
    match outcome {
        Ok((link, state)) => pool.opened(link, state, target, permit),
        Err(failure) => pool.failed(failure, &endpoint),
    }
}

/// Looks after a pool until it is dropped.
async fn look_after<C: Connect>(
    pool: Weak<Pool<C>>,
    permits: Arc<Permits>,
    mut topology: watch::Receiver<Arc<Topology>>,
) {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let act: fn(&Pool<C>) = tokio::select! {
            _ = beat.tick() => Pool::beat,
            () = permits.freed() => Pool::grow,
            () = permits.asked() => Pool::shed,
            changed = topology.changed() => match changed {
                Ok(()) => Pool::adopt_topology,
                Err(_) => return, // the process ends
            },
        };
        match pool.upgrade() {
            Some(pool) => act(&pool),
            None => return,
        }
    }
}
