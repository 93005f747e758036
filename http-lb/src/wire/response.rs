//! The head of a server's response, read strictly: what could be read in two ways is a bad gateway. Kind: pure.

use std::ops::Deref;

use super::framing::{Declared, declared};
use super::head::{Head, HeadLimits};
use super::name::Name;
use super::table::{FieldTable, Span};
use super::text::is_value;
use super::{Malformed, Method, Version};

/// Where a response's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseFraming {
    /// There is none.
    #[default]
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What the status line and the fields say, by offsets.
#[derive(Debug, Clone, Default)]
struct Meaning {
    version: Version,
    status: u16,
    reason: Span,
    framing: ResponseFraming,
    length: Option<u64>,
}

/// The head of one response. It owns the head's bytes, and keeps their room when it is [cleared](Self::clear).
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    head: Head,
    means: Meaning,
}

impl ResponseHead {
    /// An empty one, to be [fed](Self::feed).
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the response, and keeps the room.
    pub fn clear(&mut self) {
        self.head.clear();
        self.means = Meaning::default();
    }

    /// Reads on: `piece` is what came after the previous one. When the head is whole, gives how many of the piece's
    /// bytes belong to it. The request's method decides whether there is a body. After an error, and before the next
    /// response (a final one follows each of 1xx), it must be cleared.
    pub fn feed(
        &mut self,
        piece: &[u8],
        limits: &HeadLimits,
        request: Method,
    ) -> Result<Option<usize>, Malformed> {
        let Self { head, means } = self;
        if head.is_empty() && piece.first().is_some_and(|first| *first != b'H') {
            return Err(Malformed::bad("not HTTP").of_upstream());
        }
        let used = head.feed(piece, limits, |line, at| means.start(line, at));
        let used = used.map_err(Malformed::of_upstream)?;
        if used.is_some() {
            self.conclude(request).map_err(Malformed::of_upstream)?;
        }
        Ok(used)
    }

    /// Reads a response at the front of the bytes; gives how many its head takes. `None` while it is not whole.
    pub fn parse(
        bytes: &[u8],
        limits: &HeadLimits,
        request: Method,
    ) -> Result<Option<(Self, usize)>, Malformed> {
        let mut head = Self::new();
        let used = head.feed(bytes, limits, request)?;
        Ok(used.map(|used| (head, used)))
    }

    /// Whether nothing of a response came yet: a kept connection that closes now has lost no answer.
    pub fn is_idle(&self) -> bool {
        self.head.is_empty()
    }

    fn conclude(&mut self, request: Method) -> Result<(), Malformed> {
        let Self { head, means } = self;
        let declared = declared(&head.fields, means.version)?;
        head.fields.read_wishes()?;
        means.length = match declared {
            Declared::Length(length) => Some(length),
            Declared::Nothing | Declared::Chunked => None,
        };
        means.framing = means.frame(declared, request)?;
        Ok(())
    }

    /// The status code: 100 to 599.
    pub fn status(&self) -> u16 {
        self.means.status
    }

    /// Whether it only informs, and another response follows (RFC 9110 section 15.2). 101 is the last of its kind.
    pub fn is_interim(&self) -> bool {
        self.means.status < 200 && self.means.status != 101
    }

    /// The words behind the status; often none.
    pub fn reason(&self) -> &[u8] {
        self.means.reason.of(&self.bytes)
    }

    /// The protocol's version.
    pub fn version(&self) -> Version {
        self.means.version
    }

    /// Where the body ends.
    pub fn framing(&self) -> ResponseFraming {
        self.means.framing
    }

    /// What Content-Length says; of an answer to HEAD, and of 304, it is the length of a body that isn't sent.
    pub fn content_length(&self) -> Option<u64> {
        self.means.length
    }

    /// Whether the connection may carry another request after this response.
    pub fn keep_alive(&self) -> bool {
        self.wishes().persists(self.means.version) && self.means.framing != ResponseFraming::UntilClose
    }

    /// The protocol that the server now speaks: of 101 alone, and if Connection names Upgrade.
    pub fn upgrade(&self) -> Option<&[u8]> {
        let switched = self.means.status == 101 && self.wishes().upgrade;
        self.known(Name::Upgrade).filter(|_| switched)
    }
}

/// Its fields.
impl Deref for ResponseHead {
    type Target = FieldTable;

    #[inline]
    fn deref(&self) -> &FieldTable {
        &self.head.fields
    }
}

impl Meaning {
    /// Reads `HTTP/1.x SP status [SP reason]`. The space behind the status may be missing with the reason: many servers
    /// leave it out, and nothing can be read into it (RFC 9112 section 4).
    fn start(&mut self, line: &[u8], at: usize) -> Result<(), Malformed> {
        let bad = Malformed::bad("bad status line");
        self.version = match line.get(..9) {
            Some(b"HTTP/1.1 ") => Version::Http11,
            Some(b"HTTP/1.0 ") => Version::Http10,
            _ => return Err(bad),
        };
        let (status, reason) = line[9..].split_at_checked(3).ok_or(bad)?;
        self.status = status
            .iter()
            .try_fold(0_u16, |status, byte| {
                byte.is_ascii_digit().then(|| status * 10 + u16::from(byte - b'0'))
            })
            .ok_or(bad)?;
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] if is_value(reason) => reason,
            _ => return Err(bad),
        };
        self.reason = Span::new(at + line.len() - reason.len(), at + line.len());
        if (100..600).contains(&self.status) { Ok(()) } else { Err(bad) }
    }

    /// RFC 9112 section 6.3.
    fn frame(&self, declared: Declared, request: Method) -> Result<ResponseFraming, Malformed> {
        match (self.status, declared) {
            // A body that is announced where none may be is the beginning of somebody else's response.
            (100..200 | 204, Declared::Chunked | Declared::Length(1..)) => {
                Err(Malformed::bad("body where none may be"))
            }
            (100..200 | 204 | 304, _) => Ok(ResponseFraming::None),
            _ if request == Method::Head => Ok(ResponseFraming::None),
            (_, Declared::Length(length)) => Ok(ResponseFraming::Length(length)),
            (_, Declared::Chunked) => Ok(ResponseFraming::Chunked),
            (_, Declared::Nothing) => Ok(ResponseFraming::UntilClose),
        }
    }
}

#[cfg(test)]
mod tests;
