//! A client on a connection of its own: bytes go both ways, the [`Pinned`] machine says whose they are and, when the
//! connection is lost, how to go on with the next. Kind: driver.
//!
//! The phase ends when nothing of the client lives on the connection any more, which then goes back to its pool.

use std::future::poll_fn;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proxy_core::backoff::Backoff;
use proxy_core::session::Ending;
use proxy_core::upstream::pool::{Lease, Refusal, Reuse};
use proxy_core::worker::Pulse;
use tokio::time::{Instant, sleep};

use super::driver::{HEAVY, Session, UNHEARD_BYTES};
use super::pinned::{Barrier, Deliver, Order, Pinned, Recovery};
use crate::command::{self, Command, Route};
use crate::server::Leasehold;
use crate::wire::build::put_error;
use crate::wire::{Args, Framed, ReplyFramer, ReplyKind, Span};

/// Bytes that may wait for the server; beyond that the client is not read.
const UNSENT_BYTES: usize = 256 * 1024;

/// Bytes of a reply that are kept back until it is whole; a larger one is passed on as it comes.
const WHOLE_BYTES: usize = 64 * 1024;

/// What the machine wants to see of a reply.
const HEAD_BYTES: usize = 512;

/// Bytes that a client may send ahead while it waits for a connection.
const AHEAD_BYTES: usize = 64 * 1024;

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
    /// A request is coming in that is passed on in pieces, or dropped.
    large: Option<Large>,
    /// The client's next request waits until more is answered.
    waits: bool,
    /// It waits for the barrier of a planned failover to fall.
    barred: bool,
    /// Something was turned away: only what is on its way is awaited.
    turned_away: bool,
    /// A call is under way that waits for something to happen.
    blocks: bool,
    /// The client says no more, but may still hear.
    ended: bool,
    again: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Large {
    Passed,
    Dropped,
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
            large: None,
            waits: false,
            barred: false,
            turned_away: false,
            blocks: false,
            ended: false,
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
                Event::Lost | Event::TurnedAway => {
                    let unsent = self.hang_up();
                    self.go_on(unsent).await?;
                }
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
        self.session.down.link().inbox.keep(&bytes[span.len..]);
        Ok(())
    }

    /// Gives the connection back.
    fn part(&mut self) {
        let clean =
            self.pinned.is_clean() && self.large.is_none() && self.kept.is_empty() && !self.turned_away;
        self.session.set_db(self.pinned.db());
        if let Some(lease) = self.lease.take() {
            lease.release(if clean { Reuse::Clean } else { Reuse::Discard });
        }
    }

    /// Waits for a connection. False: none was to be had in time.
    async fn connect(&mut self) -> Result<bool, Ending> {
        let mut purpose = self.session.purpose();
        purpose.db = self.pinned.db();
        let pool = self.session.site.pool(&purpose);
        let session = &mut *self.session;
        let mut wait = pin!(pool.lease(session.down.link().inbox.rest().len()));
        let got = poll_fn(|cx| {
            if let Poll::Ready(got) = wait.as_mut().poll(cx) {
                return Poll::Ready(Ok(got));
            }
            if session.seat.pulse(cx) == Some(Pulse::Terminate) {
                return Poll::Ready(Err(Ending::Terminated));
            }
            session.down.register(cx.waker());
            let scratch = session.site.scratch();
            let gone = session.down.link().read_ahead(cx, scratch, AHEAD_BYTES);
            if gone || session.down.is_closed() { Poll::Ready(Err(Ending::Aborted)) } else { Poll::Pending }
        });
        match got.await? {
            Ok(lease) => {
                self.pinned.set_barrier(Barrier::of(&lease.state.version));
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
                    return Ok(());
                }
            }
            sleep(pauses.next_delay(fastrand::u32(..))).await;
            recovery = self.lost(recovery.send.len())?;
        }
    }

    /// Drops the connection; how many bytes of what was ordered have not left.
    fn hang_up(&mut self) -> usize {
        (self.replies, self.turned_away) = (ReplyFramer::default(), false);
        self.kept.clear();
        self.passing = None;
        let Some(mut lease) = self.lease.take() else { return 0 };
        lease.suspect();
        let unsent = lease.link.outbox.rest().len();
        lease.link.outbox.clear();
        lease.release(Reuse::Discard);
        unsent
    }

    fn lost(&mut self, unsent: usize) -> Result<Recovery, Ending> {
        let recovery = self.pinned.lost(unsent, self.session.down.link().outbox.buffer());
        if recovery.cut {
            return Err(Ending::Upstream);
        }
        Ok(recovery)
    }

    fn resume(&mut self, recovery: Recovery) -> Result<(), Ending> {
        let tally = &self.session.tally;
        tally.lost(recovery.replayed as u64, recovery.unknown as u64);
        (0..recovery.resubscribed).for_each(|_| tally.gap());
        if recovery.discard {
            self.large = Some(Large::Dropped);
        }
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
            self.lease = None;
            self.pinned = Pinned::new(after.resp, after.db, Barrier::default());
        } else if before != after {
            self.lease = None;
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
        loop {
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
    }

    fn is_over(&self) -> bool {
        self.pinned.is_done() && self.large.is_none() && self.kept.is_empty() && !self.again
    }

    /// Nobody has any bytes. While the process drains, a client that is owed nothing may go.
    fn rest(&mut self) -> Poll<Event> {
        let may_go = self.session.seat.is_draining() && self.pinned.owed() == 0 && self.large.is_none();
        if may_go { Poll::Ready(Event::End(Ending::Drained)) } else { Poll::Pending }
    }

    /// Server to client, one read's worth.
    fn pump_upstream(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        if self.is_client_deaf(cx) {
            return Continue(false);
        }
        let Some(lease) = &mut self.lease else { return Break(Event::Lost) };
        if let Poll::Ready(Err(_)) = lease.link.poll_flush(cx) {
            return Break(Event::Lost);
        }
        let site = self.session.site.clone();
        let mut scratch = site.scratch().borrow();
        match lease.link.poll_fill(cx, &mut scratch) {
            Poll::Pending => Continue(false),
            Poll::Ready(Ok(n)) if n > 0 => self.hear(&scratch[..n]).map_continue(|()| true),
            Poll::Ready(_) => Break(Event::Lost),
        }
    }

    /// Whether the client leaves too much unread.
    fn is_client_deaf(&mut self, cx: &mut Context<'_>) -> bool {
        let mut link = self.session.down.link();
        match link.poll_flush(cx) {
            Poll::Ready(Err(_)) => {
                self.session.down.close();
                true
            }
            Poll::Pending => link.outbox.rest().len() > UNHEARD_BYTES,
            Poll::Ready(Ok(())) => false,
        }
    }

    /// Takes bytes from the server.
    fn hear(&mut self, mut rest: &[u8]) -> ControlFlow<Event> {
        while !rest.is_empty() {
            let Ok(advance) = self.replies.advance(rest) else { return Break(Event::Lost) };
            let (bytes, behind) = rest.split_at(advance.used);
            rest = behind;
            match (advance.end, self.passing) {
                (end, Some(to_client)) => self.pass(bytes, to_client, end.is_some()),
                (Some(kind), None) if self.kept.is_empty() => self.hear_whole(kind, bytes)?,
                (Some(kind), None) => {
                    let mut whole = std::mem::take(&mut self.kept);
                    whole.extend_from_slice(bytes);
                    self.hear_whole(kind, &whole)?;
                }
                (None, None) => {
                    self.kept.extend_from_slice(bytes);
                    if self.kept.len() > WHOLE_BYTES {
                        self.begin_passing()?;
                    }
                }
            }
        }
        Continue(())
    }

    /// A reply that is there as a whole.
    fn hear_whole(&mut self, kind: ReplyKind, reply: &[u8]) -> ControlFlow<Event> {
        let deliver = self.pinned.reply(kind, &reply[..reply.len().min(HEAD_BYTES)]);
        if reply.len() > self.session.large() {
            self.session.heavy = HEAVY;
        }
        self.deliver(deliver, reply)?;
        self.answered();
        Continue(())
    }

    fn deliver(&mut self, deliver: Deliver, reply: &[u8]) -> ControlFlow<Event> {
        match deliver {
            Deliver::ToClient => self.session.down.link().outbox.push(reply),
            Deliver::Instead(bytes) => self.session.down.link().outbox.push(&bytes),
            Deliver::Swallow => {}
            Deliver::Stray => return Break(Event::Lost),
            Deliver::Replay => {
                self.turned_away = true;
                let unsent = self.unsent();
                if self.pinned.may_hang_up(unsent) {
                    return Break(Event::TurnedAway);
                }
            }
        }
        Continue(())
    }

    /// A reply that is too large to be kept back.
    fn begin_passing(&mut self) -> ControlFlow<Event> {
        let kind = if self.kept.starts_with(b">") { ReplyKind::Push } else { ReplyKind::Other };
        let kept = std::mem::take(&mut self.kept);
        let deliver = self.pinned.begin_reply(kind, &kept[..HEAD_BYTES]);
        self.passing = Some(deliver == Deliver::ToClient);
        self.session.heavy = HEAVY;
        self.deliver(deliver, &kept)
    }

    fn pass(&mut self, bytes: &[u8], to_client: bool, last: bool) {
        if to_client {
            self.session.down.link().outbox.push(bytes);
        }
        if last {
            self.passing = None;
            self.pinned.end_reply();
            self.answered();
        }
    }

    /// Something was answered: what waited for that may go on.
    fn answered(&mut self) {
        self.blocks &= self.pinned.owed() > 0;
        self.pinned.answer(self.session.down.link().outbox.buffer());
        self.again |= std::mem::take(&mut self.waits);
    }

    fn unsent(&self) -> usize {
        self.lease.as_ref().map_or(0, |lease| lease.link.outbox.rest().len())
    }

    /// Client to server, one read's worth.
    fn pump_downstream(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        let barred = self.barred && self.session.site.is_barred(cx.waker());
        if barred || self.waits || self.turned_away || self.unsent() > UNSENT_BYTES {
            return self.notice_hang_up(cx);
        }
        self.again |= std::mem::take(&mut self.barred);
        if std::mem::take(&mut self.again) {
            let kept = self.session.down.link().inbox.take();
            return self.feed(&kept).map_continue(|()| true);
        }
        if self.ended {
            // What waits for something to happen would take it from those who can still use it.
            let over = self.blocks || self.pinned.is_subscribed() || self.pinned.owed() == 0;
            return if over { Break(Event::End(Ending::Finished)) } else { Continue(false) };
        }
        let read = {
            let mut link = self.session.down.link();
            link.poll_keep(cx, self.session.site.scratch())
        };
        match read {
            Poll::Pending => Continue(false),
            Poll::Ready(Ok(n)) if n > 0 => {
                self.again = true;
                Continue(true)
            }
            Poll::Ready(Ok(_)) => {
                self.ended = true;
                Continue(true)
            }
            Poll::Ready(Err(_)) => Break(Event::End(Ending::Aborted)),
        }
    }

    /// A client that is not read is still watched, while its bytes are few.
    fn notice_hang_up(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        let scratch = self.session.site.scratch();
        match self.session.down.link().read_ahead(cx, scratch, AHEAD_BYTES) {
            true => Break(Event::End(Ending::Aborted)),
            false => Continue(false),
        }
    }

    /// Hands the client's bytes on, and keeps what is not used.
    fn feed(&mut self, bytes: &[u8]) -> ControlFlow<Event> {
        let mut at = 0;
        let outcome = loop {
            let rest = &bytes[at..];
            let over = self.pinned.is_done() && self.large.is_none() && at > 0;
            let stopped = self.waits || self.barred;
            if rest.is_empty() || over || stopped || self.unsent() > UNSENT_BYTES {
                self.again = !rest.is_empty() && !stopped && !over;
                break Continue(());
            }
            let framed = self.session.frame(rest);
            let used = match framed {
                Ok(Framed::Whole(span)) if self.large.is_some() => {
                    self.pass_large(&rest[..span.len]);
                    self.end_large();
                    span.len
                }
                Ok(Framed::Whole(span)) => match self.take(&rest[..span.len], span) {
                    Break(event) => {
                        at += span.len;
                        break Break(event);
                    }
                    Continue(taken) => {
                        if taken {
                            span.len
                        } else {
                            0
                        }
                    }
                },
                Ok(Framed::Partial { .. }) => match self.partial(rest) {
                    0 => break Continue(()),
                    n => n,
                },
                Err(violation) => {
                    self.session.violated(&violation);
                    break Break(Event::End(Ending::Protocol));
                }
            };
            at += used;
        };
        self.session.down.link().inbox.keep(&bytes[at..]);
        outcome
    }

    /// A whole request, or a line that stands for one. False: it must wait, and is shown again.
    fn take(&mut self, bytes: &[u8], span: Span) -> ControlFlow<Event, bool> {
        if !span.inline {
            return if span.argc == 0 { Continue(true) } else { self.request(bytes) };
        }
        self.session.respell(bytes).map_or(Continue(true), |request| self.request(&request))
    }

    fn request(&mut self, request: &[u8]) -> ControlFlow<Event, bool> {
        let (command, route) = identify(request);
        let refusal = self.session.refusal(command, route);
        let writes = command.may_write() || command.name == "exec";
        if writes && refusal.is_none() && self.session.site.common.barrier.raised() {
            self.barred = true;
            return Continue(false);
        }
        let mut link = self.session.down.link();
        let out = link.outbox.buffer();
        let mut order = match &refusal {
            Some(text) => self.pinned.refuse(text, out),
            None => self.pinned.request(command, request, out),
        };
        if let Order::Redirect { .. } = order {
            order = self.pinned.redirected(command, request, None, out);
        }
        drop(link);
        self.blocks |= matches!(route, Route::Blocking | Route::Wait);
        match order {
            Order::Forward => self.order(request),
            Order::Send(bytes) => self.order(&bytes),
            Order::Local { verb, quiet } => {
                return Break(Event::Local { verb, quiet, request: request.into() });
            }
            Order::Wait => {
                self.waits = true;
                return Continue(false);
            }
            _ => {}
        }
        Continue(true)
    }

    /// The beginning of a request: how much of it is used up already.
    fn partial(&mut self, rest: &[u8]) -> usize {
        if self.large.is_none() {
            if self.session.framer.pending().declared <= self.session.large() {
                return 0;
            }
            self.begin_large(rest);
        }
        if self.large.is_none() {
            return 0;
        }
        let settled = self.session.framer.settled().min(rest.len());
        self.session.framer.forget(settled);
        self.pass_large(&rest[..settled]);
        settled
    }

    fn begin_large(&mut self, rest: &[u8]) {
        let (command, route) = identify(rest);
        let refusal = match route {
            Route::Shared => self.session.refusal(command, route),
            _ => Some("ERR the request is too large for this command"),
        };
        let mut link = self.session.down.link();
        let out = link.outbox.buffer();
        let order = match refusal {
            Some(text) => self.pinned.refuse(text, out),
            None => self.pinned.begin_large(command, 0, out),
        };
        drop(link);
        match order {
            Order::Forward => self.large = Some(Large::Passed),
            Order::Wait => self.waits = true,
            Order::Send(bytes) => {
                self.order(&bytes);
                self.large = Some(Large::Dropped);
            }
            _ => self.large = Some(Large::Dropped),
        }
    }

    fn pass_large(&mut self, bytes: &[u8]) {
        if self.large == Some(Large::Passed) {
            self.pinned.more(bytes.len());
            self.order(bytes);
        }
    }

    fn end_large(&mut self) {
        if self.large.take() == Some(Large::Passed) {
            self.pinned.whole();
        }
    }

    /// These bytes are to go to the server.
    fn order(&mut self, bytes: &[u8]) {
        if let Some(lease) = &mut self.lease {
            lease.link.outbox.push(bytes);
        }
    }
}

/// Which command these bytes begin with, and where it may go.
pub(super) fn identify(request: &[u8]) -> (&'static Command, Route) {
    let args = Args::new(request);
    let mut names = args.clone();
    let command = command::find(names.next().unwrap_or_default(), names.next());
    (command, command::route(command, args))
}
