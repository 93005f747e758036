//! Where a body ends: the fields that two parsers must read alike, or one smuggles a message past the other (RFC 9112
//! section 6). Kind: pure.

use super::name::Name;
use super::table::FieldTable;
use super::text::{decimal, list};
use super::{Malformed, Version};

/// What the fields of either kind of message declare as its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Nothing,
    Length(u64),
    Chunked,
}

/// Reads Content-Length and Transfer-Encoding; whatever could be read in two ways is refused.
pub(super) fn declared(fields: &FieldTable, version: Version) -> Result<Declared, Malformed> {
    let length = fields.single(Name::ContentLength, "several Content-Length")?;
    let coding = fields.single(Name::TransferEncoding, "several Transfer-Encoding")?;
    match (length, coding) {
        (None, None) => Ok(Declared::Nothing),
        (Some(length), None) => content_length(length).map(Declared::Length),
        (None, Some(coding)) => transfer_encoding(coding, version).map(|()| Declared::Chunked),
        // RFC 9112 section 6.1 would have a proxy remove the length; whoever sends both is attacking somebody.
        (Some(_), Some(_)) => Err(Malformed::bad("Content-Length and Transfer-Encoding")),
    }
}

/// Digits, and no more: no sign, no list, no zeros in front, which some parsers take for octal.
fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let zeros = value.len() > 1 && value.starts_with(b"0");
    decimal(value).filter(|_| !zeros).ok_or(Malformed::bad("bad Content-Length"))
}

/// Exactly `chunked`, and not in HTTP/1.0, where nobody knows it (RFC 9112 section 6.1).
fn transfer_encoding(value: &[u8], version: Version) -> Result<(), Malformed> {
    if version == Version::Http10 {
        return Err(Malformed::bad("Transfer-Encoding in HTTP/1.0"));
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = list(value).rev();
    let last = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let mut others = codings.peekable();
    let compressed = others.peek().is_some()
        && others.all(|coding| {
            [&b"gzip"[..], b"x-gzip", b"compress", b"x-compress", b"deflate"]
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known))
        });
    match last && compressed {
        true => Err(Malformed::not_implemented("compressed Transfer-Encoding")),
        false => Err(Malformed::bad("bad Transfer-Encoding")),
    }
}
