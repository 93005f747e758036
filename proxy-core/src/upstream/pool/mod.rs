//! Ready connections to an upstream, borrowed for a while. One pool serves one worker; pools of the same name on
//! other workers share its cap. Kind: driver.
//!
//! Promises: a connection that is given back goes straight to the session that has waited longest; no newcomer
//! overtakes; nothing opened as of an older epoch is ever lent; the cap holds over all workers, and none of them
//! keeps more than its share while another goes short.
//!
//! ```text
//!   try_lease ──▶ idle, newest first ──────────────▶ Lease
//!   lease ──▶ [hold while there is no upstream] ──▶ queue ──▶ Lease      release ──▶ queue, else idle, else closed
//! ```

mod growth;
mod lease;
mod queue;
mod terms;
mod upkeep;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod toy;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Hold;
use super::permits::Permits;
use super::topology::Topology;
use crate::backoff::Backoff;
use crate::link::Scratch;
use crate::tasks;

pub use lease::{Conn, Lease};
use queue::{Fate, Queue};
pub use terms::{Census, Connect, Failure, PoolLimits, Port, Refusal, Reuse, Role};

/// The pause after a first failed attempt to connect, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A worker's pool. Kept in an `Rc`; its tasks end with it.
pub struct Pool<C: Connect> {
    me: Weak<Self>,
    connect: C,
    limits: PoolLimits,
    permits: Arc<Permits>,
    hold: Arc<Hold>,
    scratch: Scratch,
    /// What was published, and whether we have seen it.
    topology: RefCell<watch::Receiver<Arc<Topology>>>,
    current: RefCell<Arc<Topology>>,
    /// Newest last: the warmest connection is used first, and the coldest may idle away.
    idle: RefCell<Vec<Box<Conn<C::State>>>>,
    queue: Queue<C>,
    open: Cell<usize>,
    opening: Cell<usize>,
    backoff: RefCell<Backoff>,
    /// No new attempt before this moment: the last one failed.
    not_before: Cell<Option<Instant>>,
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
        mut topology: watch::Receiver<Arc<Topology>>,
    ) -> Rc<Self> {
        let current = RefCell::new(topology.borrow_and_update().clone());
        let news = topology.clone();
        let pool = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            connect,
            limits,
            permits,
            hold,
            scratch,
            topology: RefCell::new(topology),
            current,
            idle: RefCell::default(),
            queue: Queue::default(),
            open: Cell::new(0),
            opening: Cell::new(0),
            backoff: RefCell::new(Backoff::new(PAUSES.0, PAUSES.1)),
            not_before: Cell::new(None),
        });
        tasks::spawn_session(upkeep::look_after(Rc::downgrade(&pool), pool.permits.clone(), news));
        pool
    }

    /// A lease that can be had at once, if nobody waits for one.
    #[inline]
    pub fn try_lease(&self) -> Option<Lease<C>> {
        self.catch_up();
        if !self.has_target() {
            return None;
        }
        loop {
            let mut conn = self.idle.borrow_mut().pop()?;
            if self.is_current(&conn) && !self.has_died(&mut conn) {
                return Some(self.lend(conn));
            }
            self.close(*conn);
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
                Fate::Handed(conn) if self.is_still_current(&conn) => return Ok(self.lend(conn)),
                Fate::Handed(conn) => self.take_back(conn, Reuse::Discard),
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
            waiting: self.queue.len(),
        }
    }

    /// Whether there is an endpoint to connect to, as far as the topology says.
    pub fn has_target(&self) -> bool {
        self.limits.role.has_target(&self.current.borrow())
    }

    async fn held(&self, bytes: usize) -> Result<(), Refusal> {
        self.catch_up();
        if self.has_target() {
            return Ok(());
        }
        let held = self.hold.enter(bytes).map_err(|_| Refusal::HoldFull)?;
        let mut topology = self.topology.borrow().clone();
        let role = self.limits.role;
        let released =
            held.wait_until(&mut topology, self.hold.deadline(), |topology| role.has_target(topology));
        released.await.map_err(|_| Refusal::NoUpstream)?;
        self.catch_up();
        Ok(())
    }

    async fn queue_up(&self) -> Fate<C> {
        let place = self.queue.join(self);
        self.grow();
        poll_fn(|cx| place.poll_fate(cx)).await
    }

    fn lend(&self, conn: Box<Conn<C::State>>) -> Lease<C> {
        Lease::new(conn, self.me.upgrade().expect("a pool lends through an Rc"))
    }

    #[inline]
    fn is_current(&self, conn: &Conn<C::State>) -> bool {
        self.limits.role.is_served_by(conn.endpoint(), conn.epoch, &self.current.borrow())
    }

    #[inline]
    fn may_keep(&self, conn: &Conn<C::State>) -> bool {
        self.limits.role.may_keep(conn.endpoint(), conn.epoch, &self.current.borrow())
    }

    /// As [`Pool::is_current`], by the newest topology.
    fn is_still_current(&self, conn: &Conn<C::State>) -> bool {
        self.catch_up();
        self.is_current(conn)
    }

    /// An idle connection was closed by its server, or says what nobody asked for.
    #[inline]
    fn has_died(&self, conn: &mut Conn<C::State>) -> bool {
        let stirred = conn.link.has_stirred(&mut self.scratch.borrow());
        if stirred {
            self.connect.suspect(conn.endpoint());
        }
        stirred
    }

    /// A connection came back: to the longest waiter, else to rest, else away.
    #[inline]
    fn take_back(&self, mut conn: Box<Conn<C::State>>, reuse: Reuse) {
        self.catch_up();
        let quiet = conn.link.inbox.is_empty() && conn.link.outbox.is_empty();
        if reuse == Reuse::Discard || !quiet {
            self.hang_up(*conn);
            return self.grow();
        }
        let now = Instant::now();
        if now >= conn.retire_at || !self.may_keep(&conn) {
            self.close(*conn);
            return self.grow();
        }
        if self.is_over_its_share() {
            self.close(*conn);
            return self.let_others_go_first();
        }
        conn.idle_since = now;
        self.hand_on(conn);
    }

    #[inline]
    fn hand_on(&self, conn: Box<Conn<C::State>>) {
        if let Some(waiter) = self.queue.next() {
            return waiter.resolve(Fate::Handed(conn));
        }
        self.idle.borrow_mut().push(conn);
    }

    /// Without a word: whoever had it may have left in the middle of a message, whose end a farewell could become.
    fn hang_up(&self, conn: Conn<C::State>) {
        self.open.set(self.open.get() - 1);
        drop(conn);
    }

    fn close(&self, conn: Conn<C::State>) {
        self.open.set(self.open.get() - 1);
        let mut link = conn.link;
        if link.outbox.is_empty() {
            link.outbox.push(self.connect.farewell());
            // One attempt: a peer that can't take five bytes now is closed without them.
            let _ = link.poll_flush(&mut Context::from_waker(Waker::noop()));
        }
    }
}
