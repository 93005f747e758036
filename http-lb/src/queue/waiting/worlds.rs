//! The queue in worlds where everything happens at random: what must hold, whatever happens. Kind: driver.
//!
//! Each world is made from a seed, which a failure prints; `check(seed)` shows it again.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::super::fleet::{Balance, Standing};
use super::super::ticket::{Affinity, ClientKey, Tag};
use super::*;

const WORLDS: u64 = 400;
const STEPS: usize = 400;
const RANKS: u8 = 4;
const CLIENTS: u64 = 5;
const MS: Duration = Duration::from_millis(1);

/// A request that waits, as the world remembers it.
#[derive(Clone, Debug)]
struct Waits {
    place: Place,
    ticket: Ticket,
}

/// What has happened, beside the queue and without its help.
struct World {
    queue: Waiting<u64, u64>,
    rng: Rng,
    now: Instant,
    limits: Limits,
    next: u64,
    waiting: BTreeMap<u64, Waits>,
    held: BTreeMap<u64, (ReplicaId, Class)>,
    answered: BTreeSet<u64>,
    asked: u64,
    left: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = Limits {
            max: rng.usize(0..30),
            per_class: std::array::from_fn(|_| if rng.bool() { usize::MAX } else { rng.usize(0..12) }),
            reserved: rng.u32(0..4),
            low_share_percent: rng.u8(0..50),
            timeout: MS,
        };
        let balances = [Balance::LeastInFlight, Balance::RoundRobin, Balance::TwoChoices, Balance::Hash];
        let panic = [None, Some(0), Some(50)][rng.usize(0..3)];
        let mut fleet = Fleet::new(balances[rng.usize(0..4)], limits.reserved, panic);
        for name in 0..rng.u64(0..5) {
            let condition = condition(&mut rng);
            fleet.add(name, Tag(name), name, condition);
        }
        let queue = Waiting::new(fleet, limits.clone());
        let (waiting, held, answered) = Default::default();
        let now = Instant::now();
        Self { queue, rng, now, limits, next: 0, waiting, held, answered, asked: 0, left: 0 }
    }

    fn step(&mut self) {
        let mut news = Vec::new();
        match self.rng.u8(0..12) {
            0..=4 => self.ask(&mut news),
            5..=7 => self.done(&mut news),
            8 => self.leave(),
            9 => self.turn(&mut news),
            10 => {
                self.now += self.rng.u32(0..40) * MS;
                self.queue.expire(self.now, &mut news);
            }
            _ => self.again(&mut news),
        }
        self.hear(news);
        self.holds();
    }

    fn ticket(&mut self) -> Ticket {
        let class = Class::new(self.rng.u8(0..RANKS)).unwrap();
        let deadline = self.now + self.rng.u32(0..200) * MS;
        let affinity = match self.rng.u8(0..6) {
            0 => Affinity::Sticky(Tag(self.rng.u64(0..6))),
            1 => Affinity::Key(self.rng.u64(..)),
            _ => Affinity::None,
        };
        Ticket::new(class, ClientKey::new(self.rng.u64(0..CLIENTS)), deadline).towards(affinity)
    }

    fn ask(&mut self, news: &mut Vec<News<u64>>) {
        let ticket = self.ticket();
        self.put(&ticket, news);
    }

    fn put(&mut self, ticket: &Ticket, news: &mut Vec<News<u64>>) {
        let caller = self.next;
        self.next += 1;
        self.asked += 1;
        if let Some(id) = self.queue.take(ticket, self.rng.u64(..)) {
            self.held.insert(caller, (id, ticket.class));
            return;
        }
        let full = self.queue.len() - self.queue.again >= self.limits.max;
        match self.queue.join(ticket, self.now, caller, news) {
            Ok(place) => _ = self.waiting.insert(caller, Waits { place, ticket: ticket.clone() }),
            Err(reason) => {
                let of_class = self.queue.len_of(ticket.class);
                let limit = self.limits.per_class[ticket.class.index()];
                assert!(reason != Shed::Full || full || of_class >= limit, "refused without need");
                self.answered.insert(caller);
            }
        }
    }

    fn any_held(&mut self) -> Option<u64> {
        let at = self.rng.usize(0..self.held.len().max(1));
        self.held.keys().nth(at).copied()
    }

    fn done(&mut self, news: &mut Vec<News<u64>>) {
        let Some(caller) = self.any_held() else { return };
        let (id, class) = self.held.remove(&caller).unwrap();
        self.answered.insert(caller);
        let took = self.rng.bool().then(|| self.rng.u32(1..500) * MS);
        self.queue.give_back((id, class), took, self.now, self.rng.u64(..), news);
    }

    /// A replica fails a request, which asks for another one.
    fn again(&mut self, news: &mut Vec<News<u64>>) {
        let Some(caller) = self.any_held() else { return };
        let (id, class) = self.held[&caller];
        self.done(news);
        let mut ticket = Ticket { class, ..self.ticket() };
        ticket.was_at(id);
        self.hear(std::mem::take(news));
        self.put(&ticket, news);
    }

    fn leave(&mut self) {
        let at = self.rng.usize(0..self.waiting.len().max(1));
        let Some((&caller, waits)) = self.waiting.iter().nth(at) else { return };
        assert_eq!(self.queue.leave(waits.place), Some(caller));
        assert_eq!(self.queue.leave(waits.place), None);
        self.waiting.remove(&caller);
        self.left += 1;
    }

    fn turn(&mut self, news: &mut Vec<News<u64>>) {
        let condition = condition(&mut self.rng);
        let count = self.queue.fleet.replicas.len();
        match self.rng.usize(0..=count.max(1)) {
            at if at < count => _ = self.queue.set(self.queue.fleet.replicas[at].id, condition),
            _ if count < 6 => _ = self.queue.fleet.add(self.next, Tag(count as u64), self.next, condition),
            _ => self.queue.fleet.forget_gone(),
        }
        self.queue.dispatch(self.now, self.rng.u64(..), news);
    }

    fn hear(&mut self, news: Vec<News<u64>>) {
        for News { caller, class, verdict } in news {
            let waits = self.waiting.remove(&caller).expect("who is told something waits, and is told once");
            assert_eq!(waits.ticket.class, class);
            match verdict {
                Ok(id) => {
                    assert!(waits.ticket.deadline > self.now, "who is late is not granted");
                    assert!(self.held.insert(caller, (id, class)).is_none(), "granted twice");
                    self.suits(&waits.ticket, id);
                }
                Err(reason) => {
                    assert!(reason != Shed::Deadline || waits.ticket.deadline <= self.now, "shed too early");
                    self.answered.insert(caller);
                }
            }
        }
    }

    /// The replica that was granted is one that the request may have.
    fn suits(&self, ticket: &Ticket, id: ReplicaId) {
        let replica = self.queue.fleet.find(id).expect("it exists");
        let standing = replica.condition.standing;
        let panics = self.queue.fleet.census.panics;
        assert!(standing == Standing::Up || (panics && standing == Standing::Down), "{standing:?} was asked");
        assert!(replica.condition.weight > 0);
        assert!(!ticket.tried.contains(&id) || standing == Standing::Up, "in vain once more");
    }

    /// What must be true at any time.
    fn holds(&self) {
        let fleet = &self.queue.fleet;
        let mut used: BTreeMap<ReplicaId, u32> = BTreeMap::new();
        self.held.values().for_each(|(id, _)| *used.entry(*id).or_default() += 1);
        for replica in &fleet.replicas {
            assert_eq!(replica.used, used.remove(&replica.id).unwrap_or_default(), "slots are counted");
        }
        assert!(used.is_empty(), "a slot of nobody: {used:?}");
        assert_eq!(self.queue.len(), self.waiting.len());
        for waits in self.waiting.values() {
            assert!(waits.ticket.deadline > self.now || self.queue.deadlines.first().is_some());
            let chosen = self.queue.fleet.choose(&waits.ticket, 0);
            assert_eq!(chosen, None, "a slot is free that somebody waits for: {waits:?}");
        }
        let retries = self.waiting.values().filter(|waits| waits.ticket.attempts() > 0).count();
        assert!(self.waiting.len() - retries <= self.limits.max);
        let total = self.waiting.len() + self.held.len() + self.answered.len();
        assert_eq!(total as u64 + self.left, self.asked, "nobody is lost");
        self.reserve_holds();
    }

    /// Lower classes had been let into no more than what was not reserved; conditions may have changed since, so that
    /// only who would come now is judged.
    fn reserve_holds(&self) {
        let fleet = &self.queue.fleet;
        let Some(slots) = fleet.census.slots else { return };
        let is_open = |id: &ReplicaId| {
            let replica = fleet.find(*id).expect("it is held");
            replica.condition.weight > 0
                && match replica.condition.standing {
                    Standing::Up => true,
                    Standing::Down => fleet.census.panics,
                    Standing::Away | Standing::Gone => false,
                }
        };
        let lower = self.held.values().filter(|(id, class)| *class != Class::TOP && is_open(id)).count();
        let reserved = self.limits.reserved.min(slots.saturating_sub(1));
        let admitted = fleet.admits(Class::new(RANKS).unwrap());
        assert_eq!(admitted, (lower as u32) < slots - reserved, "{lower} of {slots}, {reserved} reserved");
    }
}

fn condition(rng: &mut Rng) -> Condition {
    let standings =
        [Standing::Up, Standing::Up, Standing::Up, Standing::Down, Standing::Away, Standing::Gone];
    let weight = if rng.u8(0..10) == 0 { 0 } else { rng.u32(1..1000) };
    let slots = if rng.u8(0..10) == 0 { 0 } else { rng.u32(1..5) };
    Condition { standing: standings[rng.usize(0..standings.len())], weight, slots }
}

/// Names the world that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the world of seed {}", self.0);
        }
    }
}

fn check(seed: u64) {
    let _seed = Seed(seed);
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.step());
}

#[test]
fn whatever_happens_slots_are_exact_and_nobody_is_lost() {
    let first = fastrand::u64(..);
    (0..WORLDS).for_each(|n| check(first.wrapping_add(n)));
}

/// One slot, no deadlines, no limits: then the order alone is at stake.
#[test]
fn between_two_turns_of_a_client_everybody_else_has_one_at_most() {
    for _ in 0..WORLDS {
        let seed = fastrand::u64(..);
        let _seed = Seed(seed);
        let mut rng = Rng::with_seed(seed);
        let mut fleet = Fleet::new(Balance::LeastInFlight, 0, None);
        let condition = Condition { standing: Standing::Up, weight: 1, slots: 1 };
        let replica = fleet.add(0, Tag(0), 0, condition);
        let mut queue = Waiting::<u64, (u8, u64)>::new(fleet, Limits { max: 1000, ..Limits::default() });
        let now = Instant::now();
        let (mut news, mut holder) = (Vec::new(), None);
        // Who was served since a client that waits had its last turn, by class.
        let mut since: BTreeMap<(u8, u64), BTreeMap<u64, u32>> = BTreeMap::new();
        for step in 0..300 {
            let (rank, client) = (rng.u8(0..RANKS), rng.u64(0..CLIENTS));
            let class = Class::new(rank).unwrap();
            let ticket = Ticket::new(class, ClientKey::new(client), now + MS);
            if step < 100 || rng.bool() {
                match queue.take(&ticket, 0) {
                    Some(_) => holder = Some(class),
                    None => {
                        queue.join(&ticket, now, (rank, client), &mut news).unwrap();
                        since.entry((rank, client)).or_default();
                    }
                }
            } else if let Some(class) = holder.take() {
                queue.give_back((replica, class), None, now, 0, &mut news);
            }
            for News { caller: (rank, client), class, .. } in news.drain(..) {
                holder = Some(class);
                for (_, served) in since.iter_mut().filter(|((other, _), _)| *other == rank) {
                    *served.entry(client).or_default() += 1;
                }
                let still = queue.lines[class.index()].len_of(ClientKey::new(client)) > 0;
                since.remove(&(rank, client));
                if still {
                    since.insert((rank, client), BTreeMap::new());
                }
            }
            assert!(since.values().flat_map(BTreeMap::values).all(|turns| *turns <= 1), "{since:?}");
        }
    }
}
