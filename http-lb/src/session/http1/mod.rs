//! HTTP/1.1 downstream: one connection, its requests one after the other. Kind: driver.
//!
//! ```text
//!            ┌────────────────────────────── goes on ─────────────────────────────┐
//!   wait for a request ──head──▶ Turn (body ▸ answer) ──▶ closes ──▶ linger ──▶ end
//!     └──refused (400 408 413 431 …)──────────────────────▲
//! ```
//! Promise: a connection that waits holds no buffer and a future of a few hundred bytes. A head is read in the
//! worker's scratch; what comes behind it rests in the inbox, up to [`AHEAD`]. Every wait has a deadline.

mod say;
#[cfg(test)]
mod tests;
mod turn;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use proxy_core::link::Link;
use proxy_core::relay::relay;
use proxy_core::session::Ending;
use proxy_core::worker::{Pulse, Seat, after_others};
use tokio::time::Instant;

use super::client::{AnswerHead, Client, Size};
use super::desk::{Desk, Present};
use super::exchange::{self, Served, Tunnel};
use super::visit::Visit;
use super::watchdog::Watchdog;
use crate::wire::{Malformed, RequestHead, is_http2};
use turn::Turn;

/// Bytes that a client may send ahead while it is being answered; beyond that it is not read.
const AHEAD: usize = 16 * 1024;

/// How long, and for how many bytes, we listen to a client whose connection we end early: if we closed at once, the
/// kernel would reset the connection, and the client could lose our last words (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 1024 * 1024;

/// One downstream connection.
pub struct Http1 {
    line: Line,
    seat: Seat,
    /// The request that is being read.
    head: Option<Box<RequestHead>>,
    /// Watches over replicas at work for us. It stays here, as arming a timer anew costs more than reading a request.
    timer: Watchdog,
    /// Until when the connection may be idle, or the head of the next request must be there.
    due: Instant,
}

/// The connection itself, which a request has for itself while it is answered.
struct Line {
    link: Link,
    dog: Watchdog,
    visit: Visit,
    /// How many requests have come.
    requests: u64,
}

/// What came of waiting for a request.
enum Arrival {
    /// Its head is there; the configuration of that moment counts for all of it.
    Request(Rc<Present>),
    /// It can't be read.
    Refused(Malformed),
    /// The client speaks HTTP/2, without having asked (RFC 9113 section 3.3).
    Http2,
    /// None will come.
    None(Ending),
}

/// What follows a request.
enum After {
    /// The next one.
    GoesOn,
    /// Nothing.
    Closed(Ending),
    /// Another protocol, with this replica.
    Upgraded(Box<Tunnel>),
}

/// How a connection ended, as far as HTTP/1.1 is concerned.
pub enum Ended {
    /// It is closed.
    Closed(Ending),
    /// It goes on in HTTP/2; the bytes read so far are in the inbox.
    Http2(Link),
}

impl Http1 {
    /// A connection on which nothing was said yet.
    /// In a box: as a value it would be kept twice, in the future that makes it and in the one that runs it.
    pub fn new(link: Link, seat: Seat, visit: Visit) -> Box<Self> {
        let due = Instant::now() + visit.desk.house().config.timeouts.idle;
        let line = Line { link, dog: Watchdog::default(), visit, requests: 0 };
        Box::new(Self { line, seat, head: None, timer: Watchdog::default(), due })
    }

    /// Serves it to its end.
    pub async fn serve(mut self: Box<Self>) -> Ended {
        loop {
            let after = match poll_fn(|cx| self.poll_request(cx)).await {
                // In boxes of their own: what a request needs, an idle connection must not hold.
                Arrival::Request(house) => {
                    after_others().await;
                    self.answering(house).await
                }
                Arrival::Refused(fault) => After::Closed(Box::pin(self.refuse(fault)).await),
                Arrival::Http2 => return Ended::Http2(self.line.link),
                Arrival::None(ending) => After::Closed(ending),
            };
            match after {
                After::GoesOn => {}
                After::Closed(ending) => return Ended::Closed(ending),
                After::Upgraded(tunnel) => return Ended::Closed(Box::pin(self.relay(*tunnel)).await),
            }
        }
    }

    fn desk(&self) -> &Rc<Desk> {
        &self.line.visit.desk
    }

    /// Nothing of a next request has come.
    fn is_idle(&self) -> bool {
        self.line.link.inbox.is_empty() && self.head.as_ref().is_none_or(|head| head.is_idle())
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if let Some(Pulse::Terminate) = self.seat.quiet_pulse(cx) {
            return Poll::Ready(Arrival::None(Ending::Terminated));
        }
        if self.seat.is_draining() && self.is_idle() {
            return Poll::Ready(Arrival::None(Ending::Drained));
        }
        match self.poll_read(cx) {
            Poll::Ready(arrival) => Poll::Ready(arrival),
            Poll::Pending => {
                ready!(self.line.dog.poll_late(cx, self.due));
                Poll::Ready(self.late())
            }
        }
    }

    /// Reads until a head is whole.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let desk = self.line.visit.desk.clone();
        if !self.line.link.inbox.is_empty() {
            let ahead = self.line.link.inbox.take();
            if let Some(arrival) = self.read(&ahead) {
                return Poll::Ready(arrival);
            }
        }
        loop {
            let mut scratch = desk.floor.scratch.borrow();
            let arrival = match ready!(self.line.link.poll_fill(cx, &mut scratch)) {
                Ok(read) if read > 0 && self.line.link.inbox.is_empty() => self.read(&scratch[..read]),
                Ok(read) if read > 0 => {
                    self.line.link.inbox.keep(&scratch[..read]);
                    let all = self.line.link.inbox.take();
                    self.read(&all)
                }
                _ if self.is_idle() => return Poll::Ready(Arrival::None(Ending::Finished)),
                _ => return Poll::Ready(Arrival::None(Ending::Aborted)),
            };
            if let Some(arrival) = arrival {
                return Poll::Ready(arrival);
            }
        }
    }

    /// Reads on in the head; what is behind it stays in the inbox.
    fn read(&mut self, bytes: &[u8]) -> Option<Arrival> {
        if self.line.visit.may_be_http2 && self.line.requests == 0 && self.head.is_none() {
            match is_http2(bytes) {
                Some(false) => {}
                known => {
                    self.line.link.inbox.keep(bytes);
                    return known.map(|_| Arrival::Http2);
                }
            }
        }
        let (begins, house) = (self.head.is_none(), self.desk().house());
        let head = self.head.get_or_insert_with(|| self.line.visit.desk.lend_head());
        match head.feed(bytes, &house.head) {
            // Nearly always a head is whole at once: then no clock is read.
            Ok(None) if begins => {
                self.due = Instant::now() + house.config.timeouts.header;
                None
            }
            Ok(None) => None,
            Ok(Some(used)) => {
                self.line.link.inbox.keep(&bytes[used..]);
                Some(Arrival::Request(house))
            }
            Err(fault) => Some(Arrival::Refused(fault)),
        }
    }

    /// The deadline has passed: the client was idle for long enough, or too slow.
    fn late(&self) -> Arrival {
        match self.is_idle() {
            true => Arrival::None(Ending::Finished),
            false => Arrival::Refused(Malformed { status: 408, what: "head too slow" }),
        }
    }

    /// [`answer`](Self::answer) in a box, which is there first: `Box::pin` would build that much elsewhere, and move it in.
    fn answering(&mut self, house: Rc<Present>) -> Pin<Box<impl Future<Output = After>>> {
        Box::into_pin(Box::write(Box::new_uninit(), self.answer(house)))
    }

    /// Answers the request whose head is there.
    async fn answer(&mut self, house: Rc<Present>) -> After {
        let Some(head) = self.head.take() else { return After::GoesOn };
        self.line.requests += 1;
        let visit = self.line.visit.clone();
        let mut turn = Turn::new(&mut self.line, &self.seat, &head, house.clone());
        let served = {
            let mut serving = pin!(exchange::serve(&mut turn, &head, &visit, &house, &mut self.timer));
            // Not `until_terminated`, which would hold the whole of it a second time.
            poll_fn(|cx| match self.seat.quiet_pulse(cx) {
                Some(Pulse::Terminate) => Poll::Ready(None),
                _ => serving.as_mut().poll(cx).map(Some),
            })
            .await
        };
        let outcome = turn.outcome();
        self.desk().keep_head(head);
        match served {
            None => After::Closed(Ending::Terminated),
            Some((Served::Gone, _)) => After::Closed(Ending::Aborted),
            Some((Served::Upgraded(tunnel), _)) => After::Upgraded(tunnel),
            Some((Served::Answered, ended)) if outcome.goes_on => {
                self.due = ended + house.config.timeouts.idle;
                After::GoesOn
            }
            Some((Served::Answered, _)) => After::Closed(self.close(outcome.unread).await),
        }
    }

    /// Tells a client that its request can't be read, and closes: where the next one would begin is not known.
    async fn refuse(&mut self, fault: Malformed) -> Ending {
        tracing::debug!(status = fault.status, what = fault.what, "refused");
        let house = self.desk().house();
        let page = exchange::unreadable(&house, fault.status);
        let mut turn = Turn::refusing(&mut self.line, &self.seat, house);
        let answer = AnswerHead {
            status: fault.status,
            fields: &page.fields,
            dated: false,
            size: Size::Length(page.body.len() as u64),
        };
        let told = match turn.begin(&answer, &page.body, true) {
            Ok(()) => turn.flush().await,
            gone => gone,
        };
        if told.is_ok() {
            self.linger().await;
        }
        Ending::Aborted
    }

    /// Ends the connection behind an answer.
    async fn close(&mut self, unread: bool) -> Ending {
        if unread || !self.line.link.inbox.is_empty() {
            self.linger().await;
        } else if self.line.link.stream().is_tls() {
            self.finish().await;
        }
        Ending::Finished
    }

    /// Ends our half; the client sees a proper end.
    async fn finish(&mut self) -> bool {
        let due = Instant::now() + LINGER;
        let finished = self.line.dog.guard(due, poll_fn(|cx| self.line.link.poll_finish(cx))).await;
        matches!(finished, Some(Ok(())))
    }

    /// Ends our half, and reads what the client still sends until it has ended its own, for a while.
    async fn linger(&mut self) {
        if !self.finish().await {
            return;
        }
        let (due, mut left) = (Instant::now() + LINGER, LINGER_BYTES);
        let Self { line: Line { link, dog, visit, .. }, seat, .. } = self;
        let drained = poll_fn(|cx| {
            while left > 0 && !matches!(seat.quiet_pulse(cx), Some(Pulse::Terminate)) {
                match ready!(link.poll_fill(cx, &mut visit.desk.floor.scratch.borrow())) {
                    Ok(read) if read > 0 => left = left.saturating_sub(read),
                    _ => break,
                }
            }
            Poll::Ready(())
        });
        dog.guard(due, drained).await;
    }

    /// Both ends have agreed on another protocol: bytes go both ways, unread.
    async fn relay(self: Box<Self>, tunnel: Tunnel) -> Ending {
        let scratch = self.desk().floor.scratch.clone();
        let idle = Some(self.desk().house().config.timeouts.tunnel);
        let Tunnel { upstream, slot } = tunnel;
        let relayed = relay(self.line.link, upstream, &self.seat, &scratch, idle, || false).await;
        drop(slot);
        relayed.ending
    }
}
