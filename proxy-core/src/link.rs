//! One peer of a session: a stream with what was read and not yet used, and what could not be written yet.
//! Kind: driver.
//!
//! Promise: an idle link holds no buffer. Bytes are read into the worker's one [`Scratch`]; only what its reader
//! leaves over (the half of a message, a request that waits for an upstream) is copied into the link's own
//! [`Inbox`]. A slice to forward is written straight from where it was read; only what the kernel does not take
//! rests in the [`Outbox`], and while something rests there the other side is not read: that is the back-pressure.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;

use crate::net::Stream;

/// Bytes of a worker's scratch buffer, hence the most that one read brings.
/// 32 KiB: a page of rows in one read, and it stays in the processor's second-level cache.
pub const SCRATCH_BYTES: usize = 32 * 1024;

/// An emptied buffer of at most this many bytes stays with its link, so that a steady trickle does not allocate.
const KEPT_BYTES: usize = 256;

/// The buffer that all links of one worker read into, one at a time.
#[derive(Clone)]
pub struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice())))
    }
}

impl Scratch {
    /// Borrows the buffer for one turn of one session; turns never nest, as no turn awaits.
    pub fn borrow(&self) -> std::cell::RefMut<'_, Box<[u8]>> {
        self.0.borrow_mut()
    }
}

/// Bytes in order, consumed from the front.
#[derive(Default)]
struct Fifo {
    bytes: Vec<u8>,
    at: usize,
}

impl Fifo {
    #[inline]
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets what is used once it is half of what is there: a buffer that is never empty does not grow for that.
    #[inline]
    fn compact(&mut self) {
        if self.at > 0 && self.at >= self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
    }

    #[inline]
    fn consume(&mut self, n: usize) {
        self.at += n;
        debug_assert!(self.at <= self.bytes.len());
        if self.is_empty() && self.at > 0 {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.at = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// What was read from a peer and is not used yet.
#[derive(Default)]
pub struct Inbox(Fifo);

impl Inbox {
    /// The unused bytes.
    #[inline]
    pub fn rest(&self) -> &[u8] {
        self.0.rest()
    }

    /// True when nothing is left over.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps `bytes` behind what is there.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// Takes all of it out.
    pub fn take(&mut self) -> Vec<u8> {
        let Fifo { mut bytes, at } = std::mem::take(&mut self.0);
        bytes.drain(..at);
        bytes
    }

    /// Puts `bytes` before what is there: they are to be read again.
    pub fn put_back(&mut self, bytes: &[u8]) {
        let mut all = Vec::with_capacity(bytes.len() + self.rest().len());
        all.extend_from_slice(bytes);
        all.extend_from_slice(self.rest());
        self.0 = Fifo { bytes: all, at: 0 };
    }

    /// Drops the first `n` bytes: they are used.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.0.consume(n);
    }
}

/// What is to be written to a peer and was not taken by the kernel yet.
#[derive(Default)]
pub struct Outbox(Fifo);

impl Outbox {
    /// The unwritten bytes.
    #[inline]
    pub fn rest(&self) -> &[u8] {
        self.0.rest()
    }

    /// True when all is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what is not written: the peer is given up.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Appends bytes of our own making; they leave with the next flush.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The buffer to append a message to, for builders that write into a `Vec`.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.0.compact();
        &mut self.0.bytes
    }
}

/// One peer: its stream, what it said and what it must still hear.
pub struct Link {
    stream: Stream,
    /// What the peer said and nobody used yet.
    pub inbox: Inbox,
    /// What the peer must still hear.
    pub outbox: Outbox,
    /// TLS took bytes that it may not have handed to the kernel.
    unflushed: bool,
}

impl Link {
    /// A link over a connected stream; `early` are bytes that were read from it already.
    pub fn new(stream: Stream, early: &[u8]) -> Self {
        let mut inbox = Inbox::default();
        inbox.keep(early);
        Self { stream, inbox, outbox: Outbox::default(), unflushed: false }
    }

    /// The stream below.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, and what was read from it and not used, for somebody else to go on with. Only while nothing waits to
    /// be written.
    pub fn into_stream(mut self) -> (Stream, Vec<u8>) {
        debug_assert!(self.outbox.is_empty(), "what waits would be lost");
        let unused = self.inbox.take();
        (self.stream, unused)
    }

    /// Reads once into `scratch`. `Ok(0)` is the peer's end of stream.
    #[inline]
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
        Poll::Ready(Ok(into.filled().len()))
    }

    /// Reads once by way of `scratch` and keeps what came in the inbox. `Ok(0)` is the peer's end of stream.
    pub fn poll_keep(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<usize>> {
        let mut scratch = scratch.borrow();
        let n = ready!(self.poll_fill(cx, &mut scratch))?;
        self.inbox.keep(&scratch[..n]);
        Poll::Ready(Ok(n))
    }

    /// Writes what the kernel takes of `bytes` and answers with how much that is; the rest stays the caller's. Only
    /// while nothing waits in the outbox. Ready with all of it only once TLS has passed it on.
    #[inline]
    pub fn poll_put(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        debug_assert!(self.outbox.is_empty(), "what waits would be overtaken");
        let mut at = 0;
        while at < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[at..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => at += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if matches!(self.stream, Stream::Tls(_)) && at > 0 {
            self.unflushed = true;
            let _ = self.poll_flush(cx)?; // what is left of it goes with the next one
        }
        if at == 0 && !bytes.is_empty() { Poll::Pending } else { Poll::Ready(Ok(at)) }
    }

    /// Writes what the kernel takes of several slices at once; the rest stays the caller's. Only while nothing waits in
    /// the outbox.
    #[inline]
    pub fn poll_gather(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        debug_assert!(self.outbox.is_empty(), "what waits would be overtaken");
        self.unflushed |= matches!(self.stream, Stream::Tls(_));
        match ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => Poll::Ready(Ok(n)),
        }
    }

    /// Reads what the peer says ahead into the inbox, until `limit` bytes are there. True when the peer has gone.
    pub fn read_ahead(&mut self, cx: &mut Context<'_>, scratch: &Scratch, limit: usize) -> bool {
        while self.inbox.rest().len() < limit {
            let mut scratch = scratch.borrow();
            match self.poll_fill(cx, &mut scratch) {
                Poll::Pending => return false,
                Poll::Ready(Ok(n)) if n > 0 => self.inbox.keep(&scratch[..n]),
                Poll::Ready(_) => return true,
            }
        }
        false
    }

    /// Sends `bytes` behind what waits already: at once as far as the kernel takes them, the rest when it does.
    /// On an error all that was not taken stays in the outbox, so that the caller can tell what was never sent.
    #[inline]
    pub fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        if !self.outbox.is_empty() {
            self.outbox.push(bytes);
            return Ok(());
        }
        self.unflushed = matches!(self.stream, Stream::Tls(_));
        let mut at = 0;
        while at < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[at..]) {
                Poll::Ready(Ok(0)) => return self.refuse(&bytes[at..], io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => at += n,
                Poll::Ready(Err(error)) => return self.refuse(&bytes[at..], error),
                Poll::Pending => {
                    self.outbox.push(&bytes[at..]);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// As [`Link::send`], a head and a body in one call.
    #[inline]
    pub fn send_both(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> io::Result<()> {
        if body.is_empty() || !self.outbox.is_empty() {
            self.send(cx, head)?;
            return self.send(cx, body);
        }
        let sent = match self.poll_gather(cx, &[IoSlice::new(head), IoSlice::new(body)]) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        if sent < head.len() {
            self.outbox.push(&head[sent..]);
        }
        match &body[sent.saturating_sub(head.len())..] {
            [] => Ok(()),
            rest if sent == 0 || !self.outbox.is_empty() => {
                self.outbox.push(rest);
                Ok(())
            }
            rest => self.send(cx, rest),
        }
    }

    #[cold]
    fn refuse(&mut self, unsent: &[u8], error: io::Error) -> io::Result<()> {
        self.outbox.push(unsent);
        Err(error)
    }

    /// Writes what waits, and pushes it through TLS. Ready when all is with the kernel.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.poll_write_out(cx)
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unflushed |= matches!(self.stream, Stream::Tls(_));
        while !self.outbox.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, self.outbox.rest()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.outbox.0.consume(n),
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// True when the peer has closed, failed or said something while it should be silent.
    /// Costs no system call while the event loop has heard of nothing. Not subject to the budget of the task that
    /// asks: once that is used up, tokio would call every peer silent.
    pub fn has_stirred(&mut self, scratch: &mut [u8]) -> bool {
        let look = unconstrained(poll_fn(|cx| self.poll_fill(cx, scratch)));
        let stirred = pin!(look).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        stirred || !self.inbox.is_empty()
    }

    /// Writes what waits, then ends our half of the stream; the peer's half stays as it is.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// As [`Link::poll_finish`], for the last thing that is done with a link.
    ///
    /// # Errors
    /// The peer's side failed or closed before it took all.
    pub async fn finish(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_gives_back_what_it_was_given_in_order() {
        let mut inbox = Inbox::default();
        inbox.keep(b"abc");
        inbox.consume(2);
        inbox.keep(b"def");
        assert_eq!(inbox.rest(), b"cdef");
        inbox.put_back(b"ab");
        assert_eq!(inbox.rest(), b"abcdef");
        inbox.consume(6);
        assert!(inbox.is_empty());
    }

    #[test]
    fn an_emptied_inbox_gives_its_memory_back() {
        let mut inbox = Inbox::default();
        inbox.keep(&[7; 4096]);
        inbox.consume(4096);
        assert!(inbox.0.bytes.capacity() <= KEPT_BYTES);
    }
}
