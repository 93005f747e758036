//! Where a body ends, and what a connection is for afterwards: the fields that two parsers must read alike, or one
//! smuggles a message past the other (RFC 9112 sections 6 and 9). Kind: pure.

use super::head::Head;
use super::name::Name;
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
pub(super) fn declared(head: &Head, version: Version) -> Result<Declared, Malformed> {
    let length = head.single(Name::ContentLength, "several Content-Length")?;
    let coding = head.single(Name::TransferEncoding, "several Transfer-Encoding")?;
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

/// What Connection says (RFC 9110 section 7.6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// So many fields are named that are meant for us alone.
    pub(super) nominated: u8,
    /// Among them one that isn't ours to drop: to lose it would change what the message means.
    pub(super) nominates_known: bool,
}

impl Wishes {
    /// Whether the connection may carry another message (RFC 9112 section 9.3).
    pub(super) fn persists(self, version: Version) -> bool {
        match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 | Version::Http2 => !self.close,
        }
    }
}

/// How many fields a Connection may name: each is looked for again with each field that is passed on.
const NOMINATIONS: u8 = 16;

pub(super) fn wishes(head: &Head) -> Result<Wishes, Malformed> {
    let mut wishes = Wishes::default();
    for option in head.all(Name::Connection).flat_map(list) {
        match option.len() {
            5 if option.eq_ignore_ascii_case(b"close") => wishes.close = true,
            7 if option.eq_ignore_ascii_case(b"upgrade") => wishes.upgrade = true,
            10 if option.eq_ignore_ascii_case(b"keep-alive") => wishes.keep_alive = true,
            _ => wishes.nominate(option)?,
        }
    }
    Ok(wishes)
}

impl Wishes {
    fn nominate(&mut self, option: &[u8]) -> Result<(), Malformed> {
        let known = Name::of_any_case(option);
        self.nominated += 1;
        self.nominates_known |= known != Name::Other && !known.is_hop_by_hop();
        if self.nominated > NOMINATIONS {
            return Err(Malformed::bad("Connection names too many fields"));
        }
        Ok(())
    }
}
