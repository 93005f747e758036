//! The clients of all workers, as far as they may know of one another. Kind: pure.
//!
//! Touched when a client comes and goes, and by the verbs that ask about clients or end them; never by a command that
//! goes to Redis. Numbers begin at 1 and are never used again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::wire::Resp;

/// Where a client came from, and what it called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over the Unix socket at this path.
    Unix(Box<str>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

/// What was asked of a client by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Summons {
    /// Nothing.
    #[default]
    None = 0,
    /// `CLIENT UNBLOCK`: its blocking call is to end as if its time were over.
    Timeout = 1,
    /// `CLIENT UNBLOCK … ERROR`.
    Error = 2,
    /// `CLIENT KILL`.
    Kill = 3,
}

/// What a client is doing, by the letter that `CLIENT LIST` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Doing {
    /// Nothing special.
    #[default]
    Normal = b'N',
    /// It waits in a blocking call.
    Blocked = b'b',
    /// It is in a transaction.
    Transaction = b'x',
    /// It subscribes.
    Subscribed = b'P',
    /// It watches every command.
    Monitor = b'O',
    /// Its reads are tracked.
    Tracking = b't',
}

impl Doing {
    const ALL: [Self; 6] =
        [Self::Normal, Self::Blocked, Self::Transaction, Self::Subscribed, Self::Monitor, Self::Tracking];

    /// The command that `CLIENT LIST` tells of it: the one that made it so; the last one of others is not kept.
    pub fn command(self) -> &'static str {
        match self {
            Self::Normal | Self::Tracking => "NULL",
            Self::Blocked => "blpop",
            Self::Transaction => "multi",
            Self::Subscribed => "subscribe",
            Self::Monitor => "monitor",
        }
    }

    fn of(letter: u8) -> Self {
        Self::ALL.into_iter().find(|doing| *doing as u8 == letter).unwrap_or_default()
    }
}

/// What a client says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// `CLIENT SETNAME`.
    pub name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Box<[u8]>,
    /// Who it has logged in as; none: nobody in particular.
    pub user: Option<Box<[u8]>>,
    /// The database that it has selected.
    pub db: u32,
    /// The version that it speaks.
    pub resp: Resp,
}

/// One client, as others see it.
#[derive(Debug)]
pub struct Guest {
    /// Its number.
    pub id: u64,
    /// Where it came from.
    pub addr: Address,
    /// What it called.
    pub laddr: Address,
    /// When it came, in milliseconds of the router's clock.
    pub since: u64,
    card: Mutex<Card>,
    doing: AtomicU8,
    summons: AtomicU8,
    /// Its own connection's number at the server; 0: it has none.
    upstream: AtomicU64,
    /// As whom it is known to Redis, by a number that says no more than whether two are the same.
    realm: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Guest {
    /// What it says about itself.
    pub fn card(&self) -> Card {
        lock(&self.card).clone()
    }

    /// Shows a changed card.
    pub fn show(&self, card: &Card) {
        lock(&self.card).clone_from(card);
    }

    /// As whom it is known to Redis.
    pub fn realm(&self) -> u64 {
        self.realm.load(Ordering::Relaxed)
    }

    /// It is known to Redis as somebody else now.
    pub fn belongs(&self, realm: u64) {
        self.realm.store(realm, Ordering::Relaxed);
    }

    /// What it is doing.
    pub fn doing(&self) -> Doing {
        Doing::of(self.doing.load(Ordering::Relaxed))
    }

    /// It does something else now.
    pub fn does(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// The number, at the server, of the connection that it has for itself.
    pub fn upstream(&self) -> Option<u64> {
        Some(self.upstream.load(Ordering::Relaxed)).filter(|id| *id > 0)
    }

    /// It has a connection for itself, of this number at the server, or has none any more.
    pub fn leases(&self, upstream: Option<u64>) {
        self.upstream.store(upstream.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whom to wake when it is summoned.
    pub fn wakes(&self, waker: &Waker) {
        let mut slot = lock(&self.waker);
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Whether anything was asked of it; costs next to nothing.
    #[inline]
    pub fn is_summoned(&self) -> bool {
        self.summons.load(Ordering::Relaxed) != Summons::None as u8
    }

    /// Whether it was asked to be gone. What else is asked is left for when it looks.
    pub fn is_killed(&self) -> bool {
        self.summons.load(Ordering::Acquire) == Summons::Kill as u8
    }

    /// What was asked of it since it last looked. To be killed is asked for ever.
    pub fn summoned(&self) -> Summons {
        let kept = self.summons.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
            (old != Summons::Kill as u8).then_some(Summons::None as u8)
        });
        match kept {
            Ok(1) => Summons::Timeout,
            Ok(2) => Summons::Error,
            Ok(_) => Summons::None,
            Err(_) => Summons::Kill,
        }
    }

    /// Asks something of it; the most that was asked counts.
    pub fn summon(&self, summons: Summons) {
        self.summons.fetch_max(summons as u8, Ordering::AcqRel);
        // Taken out first: whoever is woken may look at this guest at once.
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// All clients.
#[derive(Debug, Default)]
pub struct Registry {
    guests: Mutex<Guests>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Guests {
    last: u64,
    by_id: BTreeMap<u64, Arc<Guest>>,
}

impl Registry {
    /// A registry without clients, to be shared by all workers.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A client comes; it leaves when its guest card is dropped.
    pub fn enter(self: &Arc<Self>, addr: Address, laddr: Address, since: u64) -> Stay {
        let mut guests = lock(&self.guests);
        guests.last += 1;
        let guest = Arc::new(Guest {
            id: guests.last,
            addr,
            laddr,
            since,
            card: Mutex::default(),
            doing: AtomicU8::new(Doing::Normal as u8),
            summons: AtomicU8::default(),
            upstream: AtomicU64::default(),
            realm: AtomicU64::default(),
            waker: Mutex::default(),
        });
        guests.by_id.insert(guest.id, Arc::clone(&guest));
        drop(guests);
        Stay { registry: Arc::clone(self), guest }
    }

    /// The number of a realm: the same for the same identity, until the process ends.
    pub fn realm(&self, identity: &impl Hash) -> u64 {
        self.hasher.hash_one(identity)
    }

    /// The client of this number, if it belongs to the realm.
    pub fn find(&self, id: u64, realm: u64) -> Option<Arc<Guest>> {
        lock(&self.guests).by_id.get(&id).filter(|guest| guest.realm() == realm).cloned()
    }

    /// All clients of a realm, by number. Nobody sees others: what Redis lets him do there, only Redis knows.
    pub fn all(&self, realm: u64) -> Vec<Arc<Guest>> {
        lock(&self.guests).by_id.values().filter(|guest| guest.realm() == realm).cloned().collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        lock(&self.guests).by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A client's stay, which ends when this is dropped.
#[derive(Debug)]
pub struct Stay {
    registry: Arc<Registry>,
    guest: Arc<Guest>,
}

impl Stay {
    /// The client, as others see it.
    pub fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Where it is entered.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        lock(&self.registry.guests).by_id.remove(&self.guest.id);
    }
}

/// A session that panicked has left nothing half done: all that is done under a lock is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn enter(registry: &Arc<Registry>, port: u16) -> Stay {
        let address = |port| Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
        registry.enter(address(port), address(6379), 1_000)
    }

    #[test]
    fn numbers_are_never_used_again() {
        let registry = Registry::new();
        let (one, two) = (enter(&registry, 1), enter(&registry, 2));
        assert_eq!((one.guest().id, two.guest().id, registry.len()), (1, 2, 2));
        drop(two);
        assert!(registry.find(2, 0).is_none());
        assert_eq!(enter(&registry, 3).guest().id, 3);
        assert_eq!(registry.all(0).iter().map(|guest| guest.id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_summons_is_heard_once_and_death_for_ever() {
        let registry = Registry::new();
        let stay = enter(&registry, 1);
        let guest = stay.guest();
        for summons in [Summons::Timeout, Summons::Error] {
            guest.summon(summons);
            assert_eq!((guest.summoned(), guest.summoned()), (summons, Summons::None));
        }
        guest.summon(Summons::Kill);
        guest.summon(Summons::Timeout);
        assert_eq!((guest.summoned(), guest.summoned()), (Summons::Kill, Summons::Kill));
    }

    #[test]
    fn who_is_summoned_is_woken() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(false.into()));
        let registry = Registry::new();
        let stay = enter(&registry, 1);
        stay.guest().summon(Summons::Error);
        stay.guest().wakes(&Waker::from(Arc::clone(&flag)));
        stay.guest().summon(Summons::Kill);
        assert!(flag.0.load(Ordering::SeqCst));
    }

    #[test]
    fn what_a_client_does_has_a_letter() {
        let registry = Registry::new();
        let stay = enter(&registry, 1);
        for doing in Doing::ALL {
            stay.guest().does(doing);
            assert_eq!(stay.guest().doing(), doing);
        }
    }
}
