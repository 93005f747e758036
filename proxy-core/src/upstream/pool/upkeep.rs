//! What a pool does by itself: ends waits that are over, closes what is old, cold, dead or of another epoch, keeps
//! the warm minimum, and gives to namesakes that go short. Kind: driver.

use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::lease::Conn;
use super::queue::Fate;
use super::{Connect, Pool, Refusal};
use crate::upstream::Topology;
use crate::upstream::permits::Permits;

/// How often a pool looks after its queue and its idle connections; the precision of its time limits.
pub(super) const BEAT: Duration = Duration::from_millis(100);

/// Looks after a pool until it is dropped.
pub(super) async fn look_after<C: Connect>(
    pool: Weak<Pool<C>>,
    permits: Arc<Permits>,
    mut topology: watch::Receiver<Arc<Topology>>,
) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = true;
    loop {
        let act: fn(&Pool<C>) = tokio::select! {
            _ = beat.tick() => Pool::beat,
            () = permits.freed() => Pool::trade,
            () = permits.asked() => Pool::trade,
            changed = topology.changed(), if published => {
                published = changed.is_ok(); // no watcher any more: the process ends, those who wait still time out
                Pool::catch_up
            }
        };
        match pool.upgrade() {
            Some(pool) => act(&pool),
            None => return,
        }
    }
}

impl<C: Connect> Pool<C> {
    /// Adopts the topology that was published last, if that was not done yet. Called wherever a stale one would do
    /// harm, not only when we are told: the sessions are told of it too, and may be the first to run.
    #[inline]
    pub(super) fn catch_up(&self) {
        if self.topology.borrow().has_changed().unwrap_or(false) {
            self.adopt_topology();
        }
    }

    fn adopt_topology(&self) {
        *self.current.borrow_mut() = self.topology.borrow_mut().borrow_and_update().clone();
        self.sweep(|pool, conn| pool.may_keep(conn));
        if !self.has_target() {
            self.queue.resolve_all(|| Fate::Again); // they wait in the hold from now on
        }
        self.backoff.borrow_mut().reset();
        self.not_before.set(None);
        self.grow();
    }

    fn sweep(&self, keep: impl Fn(&Self, &mut Conn<C::State>) -> bool) {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for mut conn in idle {
            match keep(self, &mut conn) {
                true => self.idle.borrow_mut().push(conn),
                false => self.close(*conn),
            }
        }
    }

    pub(super) fn beat(&self) {
        let now = Instant::now();
        self.time_out(now);
        self.sweep(|pool, conn| pool.is_worth_keeping(conn, now));
        self.yield_unused(now);
        self.grow();
    }

    fn time_out(&self, now: Instant) {
        let Some(moment) = now.checked_sub(self.limits.wait) else { return };
        while let Some(waiter) = self.queue.next_since(moment) {
            waiter.resolve(Fate::Refused(Refusal::TimedOut));
        }
    }

    fn is_worth_keeping(&self, conn: &mut Conn<C::State>, now: Instant) -> bool {
        let is_cold = now.duration_since(conn.idle_since) >= self.limits.idle;
        let is_spare = self.open.get() > self.limits.min;
        !(is_cold && is_spare) && now < conn.retire_at && self.may_keep(conn) && !self.has_died(conn)
    }

    /// A permit was freed or asked for; of two calls at once only one is heard, therefore both are answered.
    fn trade(&self) {
        self.shed();
        self.grow();
    }

    /// The coldest goes if nobody has used it for a beat and a namesake goes short.
    fn yield_unused(&self, now: Instant) {
        let coldest = self.idle.borrow().first().map(|conn| conn.idle_since);
        if coldest.is_some_and(|since| now.duration_since(since) >= BEAT) {
            self.shed();
        }
    }

    /// A namesake on another worker waits while we have idle ones: the coldest of them goes.
    fn shed(&self) {
        if self.queue.is_empty() && self.permits.asking() > 0 && !self.idle.borrow().is_empty() {
            let coldest = self.idle.borrow_mut().remove(0);
            self.close(*coldest);
        }
    }
}
