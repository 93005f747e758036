//! The entries for a fuzzer: whatever the bytes, however they are cut, the parsers come to the same end. Kind: pure.
//!
//! `redis-router/fuzz` calls them, and the tests call them with what a fuzzer once found worth keeping.

use super::build::put_request;
use super::{
    Args, Framed, Limits, ReplyFault, ReplyFramer, ReplyKind, RequestFramer, Span, Violation, inline,
};

/// Small enough for a fuzzer to meet them.
const LIMITS: Limits = Limits { max_args: 64, max_bulk: 4096, max_line: 256, inline: true, stranger: false };

/// Requests: the frames don't depend on the cuts, and of every frame its arguments give back the bytes, so that nobody
/// could read it in another way.
pub fn fuzz_request(data: &[u8]) {
    let at_once = requests(data, data.len().max(1), false);
    for size in [1, 2, 3, 7] {
        assert_eq!(requests(data, size, false), at_once, "pieces of {size}");
        assert_eq!(requests(data, size, true), at_once, "pieces of {size}, forgotten");
    }
    let mut rest = data;
    for span in at_once.0 {
        let (request, after) = rest.split_at(span.len);
        rest = after;
        check_request(request, span);
    }
}

/// The whole requests, and how they ended, if the bytes come in pieces of this size; optionally each piece is dropped
/// as soon as the framer allows.
fn requests(data: &[u8], size: usize, forget: bool) -> (Vec<Span>, Option<Violation>) {
    let (mut framer, mut spans) = (RequestFramer::default(), Vec::new());
    let (mut start, mut forgotten) = (0, 0);
    for end in (0..data.len()).step_by(size).map(|at| (at + size).min(data.len())) {
        loop {
            match framer.next(&data[start + forgotten..end], &LIMITS) {
                Ok(Framed::Whole(span)) => {
                    assert!(span.len > 0 && start + forgotten + span.len <= end);
                    spans.push(Span { len: forgotten + span.len, ..span });
                    start += forgotten + span.len;
                    forgotten = 0;
                }
                Ok(Framed::Partial { more }) => {
                    assert!(more > 0);
                    if forget {
                        let len = framer.settled().min(end - start - forgotten);
                        framer.forget(len);
                        forgotten += len;
                    }
                    break;
                }
                Err(violation) => return (spans, Some(violation)),
            }
        }
    }
    (spans, None)
}

fn check_request(request: &[u8], span: Span) {
    let args: Vec<_> = Args::new(request).collect();
    assert_eq!(args.len(), span.argc as usize);
    if span.inline {
        fuzz_inline(request);
    } else if span.argc > 0 {
        let mut again = Vec::new();
        put_request(&mut again, &args);
        assert_eq!(again, request);
    }
}

/// Replies: the frames don't depend on the cuts.
pub fn fuzz_reply(data: &[u8]) {
    let at_once = replies(data, data.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(replies(data, size), at_once, "pieces of {size}");
    }
}

/// The whole replies, and how they ended, if the bytes come in pieces of this size.
fn replies(data: &[u8], size: usize) -> (Vec<(usize, ReplyKind)>, Option<ReplyFault>) {
    let (mut framer, mut ends, mut len) = (ReplyFramer::default(), Vec::new(), 0);
    for mut piece in data.chunks(size) {
        while !piece.is_empty() {
            let advance = match framer.advance(piece) {
                Ok(advance) => advance,
                Err(fault) => return (ends, Some(fault)),
            };
            piece = &piece[advance.used..];
            len += advance.used;
            match advance.end {
                Some(kind) => ends.push((std::mem::take(&mut len), kind)),
                None => assert!(piece.is_empty(), "bytes are left, but the reply has no end"),
            }
            assert_eq!(framer.is_midway(), advance.end.is_none());
        }
    }
    (ends, None)
}

/// Inline requests: the words, written with every byte escaped, are the same words.
pub fn fuzz_inline(line: &[u8]) {
    let Ok(words) = inline::split(line) else { return };
    let escape = |word: &Vec<u8>| {
        format!("\"{}\"", word.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>())
    };
    let again = words.iter().map(escape).collect::<Vec<_>>().join(" ");
    assert_eq!(inline::split(again.as_bytes()), Ok(words));
}
