//! Where a reply of the server ends, and what it is at its top. Kind: pure.
//!
//! RESP2 and RESP3. Nobody here looks at what a reply says, and nesting needs no stack: it is enough to count how many
//! elements are owed. One is owed at first; each element pays one; an aggregate adds its own, an attribute adds its own
//! and pays nothing. The reply ends when nothing is owed, at any depth, in the same few bytes of state.
//!
//! ```text
//!   Header ──+ - : _ # , (──▶ Line ──CRLF──▶ one paid
//!     │ └───$ ! =──▶ Body ──CRLF──▶ one paid
//!     └─* ~ > % |──▶ Header, more owed
//! ```
//! Strings and aggregates of unknown length (`$?`, `*?`) are refused: no Redis sends them.

use super::number::{LONGEST, Number, number};

/// The longest header line: a type byte and a number with its CRLF.
const HEADER: usize = 1 + LONGEST;

/// The end of a line and of a body.
const CRLF: &[u8] = b"\r\n";

/// What a reply is, by the type of its top-level frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// `+`.
    Simple,
    /// `-` or `!`.
    Error,
    /// `>`: nobody asked for it, and it answers nothing.
    Push,
    /// `_`, `$-1` or `*-1`.
    Null,
    /// All the rest.
    Other,
}

/// What became of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// So many belong to the reply: all of them, unless it ended among them.
    pub used: usize,
    /// What the reply is, if it ended. Attributes in front of a frame belong to it.
    pub end: Option<ReplyKind>,
}

/// Bytes that cannot be a reply. The connection is lost with all that it owes: there is no way to find the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    /// No frame begins so.
    #[error("unknown reply type {:?}", char::from(*.0))]
    Type(u8),
    /// A length is no number, or negative where there is no null, or of unknown length.
    #[error("malformed length of a {:?} frame", char::from(*.0))]
    Length(u8),
    /// A CR without its LF, or an LF without its CR.
    #[error("a line is broken")]
    Line,
    /// A string is not followed by CRLF.
    #[error("a string is not followed by CRLF")]
    Body,
    /// More elements than can be counted.
    #[error("more elements than can be counted")]
    TooMany,
}

/// Finds the end of a reply in bytes that come in any pieces, each shown once.
#[derive(Debug, Clone, Default)]
pub struct ReplyFramer {
    stage: Stage,
    kind: Option<ReplyKind>,
    /// The elements still owed, the one under way included; zero between replies.
    owed: u64,
    /// The bytes of the body still to come, its CRLF included.
    body: u64,
    /// The beginning of a header line that was cut.
    carry: [u8; HEADER],
    carried: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Header,
    Line,
    /// A line whose CR was the last byte.
    LineCr,
    Body,
}

impl ReplyFramer {
    /// Goes on with the reply under way, or begins one, with bytes that it has not seen.
    #[inline]
    pub fn advance(&mut self, fresh: &[u8]) -> Result<Advance, ReplyFault> {
        let mut rest = fresh;
        if !fresh.is_empty() {
            self.owed = self.owed.max(1);
        }
        while self.owed > 0 && !rest.is_empty() {
            rest = match self.stage {
                Stage::Header if self.carried == 0 => self.header(rest)?,
                Stage::Header => self.carried_header(rest)?,
                Stage::Line => self.line(rest)?,
                Stage::LineCr => self.line_end(rest)?,
                Stage::Body => self.body(rest)?,
            };
        }
        let end = if self.owed == 0 { self.kind.take() } else { None };
        Ok(Advance { used: fresh.len() - rest.len(), end })
    }

    /// The bytes still to come of the string under way, its CRLF included; 0 if none is.
    pub fn expected(&self) -> usize {
        usize::try_from(self.body).unwrap_or(usize::MAX)
    }

    /// Goes past `bytes` of the string under way that nobody shows it: less than are [expected](Self::expected).
    pub fn skip(&mut self, bytes: usize) {
        debug_assert!(bytes < self.expected(), "the end of a string is looked at");
        self.body -= bytes as u64;
    }

    /// Whether a reply has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.owed > 0
    }

    /// Reads a type and, where it has one, its length; what is cut is carried.
    #[inline(always)]
    fn header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ReplyFault> {
        let (tag, rest) = (bytes[0], &bytes[1..]);
        if matches!(tag, b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(') {
            self.name(tag, false);
            return self.line(rest);
        }
        if !matches!(tag, b'$' | b'*' | b'>' | b'%' | b'~' | b'!' | b'=' | b'|') {
            return Err(ReplyFault::Type(tag));
        }
        match number(rest) {
            Number::Whole { value, len } => {
                self.length(tag, value)?;
                Ok(&rest[len..])
            }
            Number::Unfinished => Ok(self.carry(bytes)),
            Number::Malformed => Err(ReplyFault::Length(tag)),
            Number::Torn => Err(ReplyFault::Line),
        }
    }

    /// Goes on with a header line whose beginning is carried.
    #[cold]
    fn carried_header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ReplyFault> {
        let old = usize::from(self.carried);
        let taken = bytes.len().min(HEADER - old);
        let mut joined = self.carry;
        joined[old..old + taken].copy_from_slice(&bytes[..taken]);
        self.carried = 0;
        let left = self.header(&joined[..old + taken])?.len();
        // What is carried again is all of it; else the header took all but what is left.
        Ok(&bytes[taken - left..])
    }

    /// Keeps the beginning of a header line, which is shorter than the longest.
    #[cold]
    fn carry<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.carry[..bytes.len()].copy_from_slice(bytes);
        self.carried = bytes.len() as u8;
        &[]
    }

    /// Enters a body, or owes what an aggregate adds.
    #[inline(always)]
    fn length(&mut self, tag: u8, len: i64) -> Result<(), ReplyFault> {
        if len == -1 && matches!(tag, b'$' | b'*') {
            self.name(tag, true);
            self.owed -= 1;
            return Ok(());
        }
        let len = u64::try_from(len).map_err(|_| ReplyFault::Length(tag))?;
        match tag {
            b'$' | b'!' | b'=' => {
                self.name(tag, false);
                self.stage = Stage::Body;
                self.body = len + CRLF.len() as u64;
                Ok(())
            }
            // An attribute names nothing: the frame behind it does.
            b'|' => self.owe(0, len, 2),
            b'%' => {
                self.name(tag, false);
                self.owe(1, len, 2)
            }
            _ => {
                self.name(tag, false);
                self.owe(1, len, 1)
            }
        }
    }

    fn owe(&mut self, paid: u64, len: u64, each: u64) -> Result<(), ReplyFault> {
        let more = len.checked_mul(each).ok_or(ReplyFault::TooMany)?;
        self.owed = (self.owed - paid).checked_add(more).ok_or(ReplyFault::TooMany)?;
        Ok(())
    }

    /// Notes what the reply is, if this is its top-level frame: alone it comes while nothing else is owed.
    #[inline(always)]
    fn name(&mut self, tag: u8, null: bool) {
        if self.owed == 1 && self.kind.is_none() {
            self.kind = Some(match tag {
                _ if null => ReplyKind::Null,
                b'+' => ReplyKind::Simple,
                b'-' | b'!' => ReplyKind::Error,
                b'_' => ReplyKind::Null,
                b'>' => ReplyKind::Push,
                _ => ReplyKind::Other,
            });
        }
    }

    /// Looks for the end of a line.
    #[inline(always)]
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ReplyFault> {
        let Some(found) = memchr::memchr2(b'\r', b'\n', bytes) else {
            self.stage = Stage::Line;
            return Ok(&[]);
        };
        match &bytes[found..] {
            [b'\r', rest @ ..] => self.line_end(rest),
            _ => Err(ReplyFault::Line),
        }
    }

    /// Takes the LF of a line.
    #[inline(always)]
    fn line_end<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ReplyFault> {
        match bytes {
            [b'\n', rest @ ..] => {
                self.pay();
                Ok(rest)
            }
            [] => {
                self.stage = Stage::LineCr;
                Ok(bytes)
            }
            _ => Err(ReplyFault::Line),
        }
    }

    /// Steps over a body, and checks the CRLF behind it.
    #[inline(always)]
    fn body<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ReplyFault> {
        let taken = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
        let (seen, rest) = bytes.split_at(taken);
        let left = self.body - taken as u64;
        if left < 2 && !ends_rightly(seen, left as usize, self.body.min(2) as usize) {
            return Err(ReplyFault::Body);
        }
        self.body = left;
        if left == 0 {
            self.pay();
        }
        Ok(rest)
    }

    /// One element is whole.
    #[inline(always)]
    fn pay(&mut self) {
        self.stage = Stage::Header;
        self.owed -= 1;
    }
}

/// Whether `seen`, behind which `left` bytes (0 or 1) of the body are to come, ends with what it should of CRLF, of
/// which `open` bytes were open before it.
#[inline(always)]
fn ends_rightly(seen: &[u8], left: usize, open: usize) -> bool {
    seen.ends_with(&CRLF[CRLF.len() - open..CRLF.len() - left])
}

#[cfg(test)]
mod tests;
