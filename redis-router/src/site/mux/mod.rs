//! A shared connection: requests of many clients go out in one write per turn of the event loop, replies come back in
//! one read and are written straight to their clients. Kind: driver.
//!
//! ```text
//!   sessions ──enter──▶ Ledger ──one write per turn──▶ server
//!   clients ◀──write── Downstream ◀──reply── Receiver ◀── server
//! ```
//!
//! It outlives its connection: while there is none, requests wait in the ledger (within the hold's limits), and the
//! next connection goes on from there. What became of those that were under way the ledger tells.

mod carry;
mod ledger;
mod life;
mod receiver;

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use proxy_core::tasks;
use proxy_core::upstream::Held;
use tokio::task::coop::unconstrained;

pub use ledger::Nature;

use crate::answers::{HOLD_FULL, refusal};
use crate::command::CommandId;
use crate::downstream::Downstream;
use crate::site::{Lane, Site};
use ledger::{Entry, Ledger};
use receiver::Payee;

/// Requests whose outcome is open, in bytes, beyond which sessions stop reading their clients.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// Below this they go on.
const ROOM_BYTES: usize = FULL_BYTES / 2;

/// A shared connection that no client uses is closed after so long.
const IDLE: Duration = Duration::from_secs(60);

/// A request that has had no reply for so long makes its server suspect.
const SUSPECT_AFTER: u64 = 250_000;

/// Whom a reply belongs to.
enum Recipient {
    Client(Rc<Downstream>),
    /// Nobody: it must be this, which shows that no reply was lost or added.
    Canary(Box<[u8]>),
}

impl Payee for Recipient {
    #[inline]
    fn hear(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Client(client) => {
                client.hear(bytes);
                true
            }
            // Whoever may not ECHO is told so in the canary's place, which proves as much.
            Self::Canary(expected) => **expected == *bytes || bytes.starts_with(b"-NOPERM "),
        }
    }
}

/// See the module.
pub struct Mux {
    lane: Lane,
    site: Rc<Site>,
    ledger: RefCell<Ledger<Recipient>>,
    waker: RefCell<Waker>,
    /// The task knows that there is something to do.
    awake: Cell<bool>,
    connected: Cell<bool>,
    /// Sessions that wait for room.
    crowd: RefCell<Vec<Waker>>,
    /// What the ledger's entries occupy in the hold while there is no master.
    held: RefCell<Vec<Held>>,
    /// Sessions that may enter requests.
    users: Cell<usize>,
    idle_since: Cell<u64>,
    canary_at: Cell<u64>,
    retired: Cell<bool>,
}

/// A session's share in a shared connection, which lives as long as somebody has one.
pub struct Share(Rc<Mux>);

impl Share {
    /// One more session uses it.
    pub(super) fn of(mux: &Rc<Mux>) -> Self {
        mux.users.set(mux.users.get() + 1);
        Self(mux.clone())
    }
}

impl Deref for Share {
    type Target = Mux;
    #[inline]
    fn deref(&self) -> &Mux {
        &self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.users.set(self.users.get() - 1);
        self.idle_since.set(self.site.now());
    }
}

impl Mux {
    /// Opens a lane; it connects at once.
    pub fn open(lane: Lane, site: Rc<Site>) -> Rc<Self> {
        let now = site.now();
        let mux = Rc::new(Self {
            lane,
            site,
            ledger: RefCell::default(),
            waker: RefCell::new(Waker::noop().clone()),
            awake: Cell::new(false),
            connected: Cell::new(false),
            crowd: RefCell::default(),
            held: RefCell::default(),
            users: Cell::new(0),
            idle_since: Cell::new(now),
            canary_at: Cell::new(now),
            retired: Cell::new(false),
        });
        tasks::spawn_session(unconstrained(mux.clone().run()));
        mux
    }

    /// Which lane this is.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Enters a request of `client` that expects so many replies. Its bytes leave at the end of this turn.
    #[inline]
    pub fn enter(
        &self,
        client: &Rc<Downstream>,
        request: &[u8],
        nature: Nature,
        replies: u32,
        command: CommandId,
    ) {
        client.owe();
        let recipient = Recipient::Client(client.clone());
        let entry = Entry::new(recipient, nature, replies, command.index() as u16, self.site.now());
        if !self.connected.get() && !self.find_room(request.len()) {
            let answer = refusal(HOLD_FULL.as_bytes(), replies);
            self.ledger.borrow_mut().enter_answered(entry, answer);
        } else {
            self.ledger.borrow_mut().enter(entry, request);
        }
        self.wake();
    }

    /// While there is no master: a place in the hold.
    #[cold]
    fn find_room(&self, bytes: usize) -> bool {
        if self.site.target(&self.lane).is_some() {
            return true; // it is being connected to
        }
        let held = self.site.common.hold.enter(bytes);
        held.map(|held| self.held.borrow_mut().push(held)).is_ok()
    }

    /// True if sessions must not enter more now; the waker is woken when they may.
    #[inline]
    pub fn is_full(&self, waker: &Waker) -> bool {
        let full = self.ledger.borrow().held_bytes() > FULL_BYTES;
        if full {
            self.crowd.borrow_mut().push(waker.clone());
        }
        full
    }

    /// Bytes of requests whose outcome is open.
    pub fn held_bytes(&self) -> usize {
        self.ledger.borrow().held_bytes()
    }

    /// The topology has changed.
    pub fn look(&self) {
        self.wake();
    }

    /// Some time has passed.
    pub fn beat(&self) {
        let now = self.site.now();
        let waits = self.ledger.borrow().oldest();
        match waits {
            Some(since) if self.connected.get() && now.saturating_sub(since) > SUSPECT_AFTER => {
                if let Some(endpoint) = self.site.target(&self.lane) {
                    self.site.dial.watcher.suspect(&endpoint);
                }
            }
            Some(_) => self.idle_since.set(now),
            None => {}
        }
        if waits.is_some() || self.is_unused() {
            self.wake();
        }
    }

    /// True once its task has ended and its lane is to be forgotten.
    pub fn is_retired(&self) -> bool {
        self.retired.get()
    }

    fn is_unused(&self) -> bool {
        let idle = Duration::from_micros(self.site.now().saturating_sub(self.idle_since.get()));
        idle > IDLE && self.users.get() == 0 && self.ledger.borrow().is_empty()
    }

    #[inline]
    fn wake(&self) {
        if !self.awake.replace(true) {
            self.waker.borrow().wake_by_ref();
        }
    }

    #[inline]
    fn register(&self, cx: &Context<'_>) {
        self.awake.set(false);
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(cx.waker()) {
            *known = cx.waker().clone();
        }
    }

    /// Sessions that waited for room go on, if there is some.
    #[inline]
    fn make_room(&self) {
        if !self.crowd.borrow().is_empty() && self.held_bytes() < ROOM_BYTES {
            self.let_crowd_in();
        }
    }

    fn let_crowd_in(&self) {
        self.crowd.take().into_iter().for_each(Waker::wake);
    }
}
