//! A replica at work on one request: its slot, and the connection that the answer comes on. Kind: driver.
//!
//! Promise: both are given back with the last byte of the answer, and never later; when an answer breaks off, or nobody
//! wants it any more, the connection is closed.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::task::Poll;
use std::time::Duration;

use proxy_core::upstream::Outcome;
use tokio::time::Instant;

use super::desk::Desk;
use super::parting::part;
use super::watchdog::Watchdog;
use crate::cluster::Slot;
use crate::metrics::add;
use crate::server::{Keeping, Lost, Talk};

/// How long a replica that is in the middle of its answer goes on when its client has left. Nearly all have said the rest
/// by then; a stream that never ends is cut.
const PARTING: Duration = Duration::from_secs(5);

/// A replica at work.
pub(super) struct Lease<'a> {
    desk: &'a Desk,
    timer: &'a mut Watchdog,
    /// The longest pause between two pieces of the answer.
    pause: Duration,
    keeping: Keeping,
    /// There until the last byte has come.
    held: Option<(Slot, Talk)>,
    trailers: Vec<u8>,
    /// When it came.
    freed: Instant,
}

impl<'a> Lease<'a> {
    /// Nothing is held yet.
    pub(super) fn new(desk: &'a Desk, timer: &'a mut Watchdog, pause: Duration, keeping: Keeping) -> Self {
        let freed = Instant::now();
        Self { desk, timer, pause, keeping, held: None, trailers: Vec::new(), freed }
    }

    /// The answer has begun on `talk`; it may be whole already, and then nothing stays here.
    pub(super) fn hold(&mut self, slot: Slot, talk: Talk) {
        match talk.is_done() {
            true => self.release(slot, talk, self.freed),
            false => self.held = Some((slot, talk)),
        }
    }

    /// Whether the last byte has come.
    pub(super) fn is_done(&self) -> bool {
        self.held.is_none()
    }

    /// When the last byte came, or else when the answer began.
    pub(super) fn freed(&self) -> Instant {
        self.freed
    }

    /// The fields behind the body, once it is whole.
    pub(super) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// The next bytes of the answer's body: their place in the scratch, where they lie until the next await. May be
    /// dropped without loss.
    pub(super) fn more(&mut self) -> impl Future<Output = Result<Range<usize>, Lost>> {
        let late = Instant::now() + self.pause;
        poll_fn(move |cx| {
            let Some((_, talk)) = &mut self.held else { return Poll::Ready(Ok(0..0)) };
            match talk.poll_body(cx, &mut self.desk.floor.scratch.borrow()) {
                Poll::Pending => self.timer.poll_late(cx, late).map(|()| Err(Lost::Late)),
                Poll::Ready(Ok(came)) => {
                    self.release_if_done(Instant::now());
                    Poll::Ready(Ok(came))
                }
                lost => lost,
            }
        })
    }

    fn release_if_done(&mut self, now: Instant) {
        if let Some((slot, talk)) = self.held.take_if(|(_, talk)| talk.is_done()) {
            self.release(slot, talk, now);
        }
    }

    fn release(&mut self, slot: Slot, talk: Talk, now: Instant) {
        self.trailers = talk.trailers().to_vec();
        self.freed = now;
        if talk.babbles() {
            add(&self.desk.tally.babbling);
            tracing::warn!(endpoint = %slot.endpoint().addr(), "a replica said more than it was asked for");
        }
        if let Some(link) = talk.into_kept() {
            self.desk.shelves.put(slot.endpoint(), link, now, &self.keeping);
        }
        slot.served(now);
    }

    /// The client has left.
    pub(super) fn left(mut self) {
        if let Some((slot, talk)) = self.held.take() {
            part(slot, talk.into_link(), self.desk.floor.scratch.clone(), Instant::now() + PARTING);
        }
    }

    /// The answer broke off by the replica's fault.
    pub(super) fn failed(mut self) {
        if let Some((slot, _closed)) = self.held.take() {
            slot.settle(Outcome::Failed);
        }
    }
}
