//! What a downstream codec is to the engine: the one who asked, and how to answer. Kind: driver.
//!
//! An answer is *said* without waiting ([`Client::begin`], [`Client::put`], [`Client::end`]: what the kernel does not
//! take rests with the codec, so that a slice of the worker's scratch may be passed) and then *flushed*, which waits.
//! Whoever says more than 64 KiB between two flushes fills our memory with it.
//!
//! ```text
//!   begin(last) ─────────────────────────────────▶ flush
//!   begin ──▶ flush ──▶ (put ▶ flush | write | send_file)* ──▶ end ──▶ flush
//! ```

use std::fs::File;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;

/// The client has left, or took too long to listen: there is nobody to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Why there is no request body, or no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// The client has left.
    Gone,
    /// It sends slower than it may: 408.
    Slow,
    /// It is to be longer than it may, as its framing tells before all of it came: 413.
    TooLarge,
    /// Its framing is broken, as `what` says: 400.
    Malformed(&'static str),
}

/// How long an answer's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// There is none, and no length is told: 1xx, 204, 304 (RFC 9110 section 6.4.1).
    Empty,
    /// There is none here, but the length that it would have is told: an answer to HEAD.
    Told(Option<u64>),
    /// So many bytes.
    Length(u64),
    /// Known when it ends.
    Unknown,
}

/// The head of a final answer.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHead<'a> {
    /// The status code.
    pub status: u16,
    /// The fields, each as `name: value\r\n` with the name in lower case. Without Date, Connection, Content-Length and
    /// Transfer-Encoding, which are the codec's, unless `dated`.
    pub fields: &'a [u8],
    /// The fields have a Date already: that of the upstream (RFC 9110 section 6.6.1).
    pub dated: bool,
    /// How long the body is.
    pub size: Size,
}

/// The one who asked.
#[allow(async_fn_in_trait, reason = "a session never leaves its worker, so that no future needs to be Send")]
pub trait Client {
    /// The next piece of the request's body, without its framing; `None` at its end, and ever after. The first call
    /// sends "100 Continue" where the client waits for it. May be dropped without loss.
    ///
    /// # Errors
    /// The body breaks off, or can't be read.
    async fn body(&mut self) -> Result<Option<Bytes>, BodyFault>;

    /// The body may have no more bytes than this. A codec that learns of more before they come says so at once.
    fn bound(&mut self, _most: u64) {}

    /// Ready when the client has left; what it says meanwhile is kept, up to a limit.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits until the client has left. May be dropped without loss.
    async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// Says an interim answer (1xx but 100 and 101), to clients that understand one.
    ///
    /// # Errors
    /// The client has left.
    fn inform(&mut self, status: u16, fields: &[u8]) -> Result<(), Gone>;

    /// Says the head of the answer and the first piece of its body; with `last` also the only one.
    ///
    /// # Errors
    /// The client has left.
    fn begin(&mut self, head: &AnswerHead<'_>, first: &[u8], last: bool) -> Result<(), Gone>;

    /// Says the next piece of the answer's body.
    ///
    /// # Errors
    /// The client has left.
    fn put(&mut self, piece: &[u8]) -> Result<(), Gone>;

    /// Says that the body has ended, with trailer fields (as in [`AnswerHead::fields`]) or none.
    ///
    /// # Errors
    /// The client has left.
    fn end(&mut self, trailers: &[u8]) -> Result<(), Gone>;

    /// Waits until all that was said is with the kernel.
    ///
    /// # Errors
    /// The client has left, or listens slower than it may.
    async fn flush(&mut self) -> Result<(), Gone>;

    /// Says a piece of whatever size, as fast as the client takes it, without a copy.
    ///
    /// # Errors
    /// As [`Client::flush`].
    async fn write(&mut self, piece: Bytes) -> Result<(), Gone>;

    /// Says `length` bytes of a file as part of the body, by the kernel alone where that is possible.
    ///
    /// # Errors
    /// As [`Client::flush`]; also when the file turns out to be shorter.
    async fn send_file(&mut self, file: &File, offset: u64, length: u64) -> Result<(), Gone>;

    /// Bytes of the answer's body that were said.
    fn sent(&self) -> u64 {
        0
    }

    /// True if this connection can become a tunnel of bytes after a 101.
    fn can_upgrade(&self) -> bool {
        false
    }
}
