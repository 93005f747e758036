//! A client on a connection of its own: bytes go both ways, the [`Pinned`] machine says whose they are and, when the
//! connection is lost, how to go on with the next. Kind: driver.
//!
//! The phase ends when nothing of the client lives on the connection any more, which then goes back to its pool.

mod hear;
mod say;

use std::future::{Future, poll_fn};
use std::ops::ControlFlow::{Break, Continue};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proxy_core::backoff::Backoff;
use proxy_core::relay::pipe::Pipe;
use proxy_core::session::Ending;
use proxy_core::tasks;
use proxy_core::upstream::pool::{Lease, Pool, Refusal, Reuse};
use proxy_core::worker::Pulse;
use tokio::time::{Instant, sleep};

use super::driver::Session;
use super::pinned::{Barrier, Pinned, Recovery};
use super::registry::{Doing, Summons};
use crate::command::{self, Command, Route};
use crate::server::Leasehold;
use crate::wire::build::{put_error, put_request};
use crate::wire::{Args, Framed, ReplyFramer};
use say::Large;

/// Reads of each side in one turn: 64 KiB at most, or two pipes that nobody copies, so that a client that streams does not
/// keep its worker's others waiting.
const TURN_READS: u32 = 2;

/// The pause after a first failure to go on, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// What a client hears that waited in vain.
const NO_SERVER: &str = "LOADING no Redis server can be reached; the command was not sent, try again";

/// What the loop can't do by itself.
enum Event {
    /// The phase is over.
    Done,
    /// The session is over.
    End(Ending),
    /// The connection is lost, or must not be used any more.
    Lost,
    /// The server turned something away that it can't run where it stands.
    TurnedAway,
    /// The router itself answers this request.
    Local { verb: command::Verb, quiet: bool, request: Box<[u8]> },
}

/// See the module.
struct Own<'a> {
    session: &'a mut Session,
    pinned: Pinned,
    lease: Option<Lease<Leasehold>>,
    replies: ReplyFramer,
    /// What has come of a reply and is kept back.
    kept: Vec<u8>,
    /// Where the rest of a reply goes that is passed on as it comes.
    passing: Option<bool>,
    /// By which way, while a long string of it runs between plain sockets.
    pipe: Option<Pipe>,
    /// A request is coming in that is passed on in pieces, or dropped.
    large: Option<Large>,
    /// The client's next request waits until more is answered.
    waits: bool,
    /// It waits for the barrier of a planned failover to fall.
    barred: bool,
    /// Something was turned away: only what is on its way is awaited.
    turned_away: bool,
    /// Since when nothing was answered but that.
    turned_away_since: Option<Instant>,
    pauses: Backoff,
    /// A call is under way that waits for something to happen.
    blocks: bool,
    again: bool,
}

impl Session {
    /// Serves the client, whose next request is `first`, on a connection of its own for as long as it needs one.
    pub(super) async fn carry_pinned(&mut self, first: &[u8]) -> Result<(), Ending> {
        self.down.link().inbox.put_back(first);
        self.carry_own().await
    }

    /// As [`Session::carry_pinned`], for a request that is too large to be gathered; its beginning is in the inbox.
    pub(super) async fn carry_large(&mut self) -> Result<(), Ending> {
        self.settled().await?;
        self.framer = crate::wire::RequestFramer::default(); // it looks at the beginning once more
        self.carry_own().await
    }

    async fn carry_own(&mut self) -> Result<(), Ending> {
        self.tally.leased();
        let (resp, db) = (self.resp(), self.db());
        let mut own = Own {
            session: self,
            pinned: Pinned::new(resp, db, Barrier::default()),
            lease: None,
            replies: ReplyFramer::default(),
            kept: Vec::new(),
            passing: None,
            pipe: None,
            large: None,
            waits: false,
            barred: false,
            turned_away: false,
            turned_away_since: None,
            pauses: Backoff::new(PAUSES.0, PAUSES.1),
            blocks: false,
            again: true,
        };
        let outcome = own.run().await;
        own.part();
        outcome
    }
}

impl Own<'_> {
    async fn run(&mut self) -> Result<(), Ending> {
        if !self.connect().await? {
            return self.refuse_first();
        }
        loop {
            match poll_fn(|cx| self.poll_turn(cx)).await {
                Event::Done => return Ok(()),
                Event::End(ending) => return Err(ending),
                Event::Lost => {
                    let unsent = self.hang_up();
                    self.go_on(unsent).await?;
                }
                Event::TurnedAway => self.try_elsewhere().await?,
                Event::Local { verb, quiet, request } => self.local(verb, quiet, &request).await?,
            }
        }
    }

    /// Nobody could be reached for the first request: it is answered so, and nothing else is changed.
    fn refuse_first(&mut self) -> Result<(), Ending> {
        let bytes = self.session.down.link().inbox.take();
        let Ok(Framed::Whole(span)) = self.session.frame(&bytes) else {
            return Err(Ending::Upstream); // a large one, whose rest nobody wants
        };
        self.session.answer(|out| put_error(out, NO_SERVER));
        let (command, _) = identify(&bytes[..span.len]);
        if matches!(command.name, "multi" | "watch") {
            return Err(Ending::Upstream); // what it sends next would run without the guard that it thinks it has
        }
        self.session.down.link().inbox.keep(&bytes[span.len..]);
        Ok(())
    }

    /// Gives the connection back.
    fn part(&mut self) {
        let clean = self.pinned.is_clean() && self.is_at_rest() && !self.turned_away;
        self.session.set_db(self.pinned.db());
        self.session.profile.guest().leases(None);
        self.session.profile.guest().does(Doing::Normal);
        if let Some(lease) = self.lease.take() {
            lease.release(if clean { Reuse::Clean } else { Reuse::Discard });
        }
    }

    /// Waits for a connection. False: none was to be had in time.
    async fn connect(&mut self) -> Result<bool, Ending> {
        let mut purpose = self.session.purpose();
        purpose.db = self.pinned.db();
        let pool = self.session.site.pool(&purpose);
        let bytes = self.session.down.link().inbox.rest().len();
        match self.session.awaits(pool.lease(bytes)).await? {
            Ok(lease) => {
                self.pinned.meet(Barrier::of(&lease.state.version), self.session.site.tenure());
                self.session.profile.guest().leases(Some(lease.state.id));
                self.lease = Some(lease);
                Ok(true)
            }
            Err(Refusal::Denied(answer)) => {
                self.session.down.link().outbox.push(&answer);
                Err(Ending::Upstream)
            }
            Err(_) => Ok(false),
        }
    }

    /// The server turned something away, and may do so again: each time a longer pause, and an end to it.
    async fn try_elsewhere(&mut self) -> Result<(), Ending> {
        let unsent = self.hang_up();
        let since = *self.turned_away_since.get_or_insert_with(Instant::now);
        let patience = self.session.site.common.hold.deadline().saturating_duration_since(Instant::now());
        if since.elapsed() > patience {
            self.pinned.give_up(NO_SERVER, self.session.down.link().outbox.buffer());
            self.turned_away_since = None;
        }
        self.session.awaits(sleep(self.pauses.next_delay(fastrand::u32(..)))).await?;
        self.go_on(unsent).await
    }

    /// The connection is gone, and the last `unsent` bytes that were ordered have not left: goes on with another, as
    /// the machine says.
    async fn go_on(&mut self, unsent: usize) -> Result<(), Ending> {
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        let deadline = self.session.site.common.hold.deadline();
        let mut recovery = self.lost(unsent)?;
        loop {
            if self.connect().await? {
                return self.resume(recovery);
            }
            if Instant::now() >= deadline {
                let link = &mut self.session.down.link();
                self.pinned.give_up(NO_SERVER, link.outbox.buffer());
                if self.pinned.is_done() {
                    self.again = false; // what the client says next is the session's to look at
                    return Ok(());
                }
            }
            self.session.awaits(sleep(pauses.next_delay(fastrand::u32(..)))).await?;
            recovery = self.lost(recovery.send.len())?;
        }
    }

    /// Drops the connection; how many bytes of what was ordered have not left.
    fn hang_up(&mut self) -> usize {
        let Some(mut lease) = self.let_go() else { return 0 };
        lease.suspect();
        let unsent = lease.link.outbox.rest().len();
        lease.link.outbox.clear();
        lease.release(Reuse::Discard);
        unsent
    }

    /// The connection is done with, and with it what has come of a reply.
    fn let_go(&mut self) -> Option<Lease<Leasehold>> {
        (self.replies, self.turned_away, self.passing) = (ReplyFramer::default(), false, None);
        self.pipe = None;
        self.kept.clear();
        self.lease.take()
    }

    fn lost(&mut self, unsent: usize) -> Result<Recovery, Ending> {
        let recovery = self.pinned.lost(unsent, self.session.down.link().outbox.buffer());
        if recovery.cut {
            return Err(Ending::Upstream);
        }
        // Said once: another attempt to go on does not say it again.
        self.session.tally.lost(0, recovery.unknown as u64);
        if recovery.discard {
            self.large = Some(Large::Dropped);
        }
        Ok(recovery)
    }

    fn resume(&mut self, recovery: Recovery) -> Result<(), Ending> {
        let tally = &self.session.tally;
        tally.lost(recovery.replayed as u64, 0);
        (0..recovery.resubscribed).for_each(|_| tally.gap());
        self.order(&recovery.send);
        (self.again, self.waits) = (true, false);
        Ok(())
    }

    /// A request that the session itself answers; nothing is owed.
    async fn local(&mut self, verb: command::Verb, quiet: bool, request: &[u8]) -> Result<(), Ending> {
        let before = self.session.purpose();
        self.session.set_db(self.pinned.db());
        self.session.answer_locally(verb, request, quiet).await?;
        let after = self.session.purpose();
        if verb == command::Verb::Reset {
            drop(self.let_go());
            self.pinned = Pinned::new(after.resp, after.db, Barrier::default());
        } else if before != after {
            drop(self.let_go());
            let moved = self.pinned.moved(after.resp, after.db, self.session.down.link().outbox.buffer());
            if moved.cut {
                return Err(Ending::Upstream);
            }
            if !self.pinned.is_done() {
                return Box::pin(self.go_on(moved.send.len())).await;
            }
        }
        self.again = !self.pinned.is_done();
        Ok(())
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        match self.session.seat.pulse(cx) {
            Some(Pulse::Terminate) => return Poll::Ready(Event::End(Ending::Terminated)),
            Some(Pulse::Look) if self.lease.as_ref().is_some_and(|lease| !lease.is_current()) => {
                return Poll::Ready(Event::Lost);
            }
            _ => {}
        }
        self.session.down.register(cx.waker());
        if self.session.profile.guest().is_summoned() && !self.heed(cx.waker()) {
            return Poll::Ready(Event::End(Ending::Terminated));
        }
        for _ in 0..TURN_READS {
            if self.session.down.is_closed() {
                return Poll::Ready(Event::End(Ending::Aborted));
            }
            if self.is_over() {
                return Poll::Ready(Event::Done);
            }
            let mut moved = false;
            for pump in [Self::pump_upstream, Self::pump_downstream] {
                match pump(self, cx) {
                    Break(event) => return Poll::Ready(event),
                    Continue(more) => moved |= more,
                }
            }
            if !moved {
                return self.rest();
            }
        }
        // Others have their turn, and the worker looks at its sockets, before this client's long stream goes on.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// Does what another client asks of this one; false: to be gone.
    fn heed(&self, waker: &Waker) -> bool {
        let guest = self.session.profile.guest();
        guest.wakes(waker);
        let how: &'static [u8] = match guest.summoned() {
            Summons::Kill => return false,
            Summons::Timeout => b"TIMEOUT",
            Summons::Error => b"ERROR",
            Summons::None => return true,
        };
        if let Some(lease) = self.lease.as_ref().filter(|_| self.blocks) {
            let pool = self.session.site.pool(&self.session.purpose());
            tasks::spawn_session(unblock(pool, lease.state.id, how));
        }
        true
    }

    /// Nothing is owed, nothing is on its way in either direction, and nothing of the client is on the connection.
    fn is_at_rest(&self) -> bool {
        let midway = self.large.is_some() || self.passing.is_some() || !self.kept.is_empty();
        self.pinned.is_done() && !midway
    }

    /// A request that waits for the barrier waits here: the session would only send it back, again and again.
    fn is_over(&self) -> bool {
        self.is_at_rest() && !self.again && !self.barred
    }

    /// Nobody has any bytes. While the process drains, a client that is owed nothing may go.
    fn rest(&mut self) -> Poll<Event> {
        let owes = self.pinned.owed() > 0 || self.passing.is_some() || self.large.is_some();
        let may_go = self.session.seat.is_draining() && !owes && self.session.down.link().inbox.is_empty();
        if may_go { Poll::Ready(Event::End(Ending::Drained)) } else { Poll::Pending }
    }

    fn unsent(&self) -> usize {
        self.lease.as_ref().map_or(0, |lease| lease.link.outbox.rest().len())
    }
}

/// Has the server end the blocking call on its connection `id`; best effort, as the call may have ended by itself.
async fn unblock(pool: Rc<Pool<Leasehold>>, id: u64, how: &'static [u8]) {
    let Ok(mut lease) = pool.lease(0).await else { return };
    let out = lease.link.outbox.buffer();
    put_request(out, &[b"CLIENT", b"UNBLOCK", id.to_string().as_bytes(), how]);
    // It is not given back: nobody waits for the answer.
    let _ = poll_fn(|cx| lease.link.poll_flush(cx)).await;
}

/// Which command these bytes begin with, and where it may go.
pub(super) fn identify(request: &[u8]) -> (&'static Command, Route) {
    let args = Args::new(request);
    let mut names = args.clone();
    let command = command::find(names.next().unwrap_or_default(), names.next());
    (command, command::route(command, args))
}
