//! The layer-4 relay: what one peer says the other hears, unread and unchanged. Kind: driver.
//!
//! Promises: bytes arrive in order; a peer that does not take its bytes stops the reading of the other, and what waits
//! for it meanwhile is one scratch buffer or one pipe at most; an end of stream travels on behind the last byte, each way
//! by itself; an idle relay holds neither buffer nor pipe. A message costs one read and one write: a read that did not
//! fill its buffer is not followed by another to hear that there is nothing.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

mod flow;
mod idle;
pub mod pipe;

use crate::link::{Link, Scratch};
use crate::session::Ending;
use crate::worker::{Pulse, Seat};
use flow::{Broken, Flow};
use idle::Idle;

/// Bytes that one relay may carry before the other sessions of its worker have their turn.
const TURN_BYTES: usize = 256 * 1024;

/// While the process drains, a relay whose upstream had the last word leaves after so much silence: between request
/// and answer that is the boundary, as far as anybody can tell who does not know the protocol.
const LULL: Duration = Duration::from_millis(500);

/// How long one direction may be silent once the other has ended. Without a limit a client that never notices that its
/// upstream has closed would keep its place for ever.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// What passed, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed {
    /// How it ended.
    pub ending: Ending,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes from the upstream.
    pub down: u64,
    /// Bytes of both that went from socket to socket without a visit to our memory.
    pub spliced: u64,
}

/// Relays until both sides have ended, one has failed, or the seat's news end it: `fenced` is asked at each, and says
/// whether the upstream is no longer what it was taken for. Then both sides are cut at once, and so are they when for as long
/// as `idle` no byte has passed either way.
pub async fn relay(
    client: Link,
    upstream: Link,
    seat: &Seat,
    scratch: &Scratch,
    idle: Option<Duration>,
    fenced: impl Fn() -> bool,
) -> Relayed {
    let mut relay = Relay::new(client, upstream, seat, scratch, fenced);
    relay.idle = idle.map(Idle::new);
    let ending = poll_fn(|cx| relay.poll_turn(cx)).await;
    let Relay { up, down, .. } = relay;
    Relayed { ending, up: up.taken, down: down.taken, spliced: up.spliced + down.spliced }
}

struct Relay<'a, F> {
    client: Link,
    upstream: Link,
    /// From the client to the upstream.
    up: Flow,
    /// From the upstream to the client.
    down: Flow,
    seat: &'a Seat,
    scratch: &'a Scratch,
    fenced: F,
    /// The upstream failed, or ended first.
    bereft: bool,
    /// The client spoke last: somebody owes it an answer.
    asked: bool,
    /// Runs while silence means something, for so long; never on the way of the bytes.
    silence: Option<(Duration, Pin<Box<Sleep>>)>,
    /// How long silence may last where it means nothing.
    idle: Option<Idle>,
}

impl<'a, F: Fn() -> bool> Relay<'a, F> {
    fn new(mut client: Link, mut upstream: Link, seat: &'a Seat, scratch: &'a Scratch, fenced: F) -> Self {
        let (mut up, mut down) = (Flow::new(), Flow::new());
        up.taken = hand_over(&mut client, &mut upstream);
        down.taken = hand_over(&mut upstream, &mut client);
        let (bereft, silence, asked) = (false, None, up.taken > 0);
        Self { client, upstream, up, down, seat, scratch, fenced, bereft, asked, silence, idle: None }
    }

    /// Moves bytes until nobody has any.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        // Each side has a connection of its own: nothing is shared that could be written in one go for several.
        match self.seat.quiet_pulse(cx) {
            Some(Pulse::Terminate) => return Poll::Ready(Ending::Terminated),
            Some(Pulse::Look) if (self.fenced)() => return Poll::Ready(Ending::Upstream),
            _ => {}
        }
        let enough = self.up.taken + self.down.taken + TURN_BYTES as u64;
        while self.up.taken + self.down.taken < enough {
            match self.pump(cx) {
                Err(ending) => return Poll::Ready(ending),
                Ok(true) => self.stirred(),
                Ok(false) => return self.poll_silence(cx),
            }
        }
        // Woken again once the worker has looked at its other sockets.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// Both directions once. The upstream first: its last words tell more about its end than our next write would.
    fn pump(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let Self { client, upstream, up, down, scratch, .. } = self;
        let (asked, answered) = (up.taken, down.taken);
        let downwards = down.pump(cx, upstream, client, scratch);
        let upwards = up.pump(cx, client, upstream, scratch);
        self.asked = up.taken > asked || (self.asked && down.taken == answered);
        let moved = match (downwards, upwards) {
            (Err(Broken::Into), _) | (_, Err(Broken::From)) => return Err(Ending::Aborted),
            (Err(Broken::From), _) => {
                self.down.end();
                self.up.abandon();
                self.bereft = true;
                true
            }
            (Ok(_), Err(Broken::Into)) => {
                self.up.abandon(); // what it said before it went is still to be read
                self.bereft = true;
                true
            }
            (Ok(downwards), Ok(upwards)) => downwards || upwards,
        };
        self.bereft |= self.down.has_ended() && !self.up.has_ended();
        match self.up.has_ended() && self.down.has_ended() {
            true => Err(self.ending()),
            false => Ok(moved),
        }
    }

    fn stirred(&mut self) {
        self.silence = None;
        if let Some(idle) = &mut self.idle {
            idle.stirred();
        }
    }

    fn ending(&self) -> Ending {
        if self.bereft { Ending::Upstream } else { Ending::Finished }
    }

    /// Nobody has any bytes. Is that the end?
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.idle.as_mut().is_some_and(|idle| idle.poll(cx).is_ready()) {
            return Poll::Ready(self.ending());
        }
        let Some((patience, ending)) = self.patience() else {
            self.silence = None;
            return Poll::Pending;
        };
        if self.silence.as_ref().is_none_or(|(armed, _)| *armed != patience) {
            self.silence = Some((patience, Box::pin(sleep(patience))));
        }
        let (_, silence) = self.silence.as_mut().expect("armed above");
        silence.as_mut().poll(cx).map(|()| ending)
    }

    /// How long may this silence last, and what does it mean when it lasts longer?
    fn patience(&self) -> Option<(Duration, Ending)> {
        let owed = self.asked || self.down.under_way(&self.client) > 0;
        if self.seat.is_draining() && !owed {
            return Some((LULL, Ending::Drained));
        }
        let half_open = self.up.has_ended() || self.down.has_ended();
        half_open.then(|| (HALF_OPEN, self.ending()))
    }
}

/// What was read before the relay began goes first.
fn hand_over(from: &mut Link, into: &mut Link) -> u64 {
    let early = from.inbox.rest().len();
    into.outbox.push(from.inbox.rest());
    from.inbox.consume(early);
    early as u64
}

#[cfg(test)]
mod tests;
