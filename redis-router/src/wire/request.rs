//! Where a client's request ends, and what its arguments are. Kind: pure.
//!
//! A request is an array of bulk strings, in RESP2 and RESP3 alike, or an inline line
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/#inline-commands>).
//!
//! ```text
//!   Start ──*n──▶ Header ──$len──▶ Body ──▶ Header … until n arguments are there: Whole
//!     └───other──▶ Inline ──LF──▶ Whole
//! ```
//! Header lines are at most a number and its CRLF long and are read again until they are whole; bodies are jumped
//! over, and of a line each byte is looked at once.

use super::Violation;
use super::number::{Number, number};

/// The fewest bytes of an argument: `$0\r\n\r\n`.
const SHORTEST: usize = 6;

/// What one request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request, the command's name included.
    pub max_args: u32,
    /// Bytes of one argument.
    pub max_bulk: u32,
    /// Bytes of one inline request.
    pub max_line: u32,
    /// Whether inline requests are taken at all.
    pub inline: bool,
    /// Whether the client has yet to authenticate, which only the error texts tell.
    pub stranger: bool,
}

impl Default for Limits {
    /// Redis' own: 1 Mi arguments (Redis < 7), `proto-max-bulk-len` and `PROTO_INLINE_MAX_SIZE`.
    fn default() -> Self {
        Self { max_args: 1 << 20, max_bulk: 512 << 20, max_line: 64 << 10, inline: true, stranger: false }
    }
}

impl Limits {
    /// These limits for a client that has yet to authenticate: Redis' 10 arguments of 16 KiB
    /// (`authRequired` in src/networking.c).
    #[must_use]
    pub fn for_strangers(self) -> Self {
        Self { max_args: self.max_args.min(10), max_bulk: self.max_bulk.min(16384), stranger: true, ..self }
    }
}

/// One whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// All its bytes.
    pub len: usize,
    /// How many arguments it has. Zero is no command and gets no reply: `*0`, `*-1`. Of an inline request it is not
    /// known before [`inline::split`](super::inline::split), and is zero here.
    pub argc: u32,
    /// Whether it is an inline request, whose line ends before `\n` or `\r\n`.
    pub inline: bool,
}

/// What the bytes are, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// One request, and maybe more behind it.
    Whole(Span),
    /// The beginning of one.
    Partial {
        /// So many bytes are missing at least; never zero.
        more: usize,
    },
}

/// What is known of a request that is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The arguments that it declares; zero while that is unknown, or for an inline request.
    pub argc: u32,
    /// The bytes that it will have at least, from its beginning (or from what was last [forgotten][f]).
    ///
    /// [f]: RequestFramer::forget
    pub declared: usize,
}

/// Finds the end of a request in bytes that come in any pieces.
#[derive(Debug, Clone, Default)]
pub struct RequestFramer {
    stage: Stage,
    /// Where the next header line begins. In a body: where the body ends, CRLF included, which may lie beyond the
    /// bytes. In a line: how far its end was looked for.
    at: usize,
    argc: u32,
    /// The arguments whose header was not read yet.
    left: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    Header,
    Body,
    Inline,
}

impl RequestFramer {
    /// Looks for the end of the request at the front of `bytes`, which are all that the client sent since the last
    /// whole request: those of the previous call, unless [forgotten](Self::forget), and what came since. After a whole
    /// request the framer is ready for the next; after a violation it is of no more use.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], limits: &Limits) -> Result<Framed, Violation> {
        if self.stage == Stage::Start {
            match bytes.first() {
                Some(b'*') if self.read_count(bytes, limits)? => {}
                Some(b'*') | None => return Ok(self.partial(bytes)),
                Some(_) => self.stage = Stage::Inline,
            }
        }
        if self.stage == Stage::Inline {
            self.next_line(bytes, limits)
        } else {
            self.next_args(bytes, limits)
        }
    }

    /// What is known of the request after [`Framed::Partial`].
    pub fn pending(&self) -> Pending {
        Pending { argc: self.argc, declared: self.declared() }
    }

    /// How many bytes from the front [`next`](Self::next) will not look at again; may lie beyond what has arrived.
    /// They may be sent on, dropped and [forgotten](Self::forget), so that a large request passes in bounded memory.
    pub fn settled(&self) -> usize {
        match self.stage {
            Stage::Start | Stage::Inline => 0,
            Stage::Header => self.at,
            Stage::Body => self.at.saturating_sub(2),
        }
    }

    /// The caller has dropped `len` bytes from the front, at most [`settled`](Self::settled); later calls see the
    /// request without them, and the span counts the rest.
    pub fn forget(&mut self, len: usize) {
        debug_assert!(len <= self.settled(), "bytes that are still needed");
        self.at = self.at.saturating_sub(len);
    }

    /// Reads `*n`; false while it is not all there.
    #[inline(always)]
    fn read_count(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, Violation> {
        match number(&bytes[1..]) {
            Number::Unfinished => return Ok(false),
            Number::Malformed => return Err(Violation::Multibulk),
            Number::Torn => return Err(Violation::NoCrlf),
            Number::Whole { value, .. } if value > i64::from(limits.max_args) => {
                return Err(Violation::multibulk(limits));
            }
            // Redis takes nothing and a negative number alike: as no command.
            Number::Whole { value, len } => {
                self.argc = u32::try_from(value).unwrap_or(0);
                self.at = 1 + len;
            }
        }
        self.left = self.argc;
        self.stage = Stage::Header;
        Ok(true)
    }

    #[inline(always)]
    fn next_args(&mut self, bytes: &[u8], limits: &Limits) -> Result<Framed, Violation> {
        loop {
            if self.stage == Stage::Body && !self.end_body(bytes)? {
                return Ok(self.partial(bytes));
            }
            if self.left == 0 {
                return Ok(self.whole(self.at, false));
            }
            if !self.read_length(bytes, limits)? {
                return Ok(self.partial(bytes));
            }
        }
    }

    /// Reads `$n`; false while it is not all there.
    #[inline(always)]
    fn read_length(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, Violation> {
        let line = match bytes.get(self.at..) {
            Some([b'$', line @ ..]) => line,
            Some([other, ..]) => return Err(Violation::NoBulk(*other)),
            Some([]) | None => return Ok(false),
        };
        match number(line) {
            Number::Unfinished => return Ok(false),
            Number::Whole { value, len } => {
                let body = u32::try_from(value).map_err(|_| Violation::Bulk)?;
                if body > limits.max_bulk {
                    return Err(Violation::bulk(limits));
                }
                self.at = (self.at + 1 + len).saturating_add(body as usize).saturating_add(2);
            }
            Number::Malformed => return Err(Violation::Bulk),
            Number::Torn => return Err(Violation::NoCrlf),
        }
        self.left -= 1;
        self.stage = Stage::Body;
        Ok(true)
    }

    /// Steps over a body and its CRLF; false while they are not all there.
    #[inline(always)]
    fn end_body(&mut self, bytes: &[u8]) -> Result<bool, Violation> {
        let Some(body) = bytes.get(..self.at) else { return Ok(false) };
        if !body.ends_with(b"\r\n") {
            return Err(Violation::NoCrlf);
        }
        self.stage = Stage::Header;
        Ok(true)
    }

    #[cold]
    fn next_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<Framed, Violation> {
        match *bytes {
            [0x16, 0x03, ..] => return Err(Violation::Tls),
            [0x16] => return Ok(Framed::Partial { more: 1 }),
            [first, ..] if !limits.inline => return Err(Violation::NoInline(first)),
            _ => {}
        }
        // One byte more than the limit tells a line that may still end from one that is too long.
        let seen = bytes.len().min(limits.max_line as usize + 1);
        match memchr::memchr2(b'\n', 0, &bytes[self.at.min(seen)..seen]) {
            Some(found) if bytes[self.at + found] == 0 => Err(Violation::Zero),
            Some(found) if is_http(&bytes[..self.at + found]) => Err(Violation::Http),
            Some(found) => Ok(self.whole(self.at + found + 1, true)),
            None if seen > limits.max_line as usize => Err(Violation::BigInline),
            None => {
                self.at = seen;
                Ok(Framed::Partial { more: 1 })
            }
        }
    }

    #[inline(always)]
    fn whole(&mut self, len: usize, inline: bool) -> Framed {
        let argc = std::mem::take(self).argc;
        Framed::Whole(Span { len, argc, inline })
    }

    fn partial(&self, bytes: &[u8]) -> Framed {
        Framed::Partial { more: self.declared().saturating_sub(bytes.len()).max(1) }
    }

    fn declared(&self) -> usize {
        self.at.saturating_add((self.left as usize).saturating_mul(SHORTEST))
    }
}

/// Whether this line is HTTP: its request line, or the headers at which Redis stops when a browser was made to post to
/// it (`POST` and `Host:`, CVE-2016-10517 and its class).
fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    first.eq_ignore_ascii_case(b"post")
        || first.eq_ignore_ascii_case(b"host:")
        || words.next_back().is_some_and(|last| last.starts_with(b"HTTP/"))
}

/// The arguments of a whole request that is an array, whatever stands behind it; of anything else, those up to the
/// first that is malformed.
#[derive(Debug, Clone)]
pub struct Args<'a> {
    rest: &'a [u8],
    left: i64,
}

impl<'a> Args<'a> {
    /// The arguments of `request`, its command's name first.
    #[inline]
    pub fn new(request: &'a [u8]) -> Self {
        let none = Self { rest: &[], left: 0 };
        let [b'*', line @ ..] = request else { return none };
        match number(line) {
            Number::Whole { value, len } => Self { rest: &line[len..], left: value },
            Number::Unfinished | Number::Malformed | Number::Torn => none,
        }
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let [b'$', line @ ..] = self.rest else { return None };
        if self.left <= 0 {
            return None;
        }
        let Number::Whole { value, len } = number(line) else { return None };
        let body = line.get(len..)?;
        let end = usize::try_from(value).ok()?;
        let arg = body.get(..end)?;
        self.rest = body.get(end + 2..)?;
        self.left -= 1;
        Some(arg)
    }
}

#[cfg(test)]
mod tests;
