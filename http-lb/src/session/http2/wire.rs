//! The stream below the frames: what was read early comes first, and what passes is counted. Kind: driver.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use proxy_core::net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::Shared;

/// The kind of error that reading ends with when a client sends frames upon frames that carry nothing.
pub(super) const FLOOD: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// … when its preface is not followed by SETTINGS (RFC 9113 section 3.4), which h2 doesn't look at.
pub(super) const BAD_OPENING: io::ErrorKind = io::ErrorKind::InvalidData;

/// Where the type and the flags of the first frame are: behind the preface and the frame's length (section 4.1).
const FIRST_KIND: usize = 24 + 3;
const FIRST_FLAGS: usize = FIRST_KIND + 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// A connection's bytes.
pub(super) struct Wire {
    stream: Stream,
    early: Vec<u8>,
    shared: Rc<Shared>,
    /// How many bytes were read, as long as the opening is among them.
    position: usize,
}

impl Wire {
    pub(super) fn new(stream: Stream, early: Vec<u8>, shared: Rc<Shared>) -> Self {
        Self { stream, early, shared, position: 0 }
    }

    fn take_early(&mut self, buf: &mut ReadBuf<'_>) {
        let taken = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..taken]);
        self.early.drain(..taken);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
    }

    /// Looks at what was read; an error if the connection doesn't begin as it must.
    #[inline]
    fn open(&mut self, read: &[u8]) -> io::Result<()> {
        if self.position > FIRST_FLAGS {
            return Ok(());
        }
        let at = |place: usize| place.checked_sub(self.position).and_then(|index| read.get(index));
        let settings = at(FIRST_KIND).is_none_or(|kind| *kind == SETTINGS);
        let first = at(FIRST_FLAGS).is_none_or(|flags| flags & ACK == 0);
        self.position += read.len();
        if settings && first { Ok(()) } else { Err(BAD_OPENING.into()) }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.shared.wrote(written.is_ready());
        written
    }
}

impl AsyncRead for Wire {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !self.early.is_empty() {
            self.take_early(buf);
            return Poll::Ready(self.open(&buf.filled()[before..]));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.open(&buf.filled()[before..])?;
        match self.shared.heard(buf.filled().len() - before) {
            true => Poll::Ready(Err(FLOOD.into())),
            false => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Wire {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.shared.wrote(flushed.is_ready());
        flushed
    }

    #[inline]
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
