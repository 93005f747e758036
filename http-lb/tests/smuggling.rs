//! The corpus of request smuggling, through the parser. Kind: driver.

mod corpus;

use corpus::{Body, Case, Expected, cases};
use http_lb::wire::{ChunkedDecoder, Framing, HeadLimits, RequestHead};

/// What the parser makes of a connection's bytes, if they come in pieces of this size.
fn replay(raw: &[u8], size: usize) -> Vec<Expected> {
    let mut bytes = raw.to_vec();
    let (mut head, mut outcome) = (RequestHead::new(), Vec::new());
    while !bytes.is_empty() {
        head.clear();
        let used = match feed_head(&mut head, &bytes, size) {
            Ok(Some(used)) => used,
            Ok(None) => return with(outcome, Expected::Partial(Body::None)),
            Err(status) => return with(outcome, Expected::Refuse(status)),
        };
        bytes.drain(..used);
        let (used, expected) = read_body(&head, &bytes, size);
        outcome.push(expected);
        if !matches!(expected, Expected::Accept(_)) {
            break;
        }
        bytes.drain(..used);
    }
    outcome
}

fn with(mut outcome: Vec<Expected>, last: Expected) -> Vec<Expected> {
    outcome.push(last);
    outcome
}

/// How many bytes the head takes.
fn feed_head(head: &mut RequestHead, bytes: &[u8], size: usize) -> Result<Option<usize>, u16> {
    let mut before = 0;
    for piece in bytes.chunks(size) {
        match head.feed(piece, &HeadLimits::default()) {
            Ok(Some(used)) => return Ok(Some(before + used)),
            Ok(None) => before += piece.len(),
            Err(malformed) => return Err(malformed.status),
        }
    }
    Ok(None)
}

/// How many bytes the body takes, and what becomes of the request.
fn read_body(head: &RequestHead, bytes: &[u8], size: usize) -> (usize, Expected) {
    match head.framing() {
        Framing::None => (0, Expected::Accept(Body::None)),
        Framing::Length(length) => match usize::try_from(length).ok().filter(|length| *length <= bytes.len())
        {
            Some(used) => (used, Expected::Accept(Body::Length(length))),
            None => (bytes.len(), Expected::Partial(Body::Length(length))),
        },
        Framing::Chunked => read_chunks(bytes, size),
    }
}

fn read_chunks(bytes: &[u8], size: usize) -> (usize, Expected) {
    let (mut decoder, mut used, mut data) = (ChunkedDecoder::new(), 0, 0);
    while used < bytes.len() {
        let piece = &bytes[used..bytes.len().min(used + size)];
        match decoder.advance(piece) {
            Ok(decoded) => {
                assert!(decoded.used > 0 && decoded.data.end <= decoded.used);
                used += decoded.used;
                data += decoded.data.len() as u64;
                if decoded.end {
                    return (used, Expected::Accept(Body::Chunked(data)));
                }
            }
            Err(malformed) => return (used, Expected::RefuseBody(malformed.status)),
        }
    }
    (used, Expected::Partial(Body::Chunked(data)))
}

#[test]
fn every_case_is_refused_or_has_one_meaning_however_it_is_cut() {
    let wrong: Vec<_> =
        cases().iter().flat_map(|case| [65_536, 1, 2, 7].map(|size| wrong(case, size))).flatten().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn wrong(case: &Case, size: usize) -> Option<String> {
    let found = replay(&case.raw, size);
    let Case { name, expected, .. } = case;
    (found != *expected).then(|| format!("{name}, in pieces of {size}: {found:?}, not {expected:?}"))
}

#[test]
fn the_corpus_has_many_cases_each_with_a_name_and_an_end() {
    let cases = cases();
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "a name twice");
    assert!(cases.len() >= 400, "{}", cases.len());
    assert!(cases.iter().all(|case| !case.raw.is_empty() && !case.expected.is_empty()));
}
