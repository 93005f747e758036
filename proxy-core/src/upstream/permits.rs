//! How many connections pools of the same name may have open together, over all workers. Kind: driver.
//!
//! Promise: never more than the cap; a pool that needs one while others have idle ones gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A cap shared by the pools of one name.
#[derive(Debug)]
pub struct Permits {
    cap: AtomicUsize,
    taken: AtomicUsize,
    /// Pools with sessions that wait for a permit; while there are any, no other keeps an idle connection.
    asking: AtomicUsize,
    freed: Notify,
    asked: Notify,
}

/// The right to one open connection, given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Permits {
    /// A cap of `cap` connections.
    pub fn new(cap: usize) -> Arc<Self> {
        let (taken, asking) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self {
            cap: AtomicUsize::new(cap),
            taken,
            asking,
            freed: Notify::new(),
            asked: Notify::new(),
        })
    }

    /// Changes the cap; connections above it live on until they are given back.
    pub fn resize(&self, cap: usize) {
        self.cap.store(cap, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// The present cap.
    pub fn cap(&self) -> usize {
        self.cap.load(Ordering::Relaxed)
    }

    /// A permit, if one is free.
    pub fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let cap = self.cap();
        let more = |taken| (taken < cap).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Permit(self.clone()))
    }

    /// Asks the other workers for a permit, until the returned request is dropped.
    pub fn ask(self: &Arc<Self>) -> Request {
        self.asking.fetch_add(1, Ordering::Relaxed);
        self.asked.notify_waiters();
        Request(self.clone())
    }

    /// How many pools wait for a permit.
    #[inline]
    pub fn asking(&self) -> usize {
        self.asking.load(Ordering::Relaxed)
    }

    /// What each of `among` pools that want more may keep. None, if there are more pools than permits: then they must
    /// take turns, or those that came first would keep them for ever.
    pub fn share(&self, among: usize) -> usize {
        let cap = self.cap();
        if cap < among { 0 } else { cap.div_ceil(among.max(1)) }
    }

    /// Waits until somebody asks for a permit.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Waits until a permit may be free.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// A pool's wish for a permit that another holds.
#[derive(Debug)]
pub struct Request(Arc<Permits>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds_and_a_dropped_permit_is_free_again() {
        let permits = Permits::new(2);
        let (one, _two) = (permits.try_take(), permits.try_take());
        assert!(one.is_some() && permits.try_take().is_none());
        drop(one);
        assert!(permits.try_take().is_some());
    }

    #[test]
    fn pools_that_all_want_more_share_evenly_and_leave_none_unused() {
        let check =
            |cap, among, expected| assert_eq!(Permits::new(cap).share(among), expected, "{cap}/{among}");
        check(20, 1, 20);
        check(20, 2, 10);
        check(21, 2, 11);
        check(20, 3, 7);
        check(2, 2, 1);
        check(1, 2, 0);
    }

    #[test]
    fn whoever_asks_is_seen_until_it_is_served() {
        let permits = Permits::new(1);
        let request = permits.ask();
        assert_eq!(permits.asking(), 1);
        drop(request);
        assert_eq!(permits.asking(), 0);
    }
}
