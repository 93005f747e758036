//! How a pool comes to its connections: as many as are wished for, no more at once than a server likes, none beyond
//! its share while namesakes go short. Kind: driver.

use std::rc::Weak;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lease::Conn;
use super::queue::Fate;
use super::{Connect, Failure, Pool, Refusal, Role};
use crate::link::Link;
use crate::tasks;
use crate::upstream::permits::Permit;
use crate::upstream::{Endpoint, InFlight};

/// Connections that one pool opens at the same time. A server forks and hashes for each: more at once are not
/// quicker, and a server that has just been promoted has other things to do.
const OPENING_AT_ONCE: usize = 8;

/// How long a pool leaves a permit to its namesakes: enough for them to wake up.
const TURN: Duration = Duration::from_millis(5);

/// Where a connection is to lead, and as of which epoch.
struct Target {
    in_flight: InFlight,
    epoch: u64,
}

/// One of the connections being opened; counted until dropped, so that a bug in opening one costs no place.
struct Opening<C: Connect> {
    pool: Weak<Pool<C>>,
    concluded: bool,
}

impl<C: Connect> Opening<C> {
    fn conclude(mut self) {
        self.concluded = true;
    }
}

impl<C: Connect> Drop for Opening<C> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        pool.opening.set(pool.opening.get() - 1);
        if !self.concluded {
            pool.pause(); // a bug: the next attempt may well meet it again
        }
    }
}

impl<C: Connect> Pool<C> {
    /// Opens connections while sessions wait that none of those being opened is for.
    pub(super) fn grow(&self) {
        // Counted beforehand: while the worker ends, what is spawned is dropped at once and nothing ever opens.
        for _ in 0..self.missing() {
            if self.is_pausing() || !self.has_target() {
                return;
            }
            let permit = if self.has_its_share() { None } else { self.permits.try_take() };
            let Some(permit) = permit else { return self.queue.ask(&self.permits) };
            let Some(target) = self.pick() else { return };
            self.opening.set(self.opening.get() + 1);
            let opening = Opening { pool: self.me.clone(), concluded: false };
            tasks::spawn_session(open(opening, target, permit));
        }
    }

    /// The last attempt has just failed; its successor is on the clock.
    fn is_pausing(&self) -> bool {
        self.not_before.get().is_some_and(|moment| Instant::now() < moment)
    }

    fn missing(&self) -> usize {
        let short = self.limits.min.saturating_sub(self.open.get());
        self.queue.len().max(short).min(OPENING_AT_ONCE).saturating_sub(self.opening.get())
    }

    /// More would be taken from a namesake that goes short.
    fn has_its_share(&self) -> bool {
        let share = self.share().map(|share| share.max(1));
        share.is_some_and(|share| self.open.get() + self.opening.get() >= share)
    }

    /// It has more than its share, and a namesake goes short.
    #[inline]
    pub(super) fn is_over_its_share(&self) -> bool {
        self.share().is_some_and(|share| self.open.get() > share)
    }

    /// What this pool may have while namesakes on other workers ask; nothing bounds it while they don't.
    #[inline]
    fn share(&self) -> Option<usize> {
        let asking = self.permits.asking();
        let others = asking.saturating_sub(usize::from(asking > 0 && self.queue.is_asking()));
        (others > 0).then(|| self.permits.share(others + 1))
    }

    fn pick(&self) -> Option<Target> {
        let now = std::time::Instant::now();
        let current = self.current.borrow();
        let in_flight = match self.limits.role {
            Role::Primary => current.primary.as_ref().map(Endpoint::enter),
            Role::Replica => current.replicas.pick(self.limits.policy, fastrand::u64(..), now),
        };
        in_flight.map(|in_flight| Target { in_flight, epoch: current.epoch })
    }

    fn opened(&self, link: Link, state: C::State, target: Target, permit: Permit) {
        self.backoff.borrow_mut().reset();
        self.not_before.set(None);
        let now = Instant::now();
        let less = self.limits.lifetime.mul_f64(fastrand::f64() / 10.0);
        let retire_at = now + self.limits.lifetime - less;
        self.open.set(self.open.get() + 1);
        let Target { in_flight, epoch } = target;
        let conn = Conn { link, state, in_flight, epoch, idle_since: now, retire_at, _permit: permit };
        match self.is_still_current(&conn) {
            true => self.hand_on(Box::new(conn)), // whatever its share: else it would be opened in vain
            false => self.close(conn),
        }
        self.queue.withdraw(); // that wish was granted; if more wait, the next is heard anew
        self.grow();
    }

    fn failed(&self, failure: Failure, target: &Target) {
        self.catch_up();
        let endpoint = target.in_flight.endpoint();
        if !self.limits.role.is_served_by(endpoint, target.epoch, &self.current.borrow()) {
            return self.grow(); // whatever it said, it is not for those who wait now
        }
        match failure {
            Failure::Denied(answer) if !self.queue.is_empty() => {
                self.queue.resolve_all(|| Fate::Refused(Refusal::Denied(answer.clone())));
            }
            Failure::Denied(_) => self.pause(),
            Failure::Unavailable(reason) => {
                tracing::debug!(%reason, endpoint = %endpoint.addr(), "no upstream connection");
                self.connect.suspect(endpoint);
                self.pause();
            }
        }
    }

    /// With fewer permits than pools the one that was just given up is a namesake's turn: it must hear of it first.
    #[cold]
    pub(super) fn let_others_go_first(&self) {
        if self.open.get() == 0 {
            self.pause_for(TURN);
        }
    }

    /// The next attempt is made a while from now.
    fn pause(&self) {
        let pause = self.backoff.borrow_mut().next_delay(fastrand::u32(..));
        self.pause_for(pause);
    }

    fn pause_for(&self, pause: Duration) {
        self.not_before.set(Some(Instant::now() + pause));
        let pool = self.me.clone();
        tasks::spawn_session(async move {
            tokio::time::sleep(pause).await;
            pool.upgrade().inspect(|pool| pool.grow());
        });
    }
}

/// Opens one connection for a pool, if the pool is still there.
async fn open<C: Connect>(opening: Opening<C>, target: Target, permit: Permit) {
    let Some(pool) = opening.pool.upgrade() else { return };
    let endpoint = Arc::clone(target.in_flight.endpoint());
    let outcome = pool.connect.connect(&endpoint).await;
    opening.conclude();
    match outcome {
        Ok((link, state)) => pool.opened(link, state, target, permit),
        Err(failure) => {
            drop(permit); // the next attempt needs it
            pool.failed(failure, &target);
        }
    }
}
