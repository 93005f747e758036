//! The sessions that wait for a connection of a pool, longest first. Kind: driver.
//!
//! Promises: whoever is in the queue waits; who leaves early is no longer in it, and what was on its way to it is not
//! lost; the wish for a namesake's connection lasts no longer than somebody waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::lease::Conn;
use super::{Connect, Pool, Refusal, Reuse};
use crate::upstream::permits::{Permits, Request};

/// Who waits, and the wish for a namesake's connection that stands meanwhile.
pub(super) struct Queue<C: Connect> {
    waiters: RefCell<VecDeque<Rc<Waiter<C>>>>,
    next_ticket: Cell<u64>,
    request: RefCell<Option<Request>>,
}

pub(super) struct Waiter<C: Connect> {
    /// Grows along the queue.
    ticket: u64,
    since: Instant,
    fate: RefCell<Fate<C>>,
}

/// What becomes of a session that waits.
pub(super) enum Fate<C: Connect> {
    Waiting(Option<Waker>),
    Handed(Box<Conn<C::State>>),
    Refused(Refusal),
    /// The topology has changed: look again.
    Again,
    /// It waits no longer.
    Gone,
}

impl<C: Connect> Default for Queue<C> {
    fn default() -> Self {
        Self { waiters: RefCell::default(), next_ticket: Cell::new(0), request: RefCell::default() }
    }
}

impl<C: Connect> Queue<C> {
    pub(super) fn len(&self) -> usize {
        self.waiters.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.borrow().is_empty()
    }

    /// A place at the end.
    pub(super) fn join<'a>(&self, pool: &'a Pool<C>) -> Place<'a, C> {
        let ticket = self.next_ticket.replace(self.next_ticket.get() + 1);
        let fate = RefCell::new(Fate::Waiting(None));
        let waiter = Rc::new(Waiter { ticket, since: Instant::now(), fate });
        self.waiters.borrow_mut().push_back(waiter.clone());
        Place { waiter, pool }
    }

    /// The one that has waited longest, taken out; what becomes of it is the caller's.
    #[inline]
    pub(super) fn next(&self) -> Option<Rc<Waiter<C>>> {
        let next = self.waiters.borrow_mut().pop_front();
        self.settle();
        next
    }

    /// As [`Queue::next`], if that one has waited since before `moment`.
    pub(super) fn next_since(&self, moment: Instant) -> Option<Rc<Waiter<C>>> {
        let is_due = self.waiters.borrow().front().is_some_and(|waiter| waiter.since <= moment);
        is_due.then(|| self.next()).flatten()
    }

    /// Everybody's wait ends in the same way.
    pub(super) fn resolve_all(&self, fate: impl Fn() -> Fate<C>) {
        let all = std::mem::take(&mut *self.waiters.borrow_mut());
        self.settle();
        all.into_iter().for_each(|waiter| waiter.resolve(fate()));
    }

    /// Wishes for a namesake's connection, once, while somebody waits.
    pub(super) fn ask(&self, permits: &Arc<Permits>) {
        let mut request = self.request.borrow_mut();
        if request.is_none() && !self.is_empty() {
            *request = Some(permits.ask());
        }
    }

    /// Takes the wish back.
    pub(super) fn withdraw(&self) {
        self.request.borrow_mut().take();
    }

    pub(super) fn is_asking(&self) -> bool {
        self.request.borrow().is_some()
    }

    fn leave(&self, leaver: &Waiter<C>) {
        let mut waiters = self.waiters.borrow_mut();
        if let Ok(at) = waiters.binary_search_by_key(&leaver.ticket, |waiter| waiter.ticket) {
            waiters.remove(at);
        }
        drop(waiters);
        self.settle();
    }

    /// Nobody waits, so nobody wishes.
    #[inline]
    fn settle(&self) {
        if self.is_empty() {
            self.withdraw();
        }
    }
}

impl<C: Connect> Waiter<C> {
    pub(super) fn resolve(&self, fate: Fate<C>) {
        if let Fate::Waiting(Some(waker)) = self.fate.replace(fate) {
            waker.wake();
        }
    }
}

/// A session's place in the queue; dropped when it waits no longer.
pub(super) struct Place<'a, C: Connect> {
    waiter: Rc<Waiter<C>>,
    pool: &'a Pool<C>,
}

impl<C: Connect> Place<'_, C> {
    pub(super) fn poll_fate(&self, cx: &Context<'_>) -> Poll<Fate<C>> {
        let mut fate = self.waiter.fate.borrow_mut();
        if let Fate::Waiting(waker) = &mut *fate {
            match waker {
                Some(known) => known.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(std::mem::replace(&mut *fate, Fate::Gone))
    }
}

impl<C: Connect> Drop for Place<'_, C> {
    fn drop(&mut self) {
        match self.waiter.fate.replace(Fate::Gone) {
            Fate::Waiting(_) => self.pool.queue.leave(&self.waiter),
            // It left while a connection was on its way to it: that goes to the next.
            Fate::Handed(conn) => self.pool.take_back(conn, Reuse::Clean),
            _ => {}
        }
    }
}
