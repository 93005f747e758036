//! The head of a request, read strictly (RFC 9110, RFC 9112). Kind: pure.
//!
//! One parser is before us, one behind: whatever they could read differently is refused, even where RFC 9112 lets a
//! server be lenient. `smuggling.rs` names the families that this is about.

use super::framing::{Declared, Wishes, declared, wishes};
use super::head::{Field, Head, HeadLimits, Span};
use super::name::Name;
use super::swar::find_target_end;
use super::target::{self, Target, host_of, is_authority};
use super::text::{is_token, list, token_len, trim};
use super::{Malformed, Method, Version};

/// No method that anybody registered is half as long.
const LONGEST_METHOD: usize = 32;

/// What stands behind the target of a request that came in HTTP/2.
const HTTP2: &[u8] = b" HTTP/2.0";

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

/// The start of a request that did not come as text (HTTP/2).
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:authority`, if there was one.
    pub authority: Option<&'a [u8]>,
    /// `:path`.
    pub path_and_query: &'a [u8],
    /// Whether the stream ended with the head.
    pub ended: bool,
}

/// What the start line and the fields say, by offsets.
#[derive(Debug, Clone, Default)]
struct Meaning {
    method: Method,
    method_end: u16,
    line: Span,
    version: Version,
    form: Form,
    path: Span,
    query: Option<Span>,
    /// The authority in the target, which must be that of Host.
    authority: Option<Span>,
    host: Span,
    framing: Framing,
    wishes: Wishes,
    expects_continue: bool,
    /// In HTTP/2: a body follows, whether its length is told or not.
    open: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Path,
    /// An absolute target without a path, which means `/`.
    Empty,
    /// `*` or an authority.
    Other,
}

/// The head of one request. It owns the head's bytes, and keeps their room when it is [cleared](Self::clear), so that
/// a connection needs one for all its requests.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    head: Head,
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
        let Self { head, means } = self;
        let used = head.feed(piece, limits, |line, at| means.start(line, at))?;
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

    /// The request of these parts, checked as strictly as one in text. Several Cookie fields become one
    /// (RFC 9113 section 8.2.3).
    pub fn from_parts<'a>(
        parts: Parts<'_>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &HeadLimits,
    ) -> Result<Self, Malformed> {
        let mut head = Self::new();
        head.fill(parts, fields, limits)?;
        Ok(head)
    }

    /// Becomes the request of these parts, as [`from_parts`](Self::from_parts) makes it, in the room that it has.
    pub fn fill<'a>(
        &mut self,
        parts: Parts<'_>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &HeadLimits,
    ) -> Result<(), Malformed> {
        self.clear();
        if parts.method.len() + parts.path_and_query.len() > limits.line {
            return Err(Malformed::long_target());
        }
        if !parts.path_and_query.starts_with(b"/") && !matches!(parts.path_and_query, b"*") {
            return Err(Malformed::bad("bad target"));
        }
        self.head.write_start(&[parts.method, b" ", parts.path_and_query, HTTP2]);
        let Self { head, means } = self;
        means.start_of_parts(&head.bytes()[..head.bytes().len() - 2])?;
        self.means.open = !parts.ended;
        self.write_fields(parts, fields, limits)?;
        self.conclude()?;
        match (parts.ended, self.means.framing) {
            (true, Framing::Length(1..)) => Err(Malformed::bad("body shorter than Content-Length")),
            _ => Ok(()),
        }
    }

    fn write_fields<'a>(
        &mut self,
        parts: Parts<'_>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &HeadLimits,
    ) -> Result<(), Malformed> {
        if let Some(authority) = parts.authority {
            self.head.write_field(b"host", &[authority], limits)?;
        }
        let mut cookies: Vec<&[u8]> = Vec::new();
        for (name, value) in fields {
            match name {
                // RFC 9113 section 8.2.1: there is no white space around values, as there may be in HTTP/1.1.
                _ if trim(value).len() < value.len() => {
                    return Err(Malformed::bad("white space around a field's value"));
                }
                _ if name.iter().any(u8::is_ascii_uppercase) => {
                    return Err(Malformed::bad("upper case in a field's name"));
                }
                // The same authority twice is no harm; another one is.
                b"host" if parts.authority.is_some_and(|authority| authority.eq_ignore_ascii_case(value)) => {
                }
                b"cookie" if cookies.is_empty() => cookies.push(value),
                b"cookie" => cookies.extend([&b"; "[..], value]),
                _ => self.head.write_field(name, &[value], limits)?,
            }
        }
        if cookies.is_empty() {
            return Ok(());
        }
        self.head.write_field(b"cookie", &cookies, limits)
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
        let Self { head, means } = self;
        let Some(host) = head.single(Name::Host, "several Host")? else {
            // Before 1.1 nobody knew it.
            return match means.version {
                Version::Http10 if means.authority.is_none() => Ok(()),
                _ => Err(Malformed::bad("no Host")),
            };
        };
        if !is_authority(host) {
            return Err(Malformed::bad("bad Host"));
        }
        let target = means.authority.map(|authority| authority.of(head.bytes()));
        if target.is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
            return Err(Malformed::bad("Host differs from the target"));
        }
        means.host = head.find(Name::Host).unwrap_or_default();
        head.lower(self.means.host);
        Ok(())
    }

    fn read_framing(&mut self) -> Result<(), Malformed> {
        let means = &mut self.means;
        means.framing = match declared(&self.head, means.version)? {
            Declared::Chunked if means.version == Version::Http2 => {
                return Err(Malformed::bad("Transfer-Encoding in HTTP/2"));
            }
            Declared::Nothing if means.open => Framing::Chunked,
            Declared::Nothing => Framing::None,
            Declared::Length(length) => Framing::Length(length),
            Declared::Chunked => Framing::Chunked,
        };
        // RFC 9110 sections 9.3.6 and 9.3.8; a server that doesn't look for a body reads it as the next request.
        match (means.method, means.framing) {
            (Method::Trace | Method::Connect, Framing::Length(1..) | Framing::Chunked) => {
                Err(Malformed::bad("body where none may be"))
            }
            _ => Ok(()),
        }
    }

    fn read_connection(&mut self) -> Result<(), Malformed> {
        if self.head.find(Name::Connection).is_none() {
            return Ok(());
        }
        if self.means.version == Version::Http2 {
            return Err(Malformed::bad("Connection in HTTP/2"));
        }
        self.means.wishes = wishes(&self.head)?;
        if self.means.wishes.nominates_known {
            return Err(Malformed::bad("Connection names a field that is not its own"));
        }
        Ok(())
    }

    /// RFC 9110 section 10.1.1.
    fn read_expect(&mut self) -> Result<(), Malformed> {
        let Some(expect) = self.head.single(Name::Expect, "several Expect")? else { return Ok(()) };
        if !expect.eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::expectation());
        }
        self.means.expects_continue =
            self.means.version != Version::Http10 && self.means.framing != Framing::None;
        Ok(())
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.means.method
    }

    /// The method as it was sent.
    pub fn method_text(&self) -> &[u8] {
        let Span { start, .. } = self.means.line;
        Span { start, end: self.means.method_end }.of(self.head.bytes())
    }

    /// The first line without its end, as it was sent: for logs.
    pub fn line(&self) -> &[u8] {
        self.means.line.of(self.head.bytes())
    }

    /// The path and the query as they were sent, to be passed on; `*`; or of CONNECT the authority. The authority of an
    /// absolute target is left out, being that of [`host`](Self::host).
    #[inline]
    pub fn target(&self) -> &[u8] {
        if self.means.form == Form::Empty {
            return b"/";
        }
        let end = self.means.query.unwrap_or(self.means.path).end;
        Span { start: self.means.path.start, end }.of(self.head.bytes())
    }

    /// The path as it was sent: neither decoded nor normalised. `*` or the authority where there is none.
    #[inline]
    pub fn path(&self) -> &[u8] {
        if self.means.form == Form::Empty {
            return b"/";
        }
        self.means.path.of(self.head.bytes())
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.means.query.map(|query| query.of(self.head.bytes()))
    }

    /// Whether the target has a path: it is neither `*` nor the authority of CONNECT.
    pub fn has_path(&self) -> bool {
        self.means.form != Form::Other
    }

    /// The authority that the request is for, lower case, valid, with its port if it was sent with one; empty for
    /// HTTP/1.0 without Host.
    #[inline]
    pub fn host(&self) -> &[u8] {
        self.means.host.of(self.head.bytes())
    }

    /// [`host`](Self::host) without its port.
    #[inline]
    pub fn host_name(&self) -> &[u8] {
        host_of(self.host())
    }

    /// The protocol's version.
    pub fn version(&self) -> Version {
        self.means.version
    }

    /// Where the body ends.
    pub fn framing(&self) -> Framing {
        self.means.framing
    }

    /// Whether the client will send another request on the connection, as far as it says.
    pub fn keep_alive(&self) -> bool {
        self.means.wishes.persists(self.means.version)
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.means.expects_continue
    }

    /// The protocols that the client would rather speak, if Connection names Upgrade as it must (RFC 9110 section 7.8).
    pub fn upgrade(&self) -> Option<&[u8]> {
        if !self.means.wishes.upgrade || self.means.version != Version::Http11 {
            return None;
        }
        self.head.known(Name::Upgrade)
    }

    /// Whether Connection names the field of this (lower-case) name, so that it is not to be passed on.
    #[inline]
    pub fn nominates(&self, name: &[u8]) -> bool {
        self.means.wishes.nominated > 0
            && self.head.all(Name::Connection).flat_map(list).any(|option| option.eq_ignore_ascii_case(name))
    }

    /// Names, lower case, and values, in their order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.head.fields().map(|field| (field.name, field.value))
    }

    /// The fields with all that is known of each, in their order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Field<'_>> + Clone {
        self.head.fields()
    }

    /// The value of the first field of this name, in one step.
    #[inline]
    pub fn known(&self, name: Name) -> Option<&[u8]> {
        self.head.known(name)
    }

    /// The values of all fields of this name, in their order.
    pub fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.head.all(name)
    }

    /// The value of the first field of any name.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.head.named(name)
    }
}

impl Meaning {
    /// Reads `method SP target SP version`.
    fn start(&mut self, line: &[u8], at: usize) -> Result<(), Malformed> {
        if line == b"PRI * HTTP/2.0" {
            return Err(Malformed::HTTP2);
        }
        let space = self.read(line, at)?;
        self.version = version(&line[space + 1..])?;
        Ok(())
    }

    /// Reads the line that was made of the parts of HTTP/2.
    fn start_of_parts(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let space = self.read(line, 0)?;
        self.version = Version::Http2;
        if &line[space..] == HTTP2 { Ok(()) } else { Err(Malformed::bad("illegal byte in the target")) }
    }

    /// Reads the method and the target; gives the offset of the space behind it.
    #[inline]
    fn read(&mut self, line: &[u8], at: usize) -> Result<usize, Malformed> {
        let method = token_len(line);
        if method == 0 || line.get(method) != Some(&b' ') {
            return Err(Malformed::bad("bad method"));
        }
        if method > LONGEST_METHOD {
            return Err(Malformed::not_implemented("unknown method"));
        }
        self.method = Method::of(&line[..method]);
        self.line = Span::new(at, at + line.len());
        self.method_end = Span::new(at, at + method).end;
        let target = &line[method + 1..];
        let len = find_target_end(target).ok_or(Malformed::bad("no version"))?;
        match target[len] {
            b' ' => self.place(&target[..len], at + method + 1)?,
            b'#' => return Err(Malformed::bad("fragment in the target")),
            _ => return Err(Malformed::bad("illegal byte in the target")),
        }
        Ok(method + 1 + len)
    }

    /// Finds the target's parts.
    fn place(&mut self, target: &[u8], at: usize) -> Result<(), Malformed> {
        let start = match target::form(target, self.method)? {
            Target::Origin => 0,
            Target::Absolute { authority, path } => {
                self.authority = Some(Span::new(at + authority, at + path));
                self.form = if path == target.len() { Form::Empty } else { Form::Path };
                path
            }
            Target::Authority => {
                self.authority = Some(Span::new(at, at + target.len()));
                self.form = Form::Other;
                0
            }
            Target::Asterisk => {
                self.form = Form::Other;
                0
            }
        };
        let question = memchr::memchr(b'?', &target[start..]).map(|question| start + question);
        self.path = Span::new(at + start, at + question.unwrap_or(target.len()));
        self.query = question.map(|question| Span::new(at + question + 1, at + target.len()));
        Ok(())
    }
}

/// `HTTP/1.1` or `HTTP/1.0`. A later minor version would be read as 1.1 by the letter (RFC 9112 section 2.3); there is
/// none, so nobody honest sends it.
fn version(text: &[u8]) -> Result<Version, Malformed> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Malformed::version())
        }
        _ => Err(Malformed::bad("bad version")),
    }
}

#[cfg(test)]
mod tests;
