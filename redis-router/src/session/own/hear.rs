//! What the server says to a client that has a connection of its own. Kind: driver.

use std::ops::ControlFlow::{self, Break, Continue};
use std::task::{Context, Poll};

use proxy_core::relay::pipe::{PIPE_BYTES, Pipe};

use super::{Event, Own};
use crate::session::driver::HEAVY;
use crate::session::pinned::Deliver;
use crate::session::registry::Doing;
use crate::wire::ReplyKind;

/// Bytes of a reply that are kept back until it is whole; a larger one is passed on as it comes.
const WHOLE_BYTES: usize = 64 * 1024;

/// Bytes of a string still to come for which a pipe is opened: less is over before its own system calls have paid.
const PIPED_BYTES: usize = 256 * 1024;

/// The end of a string: its CRLF.
const END_BYTES: usize = 2;

/// What the machine wants to see of a reply.
const HEAD_BYTES: usize = 512;

impl Own<'_> {
    /// Server to client, one read's worth.
    pub(super) fn pump_upstream(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        let Some(lease) = &mut self.lease else { return Break(Event::Lost) };
        if let Poll::Ready(Err(_)) = lease.link.poll_flush(cx) {
            return Break(Event::Lost);
        }
        if self.session.down.is_deaf(cx) {
            return Continue(false); // what it says goes on to the server, which keeps the replies
        }
        if self.goes_by_pipe() {
            return self.pump_pipe(cx);
        }
        let Some(lease) = &mut self.lease else { return Break(Event::Lost) };
        let site = self.session.site.clone();
        let mut scratch = site.scratch().borrow();
        match lease.link.poll_fill(cx, &mut scratch) {
            Poll::Pending => Continue(false),
            Poll::Ready(Ok(n)) if n > 0 => self.hear(cx, &scratch[..n]).map_continue(|()| true),
            Poll::Ready(_) => Break(Event::Lost),
        }
    }

    /// Whether what comes next is the inside of a long string that the kernel can pass on by itself. Not its end, which
    /// is looked at.
    fn goes_by_pipe(&mut self) -> bool {
        let Some(lease) = self.lease.as_ref().filter(|_| self.passing == Some(true)) else { return false };
        if self.pipe.is_some() {
            return true;
        }
        let down = self.session.down.link();
        let plain = lease.link.stream().tcp().is_some() && down.stream().tcp().is_some();
        if !plain || !down.outbox.is_empty() || self.replies.expected() < PIPED_BYTES {
            return false;
        }
        self.pipe = Pipe::open().ok(); // without one the bytes are copied
        self.pipe.is_some()
    }

    /// Server to client, one pipe's worth.
    fn pump_pipe(&mut self, cx: &mut Context<'_>) -> ControlFlow<Event, bool> {
        let (Some(lease), Some(pipe)) = (&self.lease, &mut self.pipe) else { return Break(Event::Lost) };
        let down = self.session.down.link();
        let (Some(server), Some(client)) = (lease.link.stream().tcp(), down.stream().tcp()) else {
            return Break(Event::Lost);
        };
        if pipe.held() == 0 {
            match pipe.poll_fill(cx, server, PIPE_BYTES.min(self.replies.expected() - END_BYTES)) {
                Poll::Pending => return Continue(false),
                Poll::Ready(Ok(taken)) if taken > 0 => self.replies.skip(taken),
                Poll::Ready(_) => return Break(Event::Lost),
            }
        }
        match pipe.poll_drain(cx, client) {
            Poll::Pending => return Continue(false),
            Poll::Ready(Ok(())) if self.replies.expected() == END_BYTES => self.pipe = None,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => self.session.down.close(),
        }
        Continue(true)
    }

    /// Takes bytes from the server.
    fn hear(&mut self, cx: &mut Context<'_>, mut rest: &[u8]) -> ControlFlow<Event> {
        while !rest.is_empty() {
            let Ok(advance) = self.replies.advance(rest) else { return Break(Event::Lost) };
            let (bytes, behind) = rest.split_at(advance.used);
            rest = behind;
            match (advance.end, self.passing) {
                (end, Some(to_client)) => self.pass(cx, bytes, to_client, end.is_some()),
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
        // Once for all that came: it looks at everything that is owed.
        if self.turned_away && self.pinned.may_hang_up(self.unsent()) {
            return Break(Event::TurnedAway);
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

    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8], to_client: bool, last: bool) {
        if to_client && self.session.down.link().send(cx, bytes).is_err() {
            self.session.down.close();
        }
        if last {
            self.passing = None;
            self.again = true;
            self.pinned.end_reply();
            self.answered();
        }
    }

    /// Something was answered: what waited for that may go on.
    fn answered(&mut self) {
        if !self.turned_away && self.turned_away_since.take().is_some() {
            self.pauses.reset();
        }
        if self.blocks && self.pinned.owed() == 0 {
            self.blocks = false;
            self.session.profile.guest().does(Doing::Normal);
        }
        if self.pinned.is_subscribed() {
            self.session.profile.guest().does(Doing::Subscribed);
        }
        self.session.profile.redirection = self.pinned.redirection();
        self.pinned.answer(self.session.down.link().outbox.buffer());
        self.again |= std::mem::take(&mut self.waits);
    }
}
