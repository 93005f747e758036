//! The first line of a request: method, target and version (RFC 9112 section 3). Kind: pure.

use super::super::swar::find_target_end;
use super::super::table::Span;
use super::super::target::{self, Target};
use super::super::text::token_len;
use super::super::{Malformed, Method, Version};

/// No method that anybody registered is half as long.
const LONGEST_METHOD: usize = 32;

/// What stands behind the target of a request that came in HTTP/2.
pub(super) const HTTP2: &[u8] = b" HTTP/2.0";

/// What the first line says, by offsets into the head's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct StartLine {
    pub(super) method: Method,
    method_end: u16,
    line: Span,
    pub(super) version: Version,
    form: Form,
    path: Span,
    query: Option<Span>,
    /// The authority in the target, which must be that of Host.
    pub(super) authority: Option<Span>,
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

impl StartLine {
    /// Reads `method SP target SP version`, which begins at this offset of the head.
    pub(super) fn read(&mut self, line: &[u8], at: usize) -> Result<(), Malformed> {
        if line == b"PRI * HTTP/2.0" {
            return Err(Malformed::HTTP2);
        }
        let space = self.request(line, at)?;
        self.version = version(&line[space + 1..])?;
        Ok(())
    }

    /// Reads the line that was made of the parts of HTTP/2.
    pub(super) fn read_made(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let space = self.request(line, 0)?;
        self.version = Version::Http2;
        if &line[space..] == HTTP2 { Ok(()) } else { Err(Malformed::bad("illegal byte in the target")) }
    }

    /// Reads the method and the target; gives the offset of the space behind it.
    #[inline]
    fn request(&mut self, line: &[u8], at: usize) -> Result<usize, Malformed> {
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

    /// The method as it was sent.
    pub(super) fn method_text<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        Span { start: self.line.start, end: self.method_end }.of(bytes)
    }

    /// The whole line, without its end.
    pub(super) fn text<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.line.of(bytes)
    }

    /// The path and the query, or what stands in their place.
    #[inline]
    pub(super) fn target<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.form {
            Form::Empty => b"/",
            Form::Path | Form::Other => {
                let end = self.query.unwrap_or(self.path).end;
                Span { start: self.path.start, end }.of(bytes)
            }
        }
    }

    /// The path, or what stands in its place.
    #[inline]
    pub(super) fn path<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.form {
            Form::Empty => b"/",
            Form::Path | Form::Other => self.path.of(bytes),
        }
    }

    /// What follows the first `?`.
    pub(super) fn query<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.query.map(|query| query.of(bytes))
    }

    /// Whether the target is neither `*` nor an authority.
    pub(super) fn has_path(&self) -> bool {
        self.form != Form::Other
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
