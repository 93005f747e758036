//! The head of a request, read strictly (RFC 9110, RFC 9112). Kind: pure.
//!
//! One parser is before us, one behind: whatever they could read differently is refused, even where RFC 9112 lets a
//! server be lenient. `smuggling.rs` names the families that this is about.

use std::ops::Deref;

use super::framing::{Declared, declared};
use super::head::{Head, HeadLimits};
use super::name::Name;
use super::table::{FieldTable, Span};
use super::target::{host_of, is_authority};
use super::text::is_token;
use super::{Malformed, Method, Version};

mod line;
mod parts;

use line::StartLine;
pub use parts::Parts;

/// Where a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk, or the end of the stream in HTTP/2.
    Chunked,
}

/// What the fields mean for all of the request.
#[derive(Debug, Clone, Default)]
struct Meaning {
    host: Span,
    framing: Framing,
    expects_continue: bool,
    /// In HTTP/2: a body follows, whether its length is told or not.
    open: bool,
}

/// The head of one request. It owns the head's bytes, and keeps their room when it is [cleared](Self::clear), so that
/// a connection needs one for all its requests.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    head: Head,
    start: StartLine,
    means: Meaning,
}

impl RequestHead {
    /// An empty one, to be [fed](Self::feed).
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the request, and keeps the room.
    pub fn clear(&mut self) {
        self.head.clear();
        self.start = StartLine::default();
        self.means = Meaning::default();
    }

    /// Reads on: `piece` is what came after the previous one, however the request is cut. When the head is whole, gives
    /// how many of the piece's bytes belong to it; what is behind them is body, or the next request. After an error, and
    /// before the next request, it must be cleared.
    pub fn feed(&mut self, piece: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Malformed> {
        if self.head.is_empty() && piece.first().is_some_and(|first| !is_token(&[*first]) && *first != b'\r')
        {
            return Err(Malformed::bad("not HTTP"));
        }
        let used = self.head.feed(piece, limits, |line, at| self.start.read(line, at))?;
        if used.is_some() {
            self.conclude()?;
        }
        Ok(used)
    }

    /// Reads a request at the front of the bytes; gives how many it takes. `None` while it is not whole.
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Self, usize)>, Malformed> {
        let mut head = Self::new();
        let used = head.feed(bytes, limits)?;
        Ok(used.map(|used| (head, used)))
    }

    /// Whether nothing of a request came yet: a client that leaves now leaves in peace.
    pub fn is_idle(&self) -> bool {
        self.head.is_blank()
    }

    /// Whether the first line is whole, so that the log can tell it of a head that isn't, or was refused.
    pub fn is_started(&self) -> bool {
        self.head.is_started()
    }

    /// Reads what the fields mean for all of the request.
    fn conclude(&mut self) -> Result<(), Malformed> {
        self.read_host()?;
        self.read_framing()?;
        self.read_connection()?;
        self.read_expect()
    }

    /// RFC 9112 section 3.2: exactly one, and valid. One that differs from the target's authority is to be ignored by
    /// the letter; but the server behind us may not, so we refuse.
    fn read_host(&mut self) -> Result<(), Malformed> {
        let fields = &mut self.head.fields;
        let Some(host) = fields.single(Name::Host, "several Host")? else {
            // Before 1.1 nobody knew it.
            return match self.start.version {
                Version::Http10 if self.start.authority.is_none() => Ok(()),
                _ => Err(Malformed::bad("no Host")),
            };
        };
        if !is_authority(host) {
            return Err(Malformed::bad("bad Host"));
        }
        let target = self.start.authority.map(|authority| authority.of(&fields.bytes));
        if target.is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
            return Err(Malformed::bad("Host differs from the target"));
        }
        self.means.host = fields.find(Name::Host).unwrap_or_default();
        fields.lower(self.means.host);
        Ok(())
    }

    fn read_framing(&mut self) -> Result<(), Malformed> {
        let StartLine { method, version, .. } = self.start;
        self.means.framing = match declared(self, version)? {
            Declared::Chunked if version == Version::Http2 => {
                return Err(Malformed::bad("Transfer-Encoding in HTTP/2"));
            }
            Declared::Nothing if self.means.open => Framing::Chunked,
            Declared::Nothing => Framing::None,
            Declared::Length(length) => Framing::Length(length),
            Declared::Chunked => Framing::Chunked,
        };
        // RFC 9110 sections 9.3.6 and 9.3.8; a server that doesn't look for a body reads it as the next request.
        match (method, self.means.framing) {
            (Method::Trace | Method::Connect, Framing::Length(1..) | Framing::Chunked) => {
                Err(Malformed::bad("body where none may be"))
            }
            _ => Ok(()),
        }
    }

    fn read_connection(&mut self) -> Result<(), Malformed> {
        if self.find(Name::Connection).is_none() {
            return Ok(());
        }
        if self.start.version == Version::Http2 {
            return Err(Malformed::bad("Connection in HTTP/2"));
        }
        if self.head.fields.read_wishes()?.nominates_known {
            return Err(Malformed::bad("Connection names a field that is not its own"));
        }
        Ok(())
    }

    /// RFC 9110 section 10.1.1.
    fn read_expect(&mut self) -> Result<(), Malformed> {
        let Some(expect) = self.single(Name::Expect, "several Expect")? else { return Ok(()) };
        if !expect.eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::expectation());
        }
        self.means.expects_continue =
            self.start.version != Version::Http10 && self.means.framing != Framing::None;
        Ok(())
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.start.method
    }

    /// The method as it was sent.
    pub fn method_text(&self) -> &[u8] {
        self.start.method_text(&self.bytes)
    }

    /// The first line without its end, as it was sent: for logs.
    pub fn line(&self) -> &[u8] {
        self.start.text(&self.bytes)
    }

    /// The path and the query as they were sent, to be passed on; `*`; or of CONNECT the authority. The authority of an
    /// absolute target is left out, being that of [`host`](Self::host).
    #[inline]
    pub fn target(&self) -> &[u8] {
        self.start.target(&self.bytes)
    }

    /// The path as it was sent: neither decoded nor normalised. `*` or the authority where there is none.
    #[inline]
    pub fn path(&self) -> &[u8] {
        self.start.path(&self.bytes)
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.start.query(&self.bytes)
    }

    /// Whether the target has a path: it is neither `*` nor the authority of CONNECT.
    pub fn has_path(&self) -> bool {
        self.start.has_path()
    }

    /// The authority that the request is for, lower case, valid, with its port if it was sent with one; empty for
    /// HTTP/1.0 without Host.
    #[inline]
    pub fn host(&self) -> &[u8] {
        self.means.host.of(&self.bytes)
    }

    /// [`host`](Self::host) without its port.
    #[inline]
    pub fn host_name(&self) -> &[u8] {
        host_of(self.host())
    }

    /// The protocol's version.
    pub fn version(&self) -> Version {
        self.start.version
    }

    /// Where the body ends.
    pub fn framing(&self) -> Framing {
        self.means.framing
    }

    /// Whether the client will send another request on the connection, as far as it says.
    pub fn keep_alive(&self) -> bool {
        self.wishes().persists(self.start.version)
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.means.expects_continue
    }

    /// The protocols that the client would rather speak, if Connection names Upgrade as it must (RFC 9110 section 7.8).
    pub fn upgrade(&self) -> Option<&[u8]> {
        let may = self.wishes().upgrade && self.start.version == Version::Http11;
        self.known(Name::Upgrade).filter(|_| may)
    }
}

/// Its fields.
impl Deref for RequestHead {
    type Target = FieldTable;

    #[inline]
    fn deref(&self) -> &FieldTable {
        &self.head.fields
    }
}

#[cfg(test)]
mod tests;
