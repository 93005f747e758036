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

mod answers;
mod ledger;
mod receiver;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use proxy_core::backoff::Backoff;
use proxy_core::link::Link;
use proxy_core::tasks;
use proxy_core::upstream::pool::Role;
use proxy_core::upstream::{Endpoint, Held};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};

pub use answers::{HOLD_FULL, NO_MASTER};
pub use ledger::Nature;

use crate::command::Class;
use crate::server::LoginError;
use crate::session::Downstream;
use crate::session::pinned::UNKNOWN;
use crate::site::{Lane, Site};
use crate::wire::build::{put_bulk, put_request};
use answers::refusal;
use ledger::{Entry, Ledger};
use receiver::{Course, Disorder, Payee, Receiver, Rejections};

/// Requests whose outcome is open, in bytes, beyond which sessions stop reading their clients.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// Below this they go on.
const ROOM_BYTES: usize = FULL_BYTES / 2;

/// How long the replies behind a rejected one are waited for before they count as lost.
const JUDGING: Duration = Duration::from_millis(200);

/// A shared connection that no client uses is closed after so long.
const IDLE: Duration = Duration::from_secs(60);

/// Between two canaries on a connection that is in use.
const CANARY_EVERY: u64 = 1_000_000;

/// A request that has had no reply for so long makes its server suspect.
const SUSPECT_AFTER: u64 = 250_000;

/// The pause after a first failed attempt to connect, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

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
    idle_since: Cell<u64>,
    canary_at: Cell<u64>,
    retired: Cell<bool>,
}

/// An open connection.
struct Conn {
    link: Link,
    receiver: Receiver,
    endpoint: Arc<Endpoint>,
    epoch: u64,
    /// Until when the replies behind a rejected one may come.
    judging_until: Option<Instant>,
}

/// Why a connection ended.
#[derive(Debug)]
enum Loss {
    /// The topology has moved on.
    Fenced,
    /// The server rejects what it should do.
    Rejected,
    /// It closed or failed.
    Cut(String),
    /// Its replies can't be trusted.
    Disorder(Disorder),
    /// Nobody needs it any more.
    Idle,
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
    pub fn enter(&self, client: &Rc<Downstream>, request: &[u8], nature: Nature, replies: u32, class: Class) {
        client.owe();
        let recipient = Recipient::Client(client.clone());
        let entry = Entry::new(recipient, nature, replies, class as u16, self.site.now());
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
        idle > IDLE && self.ledger.borrow().is_empty()
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

    /// Connects, carries, and begins anew, until nobody needs it.
    async fn run(self: Rc<Self>) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Some(target) = self.target().await.filter(|_| !self.is_unused()) {
            let epoch = self.site.topology().epoch;
            let opened = self.meanwhile(self.site.dial.log_in(target.addr(), &self.lane.purpose)).await;
            let loss = match opened {
                Ok((link, _)) => {
                    let (loss, worked) = self.carry(link, &target, epoch).await;
                    if worked {
                        backoff.reset();
                    }
                    self.lose(&target, &loss);
                    loss
                }
                Err(LoginError::Denied(answer)) => {
                    self.refuse(&answer);
                    self.until_wanted().await;
                    Loss::Rejected
                }
                Err(error) => {
                    self.site.dial.watcher.suspect(&target);
                    tracing::debug!(server = %target.addr(), %error, "no shared connection");
                    Loss::Rejected
                }
            };
            match loss {
                Loss::Idle => break,
                Loss::Fenced => {}
                _ => self.pause(backoff.next_delay(fastrand::u32(..))).await,
            }
        }
        self.retired.set(true);
    }

    /// Waits for a server to connect to; none if the lane is to be given up.
    async fn target(&self) -> Option<Arc<Endpoint>> {
        let found = poll_fn(|_| match self.site.target(&self.lane) {
            Some(target) => Poll::Ready(Some(target)),
            None if self.is_unused() => Poll::Ready(None),
            None => Poll::Pending,
        });
        self.meanwhile(found).await
    }

    /// A pause that a new topology ends.
    async fn pause(&self, time: Duration) {
        let revision = self.site.topology().revision;
        let mut slept = pin!(sleep(time));
        let woken = poll_fn(|cx| match self.site.topology().revision == revision {
            true => slept.as_mut().poll(cx),
            false => Poll::Ready(()),
        });
        self.meanwhile(woken).await;
    }

    /// Awaits `work` while there is no connection: what waits too long is answered meanwhile.
    async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.register(cx);
            self.expire();
            self.tell_answered();
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Answers what has waited for as long as the hold allows.
    fn expire(&self) {
        let patience = self.site.common.hold.deadline().saturating_duration_since(Instant::now());
        let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        let Some(moment) = self.site.now().checked_sub(patience) else { return };
        let answer = |replies| refusal(NO_MASTER.as_bytes(), replies);
        let expired = self.ledger.borrow_mut().expire(moment, answer);
        self.site.tally.expired(expired as u64);
    }

    /// Gives out the answers that nothing stands ahead of any more.
    fn tell_answered(&self) {
        loop {
            let answered = self.ledger.borrow_mut().take_answered();
            let Some((entry, answer)) = answered else { return };
            if let Recipient::Client(client) = entry.payee {
                client.hear(&answer);
                client.settle(answer.len());
                client.flush();
            }
        }
    }

    /// The server does not take this login: that is the answer to all who wait.
    fn refuse(&self, answer: &[u8]) {
        self.ledger.borrow_mut().expire(u64::MAX, |replies| refusal(answer, replies));
        self.tell_answered();
        self.let_crowd_in();
    }

    /// Waits for a request, or for the end of the lane.
    async fn until_wanted(&self) {
        let wanted = poll_fn(|_| match self.ledger.borrow().is_empty() && !self.is_unused() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        self.meanwhile(wanted).await;
    }

    /// What became of the requests that were under way.
    fn lose(&self, target: &Arc<Endpoint>, loss: &Loss) {
        match loss {
            Loss::Disorder(disorder) => {
                self.site.tally.disordered();
                tracing::error!(server = %target.addr(), %disorder, "a shared connection is given up with all that it owes");
            }
            Loss::Idle => {}
            loss => {
                self.site.dial.watcher.suspect(target);
                tracing::debug!(server = %target.addr(), ?loss, "a shared connection is lost");
            }
        }
        let unknown = format!("-{UNKNOWN}\r\n");
        let losses = self.ledger.borrow_mut().lost(|replies| refusal(unknown.as_bytes(), replies));
        self.site.tally.lost(losses.replayed, losses.unknown);
        for _ in 0..self.ledger.borrow().len() {
            let held = self.site.common.hold.enter(0); // they wait; that they may, was decided when they came
            self.held.borrow_mut().extend(held.ok());
        }
        self.tell_answered();
    }

    /// Moves bytes for as long as the connection lives. Also: whether it was of any use.
    async fn carry(&self, link: Link, target: &Arc<Endpoint>, epoch: u64) -> (Loss, bool) {
        self.held.borrow_mut().clear();
        self.connected.set(true);
        self.let_crowd_in();
        let rejections = match self.lane.purpose.role {
            Role::Primary => Rejections::OfMaster,
            Role::Replica => Rejections::OfReplica,
        };
        let endpoint = target.clone();
        let receiver = Receiver::new(rejections);
        let mut conn = Conn { link, receiver, endpoint, epoch, judging_until: None };
        let (began, mut heard) = (Instant::now(), false);
        let loss = poll_fn(|cx| {
            self.register(cx);
            self.poll_turn(&mut conn, cx, &mut heard)
        })
        .await;
        self.connected.set(false);
        self.cut_torn(&conn);
        (loss, heard || began.elapsed() > PAUSES.1)
    }

    /// A client that has heard the beginning of a reply can't be told the rest: it must not live on with half of it.
    fn cut_torn(&self, conn: &Conn) {
        if !conn.receiver.is_torn() {
            return;
        }
        if let Some(Recipient::Client(client)) = self.ledger.borrow().front().map(|entry| &entry.payee) {
            client.cut();
        }
    }

    fn poll_turn(&self, conn: &mut Conn, cx: &mut Context<'_>, heard: &mut bool) -> Poll<Loss> {
        if !self.site.may_stay(&self.lane, &conn.endpoint, conn.epoch) {
            return Poll::Ready(Loss::Fenced);
        }
        if let Poll::Ready(loss) = self.poll_replies(conn, cx, heard) {
            return Poll::Ready(loss);
        }
        if conn.judging_until.is_some_and(|until| Instant::now() >= until) {
            return Poll::Ready(Loss::Rejected);
        }
        if self.is_unused() {
            return Poll::Ready(Loss::Idle);
        }
        self.poll_requests(conn, cx)
    }

    /// All that came in since the last turn goes out in one write.
    #[inline]
    fn poll_requests(&self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<Loss> {
        let mut ledger = self.ledger.borrow_mut();
        if ledger.is_judging() || ledger.unsent().is_empty() {
            return Poll::Pending;
        }
        self.send_canary(&mut ledger);
        match ready!(conn.link.poll_put(cx, ledger.unsent())) {
            Ok(n) => ledger.sent(n),
            Err(error) => return Poll::Ready(Loss::Cut(error.to_string())),
        }
        Poll::Pending
    }

    /// Now and then a request of our own, whose reply must be where it belongs.
    #[inline]
    fn send_canary(&self, ledger: &mut Ledger<Recipient>) {
        let now = self.site.now();
        self.idle_since.set(now);
        if now - self.canary_at.get() < CANARY_EVERY {
            return;
        }
        self.canary_at.set(now);
        let nonce = fastrand::u64(..).to_string();
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        put_request(&mut request, &[b"ECHO", nonce.as_bytes()]);
        put_bulk(&mut reply, nonce.as_bytes());
        let entry = Entry::new(Recipient::Canary(reply.into()), Nature::Read, 1, 0, now);
        ledger.enter(entry, &request);
    }

    fn poll_replies(&self, conn: &mut Conn, cx: &mut Context<'_>, heard: &mut bool) -> Poll<Loss> {
        loop {
            let mut scratch = self.site.scratch().borrow();
            match ready!(conn.link.poll_fill(cx, &mut scratch)) {
                Ok(0) => return Poll::Ready(Loss::Cut("closed by the server".to_owned())),
                Ok(n) => {
                    *heard = true;
                    match self.give_out(conn, &scratch[..n]) {
                        Ok(Course::On) => {}
                        Ok(Course::Rejected) => return Poll::Ready(Loss::Rejected),
                        Err(disorder) => return Poll::Ready(Loss::Disorder(disorder)),
                    }
                }
                Err(error) => return Poll::Ready(Loss::Cut(error.to_string())),
            }
        }
    }

    /// Gives each reply to its client, and writes each client's replies once.
    #[inline]
    fn give_out(&self, conn: &mut Conn, bytes: &[u8]) -> Result<Course, Disorder> {
        let mut ledger = self.ledger.borrow_mut();
        let mut stirred = self.site.tally.stirred();
        let now = self.site.now();
        let course = conn.receiver.take(bytes, &mut ledger, &mut |entry, size| {
            if let Recipient::Client(client) = entry.payee {
                self.site.tally.answered(entry.tag, now.saturating_sub(entry.at));
                if client.settle(size) {
                    stirred.push(client);
                }
            }
        });
        if conn.judging_until.is_none() && ledger.is_judging() {
            conn.judging_until = Some(Instant::now() + JUDGING);
        }
        let room = ledger.held_bytes() < ROOM_BYTES;
        drop(ledger);
        stirred.drain(..).for_each(|client| client.flush());
        if room && !self.crowd.borrow().is_empty() {
            self.let_crowd_in();
        }
        // Whoever hears a reply in parts has not been settled yet.
        if conn.receiver.is_torn() {
            if let Some(Recipient::Client(client)) = self.ledger.borrow().front().map(|entry| &entry.payee) {
                client.flush();
            }
        }
        self.tell_answered();
        course
    }

    fn let_crowd_in(&self) {
        self.crowd.take().into_iter().for_each(Waker::wake);
    }
}
