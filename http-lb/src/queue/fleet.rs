//! The replicas of a cluster as the queue sees them: slots, who may be asked, and which one it is to be. Kind: pure.
//!
//! Panic: where too few replicas are up, all that are not taken out of service are asked. A check that goes through a
//! shared part (the database, Redis) fails everywhere at once, and then says nothing about the replicas. Envoy
//! does the same ("panic threshold").

use std::time::{Duration, Instant};

use proxy_core::upstream::PeakEwma;
use proxy_core::upstream::pick::{self, Candidate};
use serde::{Deserialize, Serialize};

use super::class::Class;
use super::rendezvous::{self, Contender};
use super::ticket::{Affinity, ReplicaId, Tag, Ticket};

/// Which of the replicas with a free slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with the least in flight for its weight.
    #[default]
    LeastInFlight,
    /// One after the other, interleaved, in exact proportion to the weights.
    RoundRobin,
    /// Of two at random the one that will be done sooner, by what is in flight and how long it takes lately.
    TwoChoices,
    /// The one that the request's key falls to; without a key as `least_in_flight`.
    Hash,
}

/// Whether a replica may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Up,
    /// Only in panic.
    Down,
    /// An operator has taken it out of service.
    Away,
    /// It is not one of the cluster any more; what it has in flight is finished.
    Gone,
}

/// What is known of a replica from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) standing: Standing,
    pub(super) weight: u32,
    /// 0: no limit.
    pub(super) slots: u32,
}

/// One replica; `R` says who it is.
#[derive(Debug)]
pub(super) struct Replica<R> {
    pub(super) id: ReplicaId,
    pub(super) who: R,
    pub(super) tag: Tag,
    /// The digest of its name, for consistent hashing.
    name: u64,
    pub(super) condition: Condition,
    pub(super) used: u32,
    /// Of these, by other classes than the top one.
    lower: u32,
    pub(super) latency: PeakEwma,
}

impl<R> Replica<R> {
    fn has_room(&self) -> bool {
        self.condition.slots == 0 || self.used < self.condition.slots
    }

    fn candidate(&self, index: usize) -> Candidate {
        let (weight, latency) = (self.condition.weight, self.latency.micros());
        Candidate { index, weight, in_flight: self.used, latency }
    }

    fn contender(&self, index: usize, allowed: bool) -> Contender {
        let has_room = allowed && self.has_room();
        Contender { index, name: self.name, weight: self.condition.weight, used: self.used, has_room }
    }
}

/// What follows from the standings of all; counted anew when one changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// How many are up.
    pub(super) up: usize,
    /// How many are up or down.
    pub(super) in_service: usize,
    /// How many belong to the cluster.
    pub(super) members: usize,
    /// Whether those that are down are asked too.
    pub(super) panics: bool,
    /// The slots of those that may be asked; `None`: no limit.
    pub(super) slots: Option<u32>,
    /// Slots that lower classes hold of those that may be asked.
    lower: u32,
}

/// All replicas.
#[derive(Debug)]
pub(super) struct Fleet<R> {
    pub(super) replicas: Vec<Replica<R>>,
    pub(super) census: Census,
    balance: Balance,
    reserved: u32,
    panic_percent: Option<u8>,
    next: u64,
    turn: u64,
}

impl<R> Fleet<R> {
    pub(super) fn new(balance: Balance, reserved: u32, panic_percent: Option<u8>) -> Self {
        let census = Census::default();
        Self { replicas: Vec::new(), census, balance, reserved, panic_percent, next: 0, turn: 0 }
    }

    pub(super) fn configure(&mut self, balance: Balance, reserved: u32, panic_percent: Option<u8>) {
        (self.balance, self.reserved, self.panic_percent) = (balance, reserved, panic_percent);
        self.count();
    }

    pub(super) fn add(&mut self, who: R, tag: Tag, name: u64, condition: Condition) -> ReplicaId {
        let id = ReplicaId(self.next);
        self.next += 1;
        let (used, lower, latency) = (0, 0, PeakEwma::default());
        self.replicas.push(Replica { id, who, tag, name, condition, used, lower, latency });
        self.count();
        id
    }

    /// Whether anything has changed.
    pub(super) fn set(&mut self, id: ReplicaId, condition: Condition) -> bool {
        let Some(replica) = self.find_mut(id) else { return false };
        let changed = std::mem::replace(&mut replica.condition, condition) != condition;
        if changed {
            self.count();
        }
        changed
    }

    pub(super) fn find(&self, id: ReplicaId) -> Option<&Replica<R>> {
        self.replicas.iter().find(|replica| replica.id == id)
    }

    fn find_mut(&mut self, id: ReplicaId) -> Option<&mut Replica<R>> {
        self.replicas.iter_mut().find(|replica| replica.id == id)
    }

    /// Whether a request of this class may have any slot at all now.
    ///
    /// Reserved are slots that lower classes may not hold: the top one has them to itself. Of the last slot of a
    /// cluster nothing can be reserved.
    pub(super) fn admits(&self, class: Class) -> bool {
        let Some(slots) = self.census.slots else { return true };
        let reserved = self.reserved.min(slots.saturating_sub(1));
        class == Class::TOP || self.census.lower < slots - reserved
    }

    /// The replica to ask for this request, if one has room that it may have.
    pub(super) fn choose(&self, ticket: &Ticket, chance: u64) -> Option<usize> {
        if !self.admits(ticket.class) {
            return None;
        }
        if let Some(at) = self.stuck_to(ticket) {
            return self.replicas[at].has_room().then_some(at);
        }
        let fresh = !ticket.tried.is_empty() && self.has_untried(ticket);
        let allowed = |replica: &Replica<R>| self.may_ask(replica, ticket, fresh);
        let all = self.replicas.iter().enumerate();
        if let (Balance::Hash, Affinity::Key(key)) = (self.balance, ticket.affinity) {
            let open = all.filter(|(_, replica)| self.is_open(replica));
            let contenders = open.map(|(index, replica)| replica.contender(index, allowed(replica)));
            return rendezvous::choose(key, contenders);
        }
        let free = all.filter(|(_, replica)| replica.has_room() && allowed(replica));
        let candidates = free.map(|(index, replica)| replica.candidate(index));
        pick::choose(self.balance.policy(), candidates, self.turn, chance)
    }

    pub(super) fn take(&mut self, at: usize, class: Class) -> Option<&Replica<R>> {
        self.turn = self.turn.wrapping_add(1);
        let panics = self.census.panics;
        let replica = self.replicas.get_mut(at)?;
        replica.used += 1;
        if class != Class::TOP {
            replica.lower += 1;
            self.census.lower += u32::from(is_open(replica, panics));
        }
        Some(replica)
    }

    /// The slot comes back; `took` is how long the work took, where that says something.
    pub(super) fn give_back(&mut self, id: ReplicaId, class: Class, took: Option<Duration>, now: Instant) {
        let panics = self.census.panics;
        let Some(replica) = self.replicas.iter_mut().find(|replica| replica.id == id) else { return };
        replica.used = replica.used.saturating_sub(1);
        if class != Class::TOP {
            replica.lower = replica.lower.saturating_sub(1);
            self.census.lower -= u32::from(is_open(replica, panics));
        }
        if let Some(took) = took {
            replica.latency.observe(took, now);
        }
        if replica.condition.standing == Standing::Gone && replica.used == 0 {
            self.replicas.retain(|replica| replica.id != id);
        }
    }

    /// Who is gone and has nothing in flight is forgotten.
    pub(super) fn forget_gone(&mut self) {
        self.replicas.retain(|replica| replica.condition.standing != Standing::Gone || replica.used > 0);
        self.count();
    }

    pub(super) fn used(&self) -> u32 {
        self.replicas.iter().map(|replica| replica.used).sum()
    }

    fn is_open(&self, replica: &Replica<R>) -> bool {
        is_open(replica, self.census.panics)
    }

    /// The replica that a sticky request waits for: it may be asked, and was not asked in vain.
    fn stuck_to(&self, ticket: &Ticket) -> Option<usize> {
        let Affinity::Sticky(tag) = ticket.affinity else { return None };
        let is_it = |replica: &Replica<R>| {
            replica.tag == tag && self.is_open(replica) && !ticket.tried.contains(&replica.id)
        };
        self.replicas.iter().position(is_it)
    }

    /// Whether somebody may be asked who has not been yet.
    fn has_untried(&self, ticket: &Ticket) -> bool {
        let mut open = self.replicas.iter().filter(|replica| self.is_open(replica));
        open.any(|replica| !ticket.tried.contains(&replica.id))
    }

    /// Who was asked in vain is asked again only if there is nobody else and it is said to be up.
    fn may_ask(&self, replica: &Replica<R>, ticket: &Ticket, fresh: bool) -> bool {
        let tried = !ticket.tried.is_empty() && ticket.tried.contains(&replica.id);
        self.is_open(replica) && (!tried || (!fresh && replica.condition.standing == Standing::Up))
    }

    fn count(&mut self) {
        let standing = |standing| {
            move |replica: &&Replica<R>| {
                replica.condition.standing == standing && replica.condition.weight > 0
            }
        };
        let up = self.replicas.iter().filter(standing(Standing::Up)).count();
        let in_service = up + self.replicas.iter().filter(standing(Standing::Down)).count();
        let members =
            self.replicas.iter().filter(|replica| replica.condition.standing != Standing::Gone).count();
        let too_few = |percent: u8| up == 0 || up * 100 < usize::from(percent) * in_service;
        let panics = self.panic_percent.is_some_and(too_few);
        let open = || self.replicas.iter().filter(|replica| is_open(replica, panics));
        let limited = open().all(|replica| replica.condition.slots > 0);
        let slots = open().fold(0_u32, |sum, replica| sum.saturating_add(replica.condition.slots));
        let lower = open().map(|replica| replica.lower).sum();
        self.census = Census { up, in_service, members, panics, slots: limited.then_some(slots), lower };
    }
}

/// Whether it may be asked.
fn is_open<R>(replica: &Replica<R>, panics: bool) -> bool {
    let standing = replica.condition.standing;
    replica.condition.weight > 0 && (standing == Standing::Up || (panics && standing == Standing::Down))
}

impl Balance {
    const fn policy(self) -> pick::Policy {
        match self {
            Self::LeastInFlight | Self::Hash => pick::Policy::LeastInFlight,
            Self::RoundRobin => pick::Policy::RoundRobin,
            Self::TwoChoices => pick::Policy::TwoChoices,
        }
    }
}
