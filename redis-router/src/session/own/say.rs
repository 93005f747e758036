//! What a client that has a connection of its own says to the server. Kind: driver.

use std::ops::ControlFlow::{self, Break, Continue};
use std::task::{Context, Poll};

use proxy_core::session::Ending;

use super::{Event, Own, identify};
use crate::command::{Command, Route};
use crate::session::driver::Session;
use crate::session::pinned::Order;
use crate::session::registry::Doing;
use crate::session::wait::AHEAD_BYTES;
use crate::wire::{Args, Framed, Span, Violation};

/// Bytes that may wait for the server; beyond that the client is not read.
const UNSENT_BYTES: usize = 256 * 1024;

/// Redis' own text.
const DISCARD_ARGUMENTS: &str = "ERR wrong number of arguments for 'discard' command";

/// What becomes of a request that is too large to be gathered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Large {
    /// It is passed on in pieces.
    Passed,
    /// It is answered already: its rest is dropped.
    Dropped,
}

impl Own<'_> {
    /// Client to server, one read's worth.
    pub(super) fn pump_downstream(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        let barred = self.barred && self.session.site.is_barred(cx.waker());
        if barred || self.waits || self.turned_away || self.unsent() > UNSENT_BYTES {
            return self.notice_hang_up(cx);
        }
        self.again |= std::mem::take(&mut self.barred);
        if std::mem::take(&mut self.again) {
            let kept = self.session.down.link().inbox.take();
            return self.feed(&kept).map_continue(|()| true);
        }
        if self.session.ended {
            return self.wait_for_the_last();
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
                self.session.ended = true;
                Continue(true)
            }
            Poll::Ready(Err(_)) => Break(Event::End(Ending::Aborted)),
        }
    }

    /// A client that is not read is still watched, while its bytes are few. What it says meanwhile is looked at as soon
    /// as it need not wait any more: nothing else may come that would be a reason to.
    fn notice_hang_up(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        let scratch = self.session.site.scratch();
        let mut link = self.session.down.link();
        let gone = link.read_ahead(cx, scratch, AHEAD_BYTES);
        let said = !link.inbox.is_empty();
        drop(link);
        self.again |= said;
        self.session.ended |= gone;
        // What it said before it fell silent is still to be heard, once the server or the barrier lets it.
        let unheard = said && (self.barred || self.unsent() > UNSENT_BYTES);
        match gone && !unheard {
            true => self.wait_for_the_last(),
            false => Continue(false),
        }
    }

    /// The client says no more. It may still hear what it is owed, but what waits for something to happen would take it
    /// from those who can still use it, and half a request has no answer.
    fn wait_for_the_last(&mut self) -> ControlFlow<Event, bool> {
        self.session.ended = true;
        let hears = self.pinned.owed() > 0 || self.passing.is_some() || !self.kept.is_empty();
        let vain = self.blocks || self.pinned.is_subscribed() || self.large.is_some();
        if hears && !vain { Continue(false) } else { Break(Event::End(Ending::Finished)) }
    }

    /// Hands the client's bytes on, and keeps what is not used.
    fn feed(&mut self, bytes: &[u8]) -> ControlFlow<Event> {
        let mut at = 0;
        let outcome = loop {
            let rest = &bytes[at..];
            let over = self.is_at_rest() && at > 0;
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
                Err(violation) => break Break(self.break_off(&violation)),
            };
            at += used;
        };
        self.session.down.link().inbox.keep(&bytes[at..]);
        outcome
    }

    /// The connection ends here; its client is told why, but not in the middle of a reply.
    fn break_off(&self, violation: &Violation) -> Event {
        if self.passing.is_none() {
            self.session.violated(violation);
        }
        Event::End(Ending::Protocol)
    }

    /// A whole request, or a line that stands for one. False: it must wait, and is shown again.
    fn take(&mut self, bytes: &[u8], span: Span) -> ControlFlow<Event, bool> {
        if !span.inline {
            return if span.argc == 0 { Continue(true) } else { self.request(bytes) };
        }
        match Session::respell(bytes) {
            Ok(request) => request.map_or(Continue(true), |request| self.request(&request)),
            Err(violation) => Break(self.break_off(&violation)),
        }
    }

    fn request(&mut self, request: &[u8]) -> ControlFlow<Event, bool> {
        let (command, route) = identify(request);
        let refusal = self.session.refusal(command, route);
        if refusal.is_none() && self.is_to_wait_for_the_barrier(command) {
            return Continue(false);
        }
        let mut link = self.session.down.link();
        let out = link.outbox.buffer();
        let ends_nothing = command.name == "discard" && Args::new(request).count() != 1;
        let mut order = match &refusal {
            Some(text) => self.pinned.refuse(text, out),
            // Redis refuses it, and the transaction goes on.
            None if ends_nothing => self.pinned.refuse(DISCARD_ARGUMENTS, out),
            None => self.pinned.request(command, request, out),
        };
        if let Order::Redirect { to } = order {
            let other = self.session.profile.fellow(to);
            order = self.pinned.redirected(command, request, other.and_then(|other| other.upstream()), out);
        }
        drop(link);
        if matches!(route, Route::Blocking | Route::Wait) {
            self.blocks = true;
            self.session.profile.guest().does(Doing::Blocked);
        }
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

    /// Whether the command waits until the barrier of a planned failover has fallen, and is shown again then.
    fn is_to_wait_for_the_barrier(&mut self, command: &Command) -> bool {
        let writes = command.may_write() || command.name == "exec";
        self.barred = writes && self.session.site.common.barrier.raised();
        self.barred
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
        if refusal.is_none() && self.is_to_wait_for_the_barrier(command) {
            return;
        }
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
    pub(super) fn order(&mut self, bytes: &[u8]) {
        if let Some(lease) = &mut self.lease {
            lease.link.outbox.push(bytes);
        }
    }
}
