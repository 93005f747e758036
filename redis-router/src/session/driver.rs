//! The loop of one client: reads its requests, hands them to the shared connection in one go, and steps aside where a
//! request needs more than that. Kind: driver.
//!
//! Promise: a client's commands leave one route before they enter another, so that its replies keep their order.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proxy_core::link::Link;
use proxy_core::session::Ending;
use proxy_core::worker::{Floor, Pulse, Seat};
use tokio::time::{Instant, timeout_at};

use super::profile::Profile;
use super::registry::{Address, Registry, Summons};
use super::terms::Terms;
use crate::command::{self, Command, Route, Script};
use crate::downstream::Downstream;
use crate::metrics::Tally;
use crate::site::{Nature, Share, Site};
use crate::wire::{Args, Framed, Limits, RequestFramer, Resp, Span, Violation};

/// Requests of a client that was given a large reply for which it gets a connection of its own.
pub(super) const HEAVY: u8 = 64;

/// Who it is that has come.
pub struct Visitor {
    /// Its address, as the PROXY header tells it if there is one.
    pub peer: Address,
    /// Ours.
    pub local: Address,
}

/// Where it has come to.
pub struct House<'a> {
    /// The worker.
    pub floor: &'a Rc<Floor>,
    /// All clients of the process.
    pub guests: &'a Arc<Registry>,
    /// What the worker has met.
    pub tally: &'a Rc<Tally>,
}

/// One client.
pub struct Session {
    pub(super) down: Rc<Downstream>,
    pub(super) site: Rc<Site>,
    pub(super) terms: Arc<Terms>,
    pub(super) tally: Rc<Tally>,
    pub(super) seat: Seat,
    pub(super) mux: Share,
    pub(super) profile: Box<Profile>,
    pub(super) framer: RequestFramer,
    pub(super) limits: Limits,
    /// The router checks who its clients are, and this one has not said so yet.
    pub(super) stranger: bool,
    came: Instant,
    /// Kept bytes are to be looked at, although nothing new has come.
    again: bool,
    /// The client says no more, but may still hear.
    pub(super) ended: bool,
    /// It waits for the barrier of a planned failover to fall.
    barred: bool,
    /// So many of its next requests go by a connection of its own.
    pub(super) heavy: u8,
}

/// What the loop can't do without waiting.
pub(super) enum Turn {
    /// The session is over.
    End(Ending),
    /// A request that does not go to the shared connection.
    Aside(Box<[u8]>),
    /// A request that is too large to be gathered; it begins the inbox.
    Large,
    /// The client has broken the protocol.
    Violation(Violation),
}

/// What became of the front of the client's bytes.
pub(super) enum Taken {
    /// So many of them are used up.
    Used(usize),
    /// The request there waits.
    Barred,
    /// The request there, of so many bytes, goes another way.
    Aside(usize),
}

impl Session {
    /// A session of a client that has come in.
    pub fn new(link: Link, visitor: Visitor, house: &House<'_>, site: Rc<Site>, terms: Arc<Terms>) -> Self {
        let mux = site.share(site.lane(terms.purpose(terms.identity.clone(), Resp::V2)));
        let now = site.now() / 1000;
        let stay = house.guests.enter(visitor.peer.clone(), visitor.local, now);
        let profile = Box::new(Profile::new(stay));
        profile.belong(&*terms.identity);
        Self {
            profile,
            down: Rc::new(Downstream::new(link, visitor.peer.to_string().into(), terms.output)),
            tally: house.tally.clone(),
            seat: house.floor.seat(),
            limits: if terms.checks_logins() { terms.limits.for_strangers() } else { terms.limits },
            came: Instant::now(),
            stranger: terms.checks_logins(),
            site,
            terms,
            mux,
            framer: RequestFramer::default(),
            again: false,
            ended: false,
            barred: false,
            heavy: 0,
        }
    }

    /// Serves the client to its end.
    pub async fn run(mut self: Box<Self>) -> Ending {
        poll_fn(|cx| {
            self.profile.guest().wakes(cx.waker());
            Poll::Ready(())
        })
        .await;
        let ending = loop {
            let turn = self.turn().await;
            let ended = match turn {
                Turn::End(ending) => Some(ending),
                Turn::Violation(violation) => Some(Box::pin(self.break_off(&violation)).await),
                Turn::Aside(request) => Box::pin(self.step_aside(&request)).await.err(),
                Turn::Large => Box::pin(self.carry_large()).await.err(),
            };
            if let Some(ending) = ended {
                break ending;
            }
            self.again = true;
        };
        self.say_goodbye().await;
        ending
    }

    /// Waits for what the loop can't do by itself. Whoever has yet to log in must do so in time.
    async fn turn(&mut self) -> Turn {
        if !self.stranger {
            return poll_fn(|cx| self.poll_turn(cx)).await;
        }
        let deadline = self.came + self.terms.login_timeout;
        let turn = Box::pin(timeout_at(deadline, poll_fn(|cx| self.poll_turn(cx)))).await;
        turn.unwrap_or(Turn::End(Ending::Aborted))
    }

    /// Moves requests until there are none, or one that goes another way.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.seat.pulse(cx) == Some(Pulse::Terminate) {
            return Poll::Ready(Turn::End(Ending::Terminated));
        }
        self.down.register(cx.waker());
        if self.profile.guest().is_summoned() && self.is_killed(cx.waker()) {
            return Poll::Ready(Turn::End(Ending::Terminated));
        }
        loop {
            if self.down.is_closed() {
                return Poll::Ready(Turn::End(Ending::Aborted));
            }
            if self.is_held_up(cx) {
                return Poll::Pending;
            }
            if std::mem::take(&mut self.again) {
                let kept = self.down.link().inbox.take();
                if let Some(turn) = self.feed(&kept, 0) {
                    return Poll::Ready(turn);
                }
                continue;
            }
            if let Some(ending) = self.may_leave() {
                return Poll::Ready(Turn::End(ending));
            }
            let site = self.site.clone();
            let mut scratch = site.scratch().borrow();
            let read = if self.ended { Poll::Pending } else { self.down.link().poll_fill(cx, &mut scratch) };
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) if n > 0 => {
                    if let Some(turn) = self.take_in(&scratch[..n]) {
                        return Poll::Ready(turn);
                    }
                }
                Poll::Ready(Ok(_)) => self.ended = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Turn::End(Ending::Aborted)),
            }
        }
    }

    /// Whether another client has killed this one. To be unblocked concerns only who is blocked.
    pub(super) fn is_killed(&self, waker: &Waker) -> bool {
        let guest = self.profile.guest();
        guest.wakes(waker);
        guest.summoned() == Summons::Kill
    }

    /// Whether the client must not be read now. Whoever ends that wakes us.
    #[inline]
    fn is_held_up(&mut self, cx: &mut Context<'_>) -> bool {
        if self.barred && self.site.is_barred(cx.waker()) {
            return true;
        }
        self.again |= std::mem::take(&mut self.barred);
        if self.down.owed() >= self.terms.pipeline
            && !self.down.is_owed_fewer_than(self.terms.pipeline / 2 + 1)
        {
            return true;
        }
        if self.mux.is_full(cx.waker()) {
            return true;
        }
        self.down.is_deaf(cx) && self.leaves_lane()
    }

    /// A client that leaves much unread may say more, and may want to say all of it before it reads anything, as pipelines of
    /// client libraries do. It says it on a connection of its own, where Redis keeps the replies until they are read: on the
    /// shared one they would come at once. True: it must hear first what waits for it, as it has nothing to say any more.
    fn leaves_lane(&mut self) -> bool {
        self.heavy = HEAVY;
        self.ended || self.seat.is_draining()
    }

    /// Nobody has any bytes: the session may be over.
    fn may_leave(&mut self) -> Option<Ending> {
        let leaves = self.ended || self.seat.is_draining();
        if !leaves || !self.down.is_owed_fewer_than(1) {
            return None;
        }
        match self.ended {
            true => Some(Ending::Finished),
            // Half a request is waited for: its client does not know yet that we leave.
            false => self.down.link().inbox.is_empty().then_some(Ending::Drained),
        }
    }

    /// Takes what was just read, behind what was kept.
    #[inline]
    fn take_in(&mut self, fresh: &[u8]) -> Option<Turn> {
        if self.down.link().inbox.is_empty() {
            return self.feed(fresh, 0);
        }
        let mut all = self.down.link().inbox.take();
        all.extend_from_slice(fresh);
        self.feed(&all, 0)
    }

    /// Hands requests on, from `at`, and keeps what is not used.
    fn feed(&mut self, bytes: &[u8], mut at: usize) -> Option<Turn> {
        let turn = loop {
            let rest = &bytes[at..];
            if rest.is_empty() {
                break None;
            }
            match self.framer.next(rest, &self.limits) {
                Ok(Framed::Whole(span)) => match self.take(rest, span) {
                    Taken::Used(n) => at += n,
                    Taken::Barred => {
                        self.barred = true;
                        break None;
                    }
                    Taken::Aside(n) => {
                        at += n;
                        break Some(Turn::Aside(rest[..n].into()));
                    }
                },
                Ok(Framed::Partial { .. }) => {
                    let large = self.framer.pending().declared > self.terms.large;
                    break large.then_some(Turn::Large);
                }
                Err(violation) => break Some(Turn::Violation(violation)),
            }
            // The rest may have to wait, and is looked at again then.
            if self.down.owed() >= self.terms.pipeline {
                self.again = at < bytes.len();
                break None;
            }
        };
        self.down.link().inbox.keep(&bytes[at..]);
        turn
    }

    /// The request at the front of `bytes`: enters it, if it is one for the shared connection.
    #[inline]
    fn take(&mut self, bytes: &[u8], span: Span) -> Taken {
        if span.argc == 0 && !span.inline {
            return Taken::Used(span.len); // no command, no reply
        }
        if self.down.take_largest() > self.terms.large {
            self.heavy = HEAVY;
        }
        if span.inline || self.heavy > 0 || self.stranger {
            return Taken::Aside(span.len);
        }
        let request = &bytes[..span.len];
        let args = Args::new(request);
        let mut names = args.clone();
        let command = command::find(names.next().unwrap_or_default(), names.next());
        match command::route(command, args.clone()) {
            Route::Shared if span.len <= self.terms.large => self.share(command, request, args),
            Route::Local(command::Verb::Multi) => self.take_transaction(bytes, span),
            _ => Taken::Aside(span.len),
        }
    }

    #[inline]
    fn share(&mut self, command: &'static Command, request: &[u8], args: Args<'_>) -> Taken {
        if self.terms.refuses(command).is_some() || command::is_bulky(command, args.clone()) {
            return Taken::Aside(request.len());
        }
        if command.may_write() && self.site.common.barrier.raised() {
            return Taken::Barred;
        }
        if let Some(script) = command.script() {
            self.note_script(script, args);
        }
        self.enter(request, command);
        Taken::Used(request.len())
    }

    /// Hands a request to the shared connection.
    #[inline]
    pub(super) fn enter(&self, request: &[u8], command: &Command) {
        let nature = if command.replayable() { Nature::Read } else { Nature::Write };
        self.mux.enter(&self.down, request, nature, 1, command.id);
        self.tally.used(command, request);
    }

    /// Nobody knows any more who the client is; where the router checks that, it has to log in again.
    pub(super) fn turn_away(&mut self) {
        if self.terms.checks_logins() {
            self.stranger = true;
            self.came = Instant::now();
            self.limits = self.terms.limits.for_strangers();
        }
    }

    /// Whether the client has yet to log in.
    pub(super) fn is_stranger(&self) -> bool {
        self.stranger
    }

    pub(super) fn note_script(&self, script: Script, args: Args<'_>) {
        let mut scripts = self.site.dial.scripts.borrow_mut();
        match script {
            Script::Eval => args.clone().nth(1).into_iter().for_each(|body| scripts.remember(body)),
            Script::Load => args.clone().nth(2).into_iter().for_each(|body| scripts.remember(body)),
            Script::Flush => scripts.forget(),
            Script::EvalSha => {}
        }
    }

    /// An answer of our own.
    pub(super) fn answer(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.down.link().outbox.buffer());
    }

    /// Says why a client's connection ends here, behind all that it is owed.
    pub(super) async fn break_off(&mut self, violation: &Violation) -> Ending {
        if let Err(ending) = self.settled().await {
            return ending;
        }
        self.violated(violation);
        Ending::Protocol
    }

    /// Lets the client hear the last words, and that they are the last: the connection itself lives on in the ledger
    /// for as long as anything is owed to it.
    async fn say_goodbye(&mut self) {
        self.down.close();
        let finish = poll_fn(|cx| self.down.link().poll_finish(cx));
        let finished = tokio::time::timeout(std::time::Duration::from_secs(2), finish);
        let _ = self.seat.until_terminated(finished).await; // whoever has gone need not hear it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest part of what an idle client costs; the bench measures the whole (RSS per connection).
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 320, "{}", size_of::<Session>());
    }
}
