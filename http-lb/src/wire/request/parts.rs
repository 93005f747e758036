//! Requests that did not come as text but in parts, as HTTP/2 sends them (RFC 9113 section 8.3.1): they are written as
//! text, and read as strictly. Kind: pure.

use super::super::text::trim;
use super::super::{HeadLimits, Malformed};
use super::line::HTTP2;
use super::{Framing, RequestHead};

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

impl RequestHead {
    /// Becomes the request of these parts, in the room that it has, checked as strictly as one in text. Several Cookie fields
    /// become one (RFC 9113 section 8.2.3).
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
        let line = self.head.fields.bytes.trim_ascii_end();
        self.start.read_made(line)?;
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
}
