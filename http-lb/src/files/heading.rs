//! The fields that a file's answers carry, ready to be sent. Kind: pure.

use std::time::Duration;

use bytes::Bytes;

use super::coding::Coding;
use super::kind;
use super::terms::{Attachments, Mount};
use crate::wire::date;

/// For how long a client may use what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// For ever: its name tells its content.
    Immutable,
    /// For so long.
    For(Duration),
    /// Only for whom it was sent to, and not without asking: the application decides who may see it.
    Private,
}

/// What is said about one representation of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading<'a> {
    /// Its media type.
    pub(super) content_type: &'a str,
    /// How long it may be used.
    pub(super) freshness: Freshness,
    /// Its entity tag, quotes included.
    pub(super) etag: &'a [u8],
    /// When it was modified, in seconds since 1970.
    pub(super) modified: u64,
    /// How it is coded.
    pub(super) coding: Option<Coding>,
    /// Whether another request might get another representation.
    pub(super) varies: bool,
    /// Further fields of the mount's: see [`extra`].
    pub(super) extra: &'a [u8],
}

impl Heading<'_> {
    /// The block of a 200. The media type stands first.
    pub(super) fn found(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(320 + self.extra.len());
        push(&mut block, "content-type", self.content_type.as_bytes());
        if let Some(coding) = self.coding {
            push(&mut block, "content-encoding", coding.token().as_bytes());
        }
        self.push_common(&mut block);
        push(&mut block, "last-modified", &date::format(self.modified));
        push(&mut block, "accept-ranges", b"bytes");
        block.extend_from_slice(self.extra);
        block
    }

    /// The block of a 304: what a cache needs to freshen what it has (RFC 9110 section 15.4.5).
    pub(super) fn unchanged(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(160);
        self.push_common(&mut block);
        block
    }

    fn push_common(&self, block: &mut Vec<u8>) {
        match self.freshness {
            // The immutable extension: RFC 8246.
            Freshness::Immutable => push(block, "cache-control", b"public, max-age=31536000, immutable"),
            Freshness::For(age) => {
                push(block, "cache-control", format!("public, max-age={}", age.as_secs()).as_bytes())
            }
            Freshness::Private => push(block, "cache-control", b"private, no-cache"),
        }
        push(block, "etag", self.etag);
        if self.varies {
            push(block, "vary", b"Accept-Encoding");
        }
    }
}

/// What a mount adds to the answers for files of this type.
pub(super) fn extra(mount: &Mount, content_type: &str) -> Vec<u8> {
    let mut block = Vec::new();
    push(&mut block, "x-content-type-options", b"nosniff");
    let attached = match mount.attachments {
        Attachments::Never => false,
        Attachments::Active => kind::is_active(content_type),
        Attachments::Always => true,
    };
    if attached {
        push(&mut block, "content-disposition", b"attachment");
    }
    for (name, value) in &mount.fields {
        push(&mut block, &name.to_ascii_lowercase(), value.as_bytes());
    }
    block
}

/// The media type of a block that [`Heading::found`] made, and the rest of the block.
pub(super) fn split_type(block: &Bytes) -> (&str, Bytes) {
    let end = memchr::memmem::find(block, b"\r\n").unwrap_or(0);
    let line = block.get(..end).and_then(|line| line.strip_prefix(b"content-type: "));
    let content_type = line.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    (content_type, block.slice((end + 2).min(block.len())..))
}

/// Adds a line. Values are ours or a checked configuration's: nothing in them ends a line.
pub(super) fn push(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.extend_from_slice(name.as_bytes());
    block.extend_from_slice(b": ");
    block.extend_from_slice(value);
    block.extend_from_slice(b"\r\n");
}

/// What an application says itself about a file that it lets us send, as nginx' `X-Accel-Redirect` has it: these fields of
/// its answer hold.
const KEPT: [&[u8]; 7] = [
    b"content-type",
    b"content-disposition",
    b"content-language",
    b"cache-control",
    b"expires",
    b"set-cookie",
    b"content-security-policy",
];

/// Fields of an application's answer that hold instead of the file's own.
pub(super) type Kept = Bytes;

/// The block of those fields of an application's answer that hold for the file as well. Names are in lower case.
pub(super) fn kept<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Kept {
    let mut block = Vec::new();
    for (name, value) in fields.filter(|(name, _)| KEPT.contains(name)) {
        block.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    }
    block.into()
}

/// The block with the fields in `kept` instead of its own ones of the same name. The media type stays first.
pub(super) fn overlay(block: &[u8], kept: &[u8]) -> Vec<u8> {
    let said = |name: &[u8]| lines(kept).any(|line| name_of(line) == name);
    let is_type = |line: &&[u8]| name_of(line) == b"content-type";
    let ours = lines(block).filter(|line| !said(name_of(line)));
    let all = || ours.clone().chain(lines(kept));
    let first = all().filter(is_type).take(1);
    first.chain(all().filter(|line| !is_type(line))).flatten().copied().collect()
}

/// A redirect to the folder at `path` beneath `prefix`. Both are normalised, so that nothing in it leads to another host.
pub(super) fn to_folder(prefix: &str, path: &[u8]) -> Vec<u8> {
    let mut location = prefix.to_owned();
    for byte in path {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => location.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => location.push(char::from(*byte)),
            byte => location.push_str(&format!("%{byte:02X}")),
        }
    }
    location.push('/');
    let mut block = Vec::new();
    push(&mut block, "location", location.as_bytes());
    block
}

fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    block.split_inclusive(|byte| *byte == b'\n')
}

fn name_of(line: &[u8]) -> &[u8] {
    &line[..memchr::memchr(b':', line).unwrap_or(line.len())]
}
