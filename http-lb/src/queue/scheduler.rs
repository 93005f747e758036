//! The queue of a cluster, shared by all workers: the pure machine behind a lock, and those who wait for it.
//! Kind: driver.
//!
//! The lock is held for as long as it takes to change a few numbers, never over an `await`, and whoever is granted
//! something is woken after it. A request that finds a slot takes the lock twice and allocates nothing; one that waits
//! allocates its [`Bell`].

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use proxy_core::upstream::{Admin, Endpoint, InFlight, Outcome};
use tokio::time::{Instant, timeout_at};

use super::class::Class;
use super::fleet::{Balance, Condition, Fleet, Standing};
use super::limits::Limits;
use super::metrics::QueueMetrics;
use super::status::{QueueStatus, ReplicaStatus};
use super::ticket::{ReplicaId, Shed, Tag, Ticket};
use super::waiting::{News, Place, Waiting};

/// How a scheduler grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Which of the replicas with a free slot.
    pub balance: Balance,
    /// Who may wait, and what is kept for whom.
    pub limits: Limits,
    /// Below this share of replicas that are up, in percent, all are asked (0: when none is up). `None`: never.
    pub panic_percent: Option<u8>,
}

/// One replica as the scheduler is told of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is, and how it does.
    pub endpoint: Arc<Endpoint>,
    /// How many requests it works on at the same time; 0: no limit.
    pub slots: u32,
    /// What a sticky cookie says of it.
    pub tag: Tag,
    /// The digest of its name, for consistent hashing.
    pub name: u64,
}

type Queue = Waiting<Arc<Endpoint>, Arc<Bell>>;

/// The queue of a cluster.
#[derive(Debug)]
pub struct Scheduler {
    queue: Mutex<Queue>,
    metrics: QueueMetrics,
}

/// Rings when somebody who waits is told its verdict. A slot that nobody comes for goes back when this is dropped.
#[derive(Debug, Default)]
struct Bell {
    verdict: Mutex<Option<Result<Slot, Shed>>>,
    waker: AtomicWaker,
}

impl Scheduler {
    /// A queue before replicas that are still to be told.
    pub fn new(terms: Terms, metrics: QueueMetrics) -> Arc<Self> {
        let fleet = Fleet::new(terms.balance, terms.limits.reserved, terms.panic_percent);
        Arc::new(Self { queue: Mutex::new(Waiting::new(fleet, terms.limits)), metrics })
    }

    /// Other terms, for whoever waits already too.
    pub fn configure(self: &Arc<Self>, terms: Terms) {
        self.change(|queue| {
            queue.fleet.configure(terms.balance, terms.limits.reserved, terms.panic_percent);
            queue.set_limits(terms.limits);
        });
    }

    /// What it counts.
    pub const fn metrics(&self) -> &QueueMetrics {
        &self.metrics
    }

    /// A slot, taken as of `now`, if there is one for this request at once.
    pub fn try_slot(self: &Arc<Self>, ticket: &Ticket, now: Instant) -> Option<Slot> {
        let chance = fastrand::u64(..);
        let mut queue = self.lock();
        let id = queue.take(ticket, chance)?;
        self.slot_of(&queue, id, ticket.class, now)
    }

    /// A slot, when it is this request's turn. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// Why there is none for this request.
    pub async fn slot(self: &Arc<Self>, ticket: &Ticket) -> Result<Slot, Shed> {
        let asked = Instant::now();
        let outcome = match self.ask(ticket, asked) {
            Ok(slot) => return Ok(slot),
            Err(Ok(waiter)) => {
                let outcome = waiter.verdict(ticket.deadline.into()).await;
                if outcome.is_ok() {
                    self.metrics.waited(ticket.class, asked.elapsed());
                }
                outcome
            }
            Err(Err(shed)) => Err(shed),
        };
        outcome.inspect_err(|reason| self.metrics.shed(ticket.class, *reason))
    }

    /// These replicas are the whole cluster from now on. Who is none of them any more finishes what it has.
    pub fn sync(self: &Arc<Self>, members: &[Member]) {
        let now = now();
        self.change(|queue| {
            let gone =
                queue.fleet.replicas.iter().filter(|replica| {
                    !members.iter().any(|member| Arc::ptr_eq(&member.endpoint, &replica.who))
                });
            let gone: Vec<_> = gone.map(|replica| (replica.id, replica.condition)).collect();
            for (id, condition) in gone {
                queue.set(id, Condition { standing: Standing::Gone, ..condition });
            }
            for member in members {
                let condition = condition(&member.endpoint, member.slots, now);
                let mut known = queue.fleet.replicas.iter();
                match known.find(|replica| Arc::ptr_eq(&replica.who, &member.endpoint)).map(|known| known.id)
                {
                    Some(id) => _ = queue.set(id, condition),
                    None => _ = queue.fleet.add(member.endpoint.clone(), member.tag, member.name, condition),
                }
            }
            queue.fleet.forget_gone();
        });
    }

    /// Looks at all replicas anew: who is up, who is wanted, and how much each one's share is now.
    pub fn refresh(self: &Arc<Self>) {
        let now = now();
        self.change(|queue| {
            let members = queue.fleet.replicas.iter().filter(|r| r.condition.standing != Standing::Gone);
            let conditions: Vec<_> =
                members.map(|r| (r.id, condition(&r.who, r.condition.slots, now))).collect();
            for (id, condition) in conditions {
                queue.set(id, condition);
            }
        });
    }

    /// In how many seconds somebody of this class may try again.
    pub fn retry_after(&self, class: Class) -> u32 {
        self.lock().retry_after(class)
    }

    /// Tells the metrics what changes with every request.
    pub fn measure(&self) {
        let queue = self.lock();
        self.metrics.measure(queue.fleet.used(), queue.fleet.census.slots, |class| queue.len_of(class));
    }

    /// How the queue stands.
    pub fn status(&self) -> QueueStatus {
        let queue = self.lock();
        let replicas = queue.fleet.replicas.iter().map(|replica| ReplicaStatus {
            endpoint: replica.who.clone(),
            slots: replica.condition.slots,
            used: replica.used,
            latency: replica.latency.value(),
            leaving: replica.condition.standing == Standing::Gone,
        });
        QueueStatus {
            waiting: queue.len(),
            panics: queue.fleet.census.panics,
            up: queue.fleet.census.up,
            slots: queue.fleet.census.slots,
            replicas: replicas.collect(),
            classes: Class::all().map(|class| (queue.len_of(class), queue.estimate(class))).collect(),
        }
    }

    /// A slot, or a place in the queue, or neither.
    fn ask(self: &Arc<Self>, ticket: &Ticket, now: Instant) -> Result<Slot, Result<Waiter<'_>, Shed>> {
        let chance = fastrand::u64(..);
        let mut news = Vec::new();
        let mut queue = self.lock();
        if let Some(id) = queue.take(ticket, chance)
            && let Some(slot) = self.slot_of(&queue, id, ticket.class, now)
        {
            return Ok(slot);
        }
        let bell = Arc::new(Bell::default());
        let place = queue.join(ticket, now.into_std(), bell.clone(), &mut news);
        self.tell(queue, news);
        Err(place.map(|place| Waiter { scheduler: self, place, class: ticket.class, bell }))
    }

    fn slot_of(
        self: &Arc<Self>,
        queue: &Queue,
        replica: ReplicaId,
        class: Class,
        since: Instant,
    ) -> Option<Slot> {
        let known = queue.fleet.find(replica)?;
        let (work, tag, scheduler) = (known.who.enter(), known.tag, self.clone());
        Some(Slot { work, scheduler, replica, tag, class, since, outcome: None, until: None })
    }

    /// Changes what is known of the replicas, and grants what has come free by it.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Queue)) {
        let mut news = Vec::new();
        let mut queue = self.lock();
        change(&mut queue);
        queue.dispatch(now(), fastrand::u64(..), &mut news);
        self.tell(queue, news);
    }

    fn give_back(self: &Arc<Self>, slot: &Slot, took: Option<Duration>, now: std::time::Instant) {
        let mut news = Vec::new();
        let mut queue = self.lock();
        if slot.outcome.is_some_and(|outcome| outcome != Outcome::Served) {
            // Before anybody else is sent there.
            let slots = queue.fleet.find(slot.replica).map(|replica| replica.condition);
            if let Some(known) = slots.filter(|known| known.standing != Standing::Gone) {
                queue.set(slot.replica, condition(slot.endpoint(), known.slots, now));
            }
        }
        queue.give_back((slot.replica, slot.class), took, now, fastrand::u64(..), &mut news);
        self.tell(queue, news);
    }

    fn expire(self: &Arc<Self>) {
        let mut news = Vec::new();
        let mut queue = self.lock();
        queue.expire(now(), &mut news);
        self.tell(queue, news);
    }

    /// Verdicts are written while the queue is locked, so that who leaves at this moment finds either its place or its
    /// verdict; bells ring afterwards.
    fn tell(self: &Arc<Self>, queue: MutexGuard<'_, Queue>, news: Vec<News<Arc<Bell>>>) {
        let slot = |id, class| self.slot_of(&queue, id, class, Instant::now()).ok_or(Shed::NoReplica);
        for News { caller, class, verdict } in &news {
            let verdict = verdict.and_then(|id| slot(id, *class));
            *caller.lock() = Some(verdict);
        }
        drop(queue);
        news.iter().for_each(|news| news.caller.waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing within can panic but for want of memory; and then a count that is off by one is better than no service.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Option<Result<Slot, Shed>>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Slot, Shed>> {
        self.waker.register(context.waker());
        self.lock().take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Somebody who waits. Dropping it leaves the queue.
struct Waiter<'a> {
    scheduler: &'a Arc<Scheduler>,
    place: Place,
    class: Class,
    bell: Arc<Bell>,
}

impl Waiter<'_> {
    async fn verdict(self, deadline: Instant) -> Result<Slot, Shed> {
        if let Ok(verdict) = timeout_at(deadline, poll_fn(|context| self.bell.poll(context))).await {
            return verdict;
        }
        self.scheduler.expire();
        // Its own deadline has come: by now there is a verdict, perhaps even a slot.
        let verdict = self.bell.lock().take();
        verdict.unwrap_or(Err(Shed::Deadline))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let left = self.scheduler.lock().leave(self.place);
        // A slot that lies in the bell goes back with it: it has no other owner.
        let unheard = self.bell.lock().take();
        if left.is_some() || unheard.is_some() {
            self.scheduler.metrics.abandoned(self.class);
        }
    }
}

/// One unit of a replica's capacity. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping it gives the slot back"]
pub struct Slot {
    work: InFlight,
    scheduler: Arc<Scheduler>,
    replica: ReplicaId,
    tag: Tag,
    class: Class,
    since: Instant,
    outcome: Option<Outcome>,
    /// When the work was done, if that is known.
    until: Option<Instant>,
}

impl Slot {
    /// The replica.
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        self.work.endpoint()
    }

    /// The class that it was given to.
    pub const fn class(&self) -> Class {
        self.class
    }

    /// What a sticky cookie is to say, so that the client comes back to this replica.
    pub const fn tag(&self) -> Tag {
        self.tag
    }

    /// Since when it is taken.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// The last byte of the answer has come, at this time.
    pub fn served(mut self, at: Instant) {
        self.until = Some(at);
        self.settle(Outcome::Served);
    }

    /// The request has ended and says something about the replica. A mere drop says nothing (the client left, say).
    pub fn settle(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// The replica was not up to it: settles, and notes in the ticket that it is to go elsewhere when it asks again.
    pub fn redispatch(self, outcome: Outcome, ticket: &mut Ticket) {
        ticket.was_at(self.replica);
        self.scheduler.metrics.redispatched();
        self.settle(outcome);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.until.unwrap_or_else(Instant::now);
        let mut took = None;
        if let Some(outcome) = self.outcome {
            let was_up = outcome != Outcome::Served && self.endpoint().health().is_up();
            self.work.judge(outcome, now.into_std());
            if was_up && !self.endpoint().health().is_up() {
                self.scheduler.metrics.ejected();
            }
            took = (outcome == Outcome::Served).then(|| now - self.since);
        }
        self.scheduler.give_back(self, took, now.into_std());
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn condition(endpoint: &Endpoint, slots: u32, now: std::time::Instant) -> Condition {
    let standing = match endpoint.admin() {
        Admin::Ready if endpoint.health().is_up() => Standing::Up,
        Admin::Ready => Standing::Down,
        Admin::Drain | Admin::Maint => Standing::Away,
    };
    // Who is down weighs what it weighs when it is well; its ramp begins when it comes up.
    let weight = match standing {
        Standing::Up => endpoint.effective_weight(now),
        _ => u32::from(endpoint.weight()) * proxy_core::upstream::weight::UNIT,
    };
    Condition { standing, weight, slots }
}

#[cfg(test)]
mod tests;
