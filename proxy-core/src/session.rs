//! The one connection loop of the house. A protocol is a [`Machine`] without I/O; [`drive`] moves the bytes that it
//! orders to be moved, between the client, the machine and a leased upstream connection. Kind: driver.
//!
//! ```text
//!            downstream bytes                    upstream bytes
//!   client ──────────────────▶ Machine ◀────────────────────── lease ◀── pool
//!          ◀────────────────── Step    ──────────────────────▶
//!              forward n · skip n · then: more, attach, detach, close
//! ```
//!
//! Promises: bytes go on in the order in which they came; a side that does not take its bytes stops the reading of
//! the other (back-pressure); nothing is lost when a wait is given up, as all buffers live in the links; a lease goes
//! back only at the machine's word, and is closed if the session ends in any other way.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

mod machine;

pub use machine::{Ending, Loss, Machine, Step, Then};

use crate::link::{Link, Scratch};
use crate::upstream::pool::{Lease, Pool, Port, Refusal, Reuse};
use crate::worker::{Pulse, Seat};

/// Bytes that a client may send ahead while it waits for an upstream; beyond that it is not read.
const AHEAD_BYTES: usize = 64 * 1024;

/// Bytes of answers that a client may leave unread before its further requests are not read. Reading on while few
/// wait spares both sides a stall; without a limit a client that asks and never listens would fill our memory.
const UNHEARD_BYTES: usize = 64 * 1024;

/// How long a client may take to read the last words of its session.
const FAREWELL: Duration = Duration::from_secs(10);

/// One client connection and, at times, its lease.
pub struct Session<M: Machine> {
    client: Link,
    lease: Option<Lease<M::Connect>>,
    machine: M,
    pool: Rc<Pool<M::Connect>>,
    seat: Seat,
    scratch: Scratch,
    /// Kept bytes of the client are to be shown to the machine again, although nothing new has come.
    again: bool,
}

/// Runs a session to its end: leases, forwards and gives back as its machine orders.
pub async fn drive<M: Machine>(
    client: Link,
    machine: M,
    pool: Rc<Pool<M::Connect>>,
    seat: Seat,
    scratch: Scratch,
) -> Ending {
    let mut session = Session { client, lease: None, machine, pool, seat, scratch, again: true };
    loop {
        let then = match poll_fn(|cx| session.poll_turn(cx)).await {
            Then::Attach => session.attach().await,
            then => then,
        };
        if let Then::Close(ending) = then {
            return session.finish(ending).await;
        }
    }
}

impl<M: Machine> Session<M> {
    /// Moves bytes until nobody has any, and answers with what only the loop can do: wait for a lease, or end.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Then> {
        if let Some(pulse) = self.seat.pulse(cx) {
            let then = self.on_pulse(pulse);
            if let Some(then) = self.settle(then) {
                return Poll::Ready(then);
            }
        }
        loop {
            let mut moved = false;
            // The upstream first: its last words tell more about its end than our next write would.
            for pump in [Self::pump_upstream, Self::pump_downstream] {
                let then = pump(self, cx, &mut moved);
                if let Some(then) = self.settle(then) {
                    return Poll::Ready(then);
                }
            }
            if !moved {
                return self.rest();
            }
        }
    }

    /// Nobody has any bytes. While the process drains this may be the boundary at which to leave.
    fn rest(&mut self) -> Poll<Then> {
        if !self.seat.is_draining() {
            return Poll::Pending;
        }
        let upstream = self.lease.as_mut().map(|lease| lease.port());
        match self.machine.drain(&mut self.client.outbox, upstream) {
            then @ Then::Close(_) => Poll::Ready(then),
            _ => Poll::Pending,
        }
    }

    /// Does what can be done without waiting; hands back what can't.
    fn settle(&mut self, then: Then) -> Option<Then> {
        match then {
            Then::Lost => {
                let then = self.lose(|unsent| Loss::Cut { unsent });
                self.settle(then)
            }
            Then::Again | Then::More => None,
            Then::Detach(reuse) => {
                self.give_back(reuse);
                self.again = !self.client.inbox.is_empty();
                None
            }
            Then::Attach => match self.pool.try_lease() {
                Some(lease) => {
                    self.take(lease);
                    None
                }
                None => Some(Then::Attach),
            },
            Then::Close(_) => Some(then),
        }
    }

    fn on_pulse(&mut self, pulse: Pulse) -> Then {
        match pulse {
            Pulse::Terminate => Then::Close(Ending::Terminated),
            Pulse::Look => match &self.lease {
                Some(lease) if !lease.is_current() => self.lose(|unsent| Loss::Fenced { unsent }),
                _ => Then::Again,
            },
        }
    }

    /// Client to machine to upstream, one read's worth.
    fn pump_downstream(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Then {
        let unheard = !self.client.outbox.is_empty();
        match self.client.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Then::Close(self.machine.hung_up()),
            Poll::Pending if self.client.outbox.rest().len() > UNHEARD_BYTES => return Then::More,
            _ => {}
        }
        // The upstream was not read while the client had not heard all: nobody but we will wake us for what it says.
        *moved |= unheard && self.client.outbox.is_empty();
        // What was pushed at the start of a lease leaves together with the request behind it.
        let upstream = self.lease.as_mut().filter(|_| !self.again);
        match upstream.map(|lease| lease.link.poll_flush(cx)) {
            Some(Poll::Pending) => return Then::More, // back-pressure: first that
            Some(Poll::Ready(Err(_))) => {
                *moved = true; // what is to be read again lies in the inbox
                return Then::Lost;
            }
            _ => {}
        }
        if std::mem::take(&mut self.again) {
            *moved = true;
            return self.feed_downstream(cx, None);
        }
        self.read_downstream(cx, moved)
    }

    fn read_downstream(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Then {
        let scratch = self.scratch.clone();
        let mut scratch = scratch.borrow();
        match self.client.poll_fill(cx, &mut scratch) {
            Poll::Pending => Then::More,
            Poll::Ready(Ok(n)) if n > 0 => {
                *moved = true;
                self.feed_downstream(cx, Some(&scratch[..n]))
            }
            Poll::Ready(_) => Then::Close(self.machine.hung_up()),
        }
    }

    /// Shows the machine the client's bytes (`fresh` ones behind what was kept) and carries its orders out.
    fn feed_downstream(&mut self, cx: &mut Context<'_>, fresh: Option<&[u8]>) -> Then {
        let Self { client: Link { inbox, outbox, .. }, lease, machine, .. } = self;
        let kept = !inbox.is_empty();
        if let Some(fresh) = fresh.filter(|_| kept) {
            inbox.keep(fresh);
        }
        let input = fresh.filter(|_| !kept);
        let mut at = 0;
        let then = loop {
            let rest = &input.unwrap_or(inbox.rest())[at..];
            let port = lease.as_mut().map(|lease| lease.port());
            let step = machine.downstream(rest, outbox, port);
            if step.forward > 0 {
                let lease = lease.as_mut().expect("a machine forwards only to a lease that it was shown");
                if lease.link.send(cx, &rest[..step.forward]).is_err() {
                    at += step.forward + step.skip;
                    break Then::Lost;
                }
            }
            at += step.forward + step.skip;
            if step.then != Then::Again {
                break step.then;
            }
        };
        match input {
            Some(input) => inbox.keep(&input[at..]),
            None => inbox.consume(at),
        }
        then
    }

    /// Upstream to machine to client, one read's worth.
    fn pump_upstream(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Then {
        match self.client.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Then::Close(self.machine.hung_up()),
            Poll::Pending => return Then::More, // back-pressure
            Poll::Ready(Ok(())) if self.lease.is_none() => return Then::More,
            Poll::Ready(Ok(())) => {}
        }
        let scratch = self.scratch.clone();
        let mut scratch = scratch.borrow();
        let lease = self.lease.as_mut().expect("looked at above");
        match lease.link.poll_fill(cx, &mut scratch) {
            Poll::Pending => Then::More,
            Poll::Ready(Ok(n)) if n > 0 => {
                *moved = true;
                self.feed_upstream(cx, &scratch[..n])
            }
            Poll::Ready(_) => {
                *moved = true;
                Then::Lost
            }
        }
    }

    fn feed_upstream(&mut self, cx: &mut Context<'_>, fresh: &[u8]) -> Then {
        let Self { client, lease: Some(lease), machine, .. } = self else {
            return Then::More;
        };
        let conn = &mut **lease;
        let kept = !conn.link.inbox.is_empty();
        if kept {
            conn.link.inbox.keep(fresh);
        }
        let mut at = 0;
        let then = loop {
            let rest = if kept { &conn.link.inbox.rest()[at..] } else { &fresh[at..] };
            let port = Port { state: &mut conn.state, outbox: &mut conn.link.outbox };
            let step = machine.upstream(rest, &mut client.outbox, port);
            if step.forward > 0 && client.send(cx, &rest[..step.forward]).is_err() {
                break Then::Close(machine.hung_up());
            }
            at += step.forward + step.skip;
            if step.then != Then::Again {
                break step.then;
            }
        };
        match kept {
            true => conn.link.inbox.consume(at),
            false => conn.link.inbox.keep(&fresh[at..]),
        }
        then
    }

    /// The lease is gone: the machine says what that means for the client.
    fn lose(&mut self, loss: impl FnOnce(usize) -> Loss) -> Then {
        let Some(mut lease) = self.lease.take() else {
            return Then::Again;
        };
        let loss = loss(lease.link.outbox.rest().len());
        let (unread, then) = self.machine.lost(loss, &mut self.client.outbox, &mut lease.state);
        lease.suspect();
        lease.release(Reuse::Discard);
        if !unread.is_empty() {
            self.client.inbox.put_back(&unread);
        }
        self.again = !self.client.inbox.is_empty();
        then
    }

    /// Waits in the pool's queue; reads ahead meanwhile, so that a client that leaves is noticed.
    async fn attach(&mut self) -> Then {
        let pool = self.pool.clone();
        let mut wait = pin!(pool.lease(self.client.inbox.rest().len()));
        let got = poll_fn(|cx| {
            if let Poll::Ready(got) = wait.as_mut().poll(cx) {
                return Poll::Ready(Ok(got));
            }
            self.poll_waiting(cx).map(Err)
        })
        .await;
        match got {
            Ok(Ok(lease)) => {
                self.take(lease);
                Then::Again
            }
            Ok(Err(refusal)) => {
                self.again = true;
                self.machine.refused(&refusal, &mut self.client.outbox)
            }
            Err(then) => then,
        }
    }

    /// While the client waits: is it still there, and does it still want to?
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Then> {
        let pulse = self.seat.pulse(cx);
        if pulse == Some(Pulse::Terminate) {
            return Poll::Ready(Then::Close(Ending::Terminated));
        }
        if self.machine.gave_up() {
            self.again = true;
            return Poll::Ready(self.machine.refused(&Refusal::Cancelled, &mut self.client.outbox));
        }
        if matches!(self.client.poll_flush(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Then::Close(Ending::Aborted));
        }
        match self.client.read_ahead(cx, &self.scratch, AHEAD_BYTES) {
            true => Poll::Ready(Then::Close(Ending::Aborted)),
            false => Poll::Pending,
        }
    }

    fn take(&mut self, mut lease: Lease<M::Connect>) {
        self.machine.attached(lease.port());
        self.lease = Some(lease);
        self.again = true;
    }

    fn give_back(&mut self, reuse: Reuse) {
        if let Some(lease) = self.lease.take() {
            lease.release(reuse);
        }
    }

    /// Ends the session: the lease is not known to be clean, the client hears what was still to be said.
    async fn finish(mut self, ending: Ending) -> Ending {
        self.give_back(Reuse::Discard);
        let last_words = tokio::time::timeout(FAREWELL, self.client.finish());
        let _ = self.seat.until_terminated(last_words).await; // whoever has gone need not hear it
        ending
    }
}

#[cfg(test)]
mod tests;
