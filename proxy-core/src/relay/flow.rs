//! One direction of a relay: reads here, writes there, and stops reading while the other side does not take. Kind: driver.

use std::io;
use std::task::{Context, Poll, ready};

use super::pipe::{PIPE_BYTES, Pipe};
use crate::link::{Link, Scratch};

/// Reads in a row that fill the whole scratch buffer before a pipe is opened: what fits into less is over before the
/// pipe's own system calls (four of them) have paid.
const FULL_READS: u8 = 4;

/// How far a direction has come.
///
/// ```text
///   Open ──end of stream──▶ Ending ──all delivered, our half shut──▶ Ended
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Open,
    Ending,
    Ended,
}

/// Whose socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The one that is read.
    From,
    /// The one that is written.
    Into,
}

/// One direction.
pub(super) struct Flow {
    course: Course,
    /// Bytes taken from the one side.
    pub(super) taken: u64,
    /// Those of them that never came into our memory.
    pub(super) spliced: u64,
    /// Full reads in a row.
    full_reads: u8,
    /// There while a long stream runs, between two plain sockets; an idle relay holds none.
    pipe: Option<Pipe>,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { course: Course::Open, taken: 0, spliced: 0, full_reads: 0, pipe: None }
    }

    /// Nothing more will come this way.
    pub(super) fn has_ended(&self) -> bool {
        self.course == Course::Ended
    }

    /// The reader side is no more: what it sent is still delivered.
    pub(super) fn end(&mut self) {
        if self.course == Course::Open {
            self.course = Course::Ending;
        }
    }

    /// The writer side is no more.
    pub(super) fn abandon(&mut self) {
        self.course = Course::Ended;
        self.pipe = None;
    }

    /// Bytes that were taken and are not with the other side's kernel yet.
    pub(super) fn under_way(&self, into: &Link) -> usize {
        into.outbox.rest().len() + self.pipe.as_ref().map_or(0, Pipe::held)
    }

    /// Delivers what is under way, then takes once and passes it on. True if anything moved.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Link,
        into: &mut Link,
        scratch: &Scratch,
    ) -> Result<bool, Broken> {
        if self.has_ended() {
            return Ok(false);
        }
        let before = self.under_way(into);
        let delivered = self.poll_deliver(cx, into).map_err(|_| Broken::Into)?;
        let moved = self.under_way(into) < before;
        if delivered.is_pending() {
            return Ok(moved); // back-pressure
        }
        match self.course {
            Course::Open => Ok(self.take(cx, from, into, scratch)? || moved),
            _ => Ok(self.finish(cx, into) || moved),
        }
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>, into: &mut Link) -> Poll<io::Result<()>> {
        ready!(into.poll_flush(cx))?;
        match (&mut self.pipe, into.stream().tcp()) {
            (Some(pipe), Some(socket)) => pipe.poll_drain(cx, socket),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn take(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Link,
        into: &mut Link,
        scratch: &Scratch,
    ) -> Result<bool, Broken> {
        let taken = match (&mut self.pipe, from.stream().tcp()) {
            (Some(pipe), Some(socket)) => pipe.poll_fill(cx, socket, PIPE_BYTES).map_err(|_| Broken::From)?,
            _ => self.copy(cx, from, into, scratch)?,
        };
        let Poll::Ready(taken) = taken else {
            self.pipe = None; // it was empty, or nothing would have been taken
            return Ok(false);
        };
        self.taken += taken as u64;
        self.spliced += self.pipe.as_ref().map_or(0, |pipe| pipe.held() as u64);
        match taken {
            0 => self.end(),
            _ => self.prefer_pipe(from, into),
        }
        Ok(true)
    }

    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Link,
        into: &mut Link,
        scratch: &Scratch,
    ) -> Result<Poll<usize>, Broken> {
        let mut scratch = scratch.borrow();
        let Poll::Ready(taken) = from.poll_fill(cx, &mut scratch).map_err(|_| Broken::From)? else {
            return Ok(Poll::Pending);
        };
        if taken > 0 {
            into.send(cx, &scratch[..taken]).map_err(|_| Broken::Into)?;
        }
        self.full_reads = if taken == scratch.len() { self.full_reads.saturating_add(1) } else { 0 };
        Ok(Poll::Ready(taken))
    }

    /// Goes over to a pipe when a long stream runs between plain sockets. TLS has to be read by us.
    #[inline]
    fn prefer_pipe(&mut self, from: &Link, into: &Link) {
        if self.full_reads < FULL_READS || self.pipe.is_some() {
            return;
        }
        self.full_reads = 0;
        if from.stream().tcp().is_some() && into.stream().tcp().is_some() {
            self.pipe = Pipe::open().ok(); // without one the bytes are copied, as before
        }
    }

    /// Ends our half towards the writer side. One that has gone meanwhile needs no good-bye.
    fn finish(&mut self, cx: &mut Context<'_>, into: &mut Link) -> bool {
        let finished = into.poll_finish(cx).is_ready();
        if finished {
            self.abandon();
        }
        finished
    }
}
