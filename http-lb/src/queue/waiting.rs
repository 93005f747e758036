//! The queue of a cluster: who is granted which slot, who waits, who is sent away. Kind: pure.
//!
//! ```text
//!            take ──► granted: a slot is free, and who waits can't use it
//!   request ──┤
//!            join ──► waits ──┬─ a slot comes free, its turn ──► granted
//!              │              ├─ its deadline ────────────────► shed
//!              └─► shed       ├─ room for a more urgent one ──► shed
//!                             └─ the client has left ─────────► nobody's business any more
//! ```
//!
//! Promise, after every call: no slot is free that somebody who waits could use; nobody waits past the deadline that
//! the call's `now` has reached; nobody is granted a slot twice. So who comes and finds a slot overtakes nobody.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::class::{CLASSES, Class};
use super::fleet::{Condition, Fleet};
use super::limits::Limits;
use super::line::Line;
use super::ticket::{ReplicaId, Shed, Ticket, mix};

/// The least and the longest time after which somebody is told to come again.
const RETRY_SECONDS: std::ops::RangeInclusive<u32> = 1..=120;

/// What one piece of work takes as long as none has ended.
const GUESS: Duration = Duration::from_millis(250);

/// The weight of one piece of work in the average of how long they take: 1/32.
const NEWEST: f64 = 1.0 / 32.0;

/// Whom lower classes are owed a grant at, in percent.
const DUE: u32 = 100;

/// A place in the queue. It is never given to anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    class: Class,
    number: u64,
}

/// What became of somebody who waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News<T> {
    pub(super) caller: T,
    pub(super) class: Class,
    pub(super) verdict: Result<ReplicaId, Shed>,
}

#[derive(Debug)]
struct Waiter<T> {
    ticket: Ticket,
    caller: T,
}

impl<T> Waiter<T> {
    /// Whether it asks for the first time.
    fn is_first(&self) -> bool {
        self.ticket.attempts() == 0
    }
}

/// The queue of a cluster. `R` says who a replica is, `T` whom to tell.
#[derive(Debug)]
pub(super) struct Waiting<R, T> {
    pub(super) fleet: Fleet<R>,
    lines: [Line<Waiter<T>>; CLASSES],
    deadlines: BTreeSet<(Instant, u64, Class)>,
    /// How many of those who wait have held a slot before. The limits are not for them, nor do they give way: there are
    /// never more of them than there are slots.
    again: usize,
    limits: Limits,
    next: u64,
    /// What lower classes are owed, in percent of a grant.
    owed: u32,
    /// How long a piece of work takes on average, in seconds, once one has ended.
    mean: Option<f64>,
}

impl<R, T> Waiting<R, T> {
    pub(super) fn new(fleet: Fleet<R>, limits: Limits) -> Self {
        let lines = std::array::from_fn(|_| Line::default());
        Self { fleet, lines, deadlines: BTreeSet::new(), again: 0, limits, next: 0, owed: 0, mean: None }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many wait in all.
    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// How many of a class wait.
    pub(super) fn len_of(&self, class: Class) -> usize {
        self.lines[class.index()].len()
    }

    /// A slot at once, if there is one for this request.
    pub(super) fn take(&mut self, ticket: &Ticket, chance: u64) -> Option<ReplicaId> {
        let at = self.fleet.choose(ticket, chance)?;
        self.fleet.take(at, ticket.class).map(|replica| replica.id)
    }

    /// A place in the queue, for a request that found no slot.
    pub(super) fn join(
        &mut self,
        ticket: &Ticket,
        now: Instant,
        caller: T,
        news: &mut Vec<News<T>>,
    ) -> Result<Place, Shed> {
        if ticket.deadline <= now {
            return Err(Shed::Deadline);
        }
        self.hopeless().map_or(Ok(()), Err)?;
        self.expire(now, news);
        if ticket.attempts() == 0 {
            self.make_room(ticket, news)?;
        }
        Ok(self.enter(ticket, caller))
    }

    /// A slot comes back; `took` is how long the work took, where that says something.
    pub(super) fn give_back(
        &mut self,
        (replica, class): (ReplicaId, Class),
        took: Option<Duration>,
        now: Instant,
        chance: u64,
        news: &mut Vec<News<T>>,
    ) {
        self.fleet.give_back(replica, class, took, now);
        if let Some(took) = took.map(|took| took.as_secs_f64()) {
            let mean = self.mean.unwrap_or(took);
            self.mean = Some(mean + (took - mean) * NEWEST);
        }
        self.dispatch(now, chance, news);
    }

    /// Somebody waits no more. `None`: it was told its verdict before.
    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        let waiter = self.lines[place.class.index()].leave(place.number)?;
        self.forget(place, &waiter.ticket);
        Some(waiter.caller)
    }

    /// Whoever has waited long enough is told so, whether or not a slot ever comes free.
    pub(super) fn expire(&mut self, now: Instant, news: &mut Vec<News<T>>) {
        while let Some(&(deadline, number, class)) = self.deadlines.first()
            && deadline <= now
        {
            self.shed(Place { class, number }, Shed::Deadline, news);
        }
    }

    /// A replica is in another condition than before.
    pub(super) fn set(&mut self, replica: ReplicaId, condition: Condition) -> bool {
        self.fleet.set(replica, condition)
    }

    /// Grants every slot that somebody who waits can use. To be called once what is known of the replicas has changed.
    pub(super) fn dispatch(&mut self, now: Instant, mut chance: u64, news: &mut Vec<News<T>>) {
        if self.deadlines.is_empty() {
            return;
        }
        self.expire(now, news);
        while let Some((place, at)) = self.next(chance) {
            self.grant(place, at, news);
            chance = mix(chance.wrapping_add(1));
        }
        if let Some(reason) = self.hopeless() {
            self.shed_all(reason, news);
        }
    }

    /// In how many seconds somebody of this class would get a slot if it came now: who is before it, and how long they
    /// take.
    pub(super) fn estimate(&self, class: Class) -> Duration {
        let Some(slots) = self.fleet.census.slots else { return Duration::ZERO };
        let before: usize = self.lines.iter().take(class.index() + 1).map(Line::len).sum();
        let turns = (before as f64 + 1.0) / f64::from(slots.max(1));
        Duration::try_from_secs_f64(turns * self.mean.unwrap_or(GUESS.as_secs_f64())).unwrap_or(Duration::MAX)
    }

    /// The same as a value of `Retry-After`.
    pub(super) fn retry_after(&self, class: Class) -> u32 {
        let seconds = self.estimate(class).as_secs_f64().ceil();
        (seconds.clamp(0.0, f64::from(u32::MAX)) as u32).clamp(*RETRY_SECONDS.start(), *RETRY_SECONDS.end())
    }

    /// Why nobody will ever be granted anything, if so.
    fn hopeless(&self) -> Option<Shed> {
        let census = &self.fleet.census;
        match (census.members, census.in_service) {
            (0, _) => Some(Shed::NoReplica),
            (_, 0) => Some(Shed::Draining),
            _ => None,
        }
    }

    /// Sends somebody away who is less urgent, or greedier, than who comes; or else refuses the latter.
    fn make_room(&mut self, ticket: &Ticket, news: &mut Vec<News<T>>) -> Result<(), Shed> {
        let class = ticket.class;
        let line = &self.lines[class.index()];
        let is_full = self.deadlines.len() - self.again >= self.limits.max;
        let is_class_full = line.len() >= self.limits.per_class[class.index()];
        if !is_full && !is_class_full {
            return Ok(());
        }
        let mut lower = Class::all().rev().take_while(|lower| *lower > class);
        let least = |class: Class| Some((class, self.lines[class.index()].least(Waiter::is_first)?));
        let victim = if is_class_full { None } else { lower.find_map(least) };
        let greediest = || Some((class, line.greediest(ticket.client, Waiter::is_first)?));
        let (class, number) = victim.or_else(greediest).ok_or(Shed::Full)?;
        self.shed(Place { class, number }, Shed::Full, news);
        Ok(())
    }

    fn enter(&mut self, ticket: &Ticket, caller: T) -> Place {
        let (class, number) = (ticket.class, self.next);
        self.next += 1;
        self.deadlines.insert((ticket.deadline, number, class));
        let waiter = Waiter { ticket: ticket.clone(), caller };
        let line = &mut self.lines[class.index()];
        if waiter.is_first() {
            line.join(number, ticket.client, waiter);
        } else {
            self.again += 1;
            line.rejoin(number, ticket.client, waiter);
        }
        Place { class, number }
    }

    /// What is kept of somebody who waits beside the line.
    fn forget(&mut self, place: Place, ticket: &Ticket) {
        self.deadlines.remove(&(ticket.deadline, place.number, place.class));
        self.again -= usize::from(ticket.attempts() > 0);
    }

    /// Whose turn it is, among those who can use a slot that is free; and which.
    fn next(&self, chance: u64) -> Option<(Place, usize)> {
        let order = self.due().into_iter().chain(Class::all());
        let mut lines = order.map(|class| (class, &self.lines[class.index()]));
        lines.find_map(|(class, line)| {
            if line.is_empty() || !self.fleet.admits(class) {
                return None;
            }
            let (number, at) = line.first(|waiter| self.fleet.choose(&waiter.ticket, chance))?;
            Some((Place { class, number }, at))
        })
    }

    /// The lower class that is to be preferred once, as it is owed a grant: the one whose first has come first.
    fn due(&self) -> Option<Class> {
        if self.owed < DUE {
            return None;
        }
        let waiting = || Class::all().filter(|class| !self.lines[class.index()].is_empty());
        waiting().skip(1).min_by_key(|class| self.lines[class.index()].oldest())
    }

    fn grant(&mut self, place: Place, at: usize, news: &mut Vec<News<T>>) {
        self.settle_debts(place.class);
        let Some(waiter) = self.lines[place.class.index()].serve(place.number) else { return };
        self.forget(place, &waiter.ticket);
        if let Some(replica) = self.fleet.take(at, place.class) {
            news.push(News { caller: waiter.caller, class: place.class, verdict: Ok(replica.id) });
        }
    }

    /// A grant to a class before which a higher one waits pays a debt; one that leaves lower ones waiting makes one.
    fn settle_debts(&mut self, granted: Class) {
        let waits = |class: &Class| !self.lines[class.index()].is_empty();
        let overtakes = Class::all().take(granted.index()).any(|class| waits(&class));
        let overtaken = Class::all().skip(granted.index() + 1).any(|class| waits(&class));
        if overtakes && self.owed >= DUE {
            self.owed -= DUE;
        } else if overtaken {
            self.owed = (self.owed + u32::from(self.limits.low_share_percent)).min(2 * DUE);
        }
    }

    fn shed(&mut self, place: Place, reason: Shed, news: &mut Vec<News<T>>) {
        if let Some(caller) = self.leave(place) {
            news.push(News { caller, class: place.class, verdict: Err(reason) });
        }
    }

    fn shed_all(&mut self, reason: Shed, news: &mut Vec<News<T>>) {
        while let Some(&(_, number, class)) = self.deadlines.first() {
            self.shed(Place { class, number }, reason, news);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds;
