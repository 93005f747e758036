//! From what is sent of a file to the answer. Kind: driver.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::{Answer, Part};
use super::heading;
use super::ranges;
use super::wants::{Plan, Verb};
use crate::wire::range::Span;

/// Files up to this size are read and sent in one write, with their head; larger ones go from the page cache to the socket.
const READ: u64 = 32 << 10;

/// The blocks of a representation; made when they are asked for, or made long ago.
pub(super) trait Blocks {
    /// That of a 200.
    fn found(&self) -> Bytes;
    /// That of a 304.
    fn unchanged(&self) -> Bytes;
}

/// Where a representation's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Memory(Bytes),
    Disk(Arc<File>, u64),
}

impl Source {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(body) => body.len() as u64,
            Self::Disk(_, length) => *length,
        }
    }

    fn part(&self, span: Span) -> Part {
        let Span { start: offset, length } = span;
        match self {
            Self::Memory(body) => Part::Memory(slice(body, span)),
            Self::Disk(file, _) => Part::Disk { file: Arc::clone(file), offset, length },
        }
    }
}

/// Carries out the plan.
pub(super) fn compose(plan: Plan, verb: Verb, etag: &[u8], blocks: &impl Blocks, source: Source) -> Answer {
    let length = source.length();
    match plan {
        Plan::NotModified => {
            Answer::Memory { status: 304, fields: blocks.unchanged(), length: None, body: Bytes::new() }
        }
        Plan::Failed => empty(412, Bytes::from_static(NOSNIFF)),
        Plan::Unsatisfiable => empty(416, format!("{PLAIN}content-range: bytes */{length}\r\n").into()),
        Plan::Whole if verb == Verb::Head => {
            Answer::Memory { status: 200, fields: blocks.found(), length: Some(length), body: Bytes::new() }
        }
        Plan::Whole => stretch(200, blocks.found(), Span { start: 0, length }, source),
        Plan::Part(span) => {
            let mut fields = blocks.found().to_vec();
            heading::push(&mut fields, "content-range", ranges::content_range(span, length).as_bytes());
            stretch(206, fields.into(), span, source)
        }
        Plan::Parts(spans) => parts(&spans, etag, &blocks.found(), &source),
    }
}

const PLAIN: &str = "x-content-type-options: nosniff\r\n";
const NOSNIFF: &[u8] = PLAIN.as_bytes();

fn empty(status: u16, fields: Bytes) -> Answer {
    Answer::Memory { status, fields, length: Some(0), body: Bytes::new() }
}

fn stretch(status: u16, fields: Bytes, span: Span, source: Source) -> Answer {
    let Span { start: offset, length } = span;
    match source {
        Source::Memory(body) => {
            Answer::Memory { status, fields, length: Some(length), body: slice(&body, span) }
        }
        Source::Disk(file, _) if length <= READ => match read(&file, span) {
            Ok(body) => Answer::Memory { status, fields, length: Some(length), body },
            Err(error) => failed(&error),
        },
        Source::Disk(file, _) => Answer::Disk { status, fields, length, file, offset },
    }
}

fn parts(spans: &[Span], etag: &[u8], found: &Bytes, source: &Source) -> Answer {
    let (content_type, rest) = heading::split_type(found);
    let partition = ranges::partition(spans, source.length(), content_type, etag);
    let mut fields = Vec::with_capacity(found.len() + 64);
    heading::push(&mut fields, "content-type", partition.content_type.as_bytes());
    fields.extend_from_slice(&rest);
    let pieces = partition.heads.into_iter().zip(spans);
    let pieces = pieces.flat_map(|(head, span)| [Part::Memory(head), source.part(*span)]);
    let parts: Vec<_> = pieces.chain([Part::Memory(partition.tail)]).collect();
    Answer::Parts { fields: fields.into(), length: parts.iter().map(Part::length).sum(), parts }
}

/// Reads a stretch that is known to be small.
fn read(file: &File, span: Span) -> io::Result<Bytes> {
    let mut body = vec![0; usize::try_from(span.length).unwrap_or(0)];
    file.read_exact_at(&mut body, span.start)?;
    Ok(body.into())
}

/// The file is there, and can't be read.
pub(super) fn failed(error: &io::Error) -> Answer {
    tracing::warn!(%error, "a file can't be read");
    Answer::Failed
}

/// Spans lie within the body: they were selected from its length.
fn slice(body: &Bytes, span: Span) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
    body.slice(at(span.start)..at(span.start + span.length))
}
