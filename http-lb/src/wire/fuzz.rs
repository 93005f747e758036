//! The entries for a fuzzer: whatever the bytes, however they are cut, the parsers come to the same end. Kind: pure.
//!
//! `http-lb/fuzz` calls them, and the tests call them with what a fuzzer once found worth keeping.

use std::borrow::Cow;

use super::chunked::{put_chunk, put_last_chunk};
use super::range::{self, Selection};
use super::{ChunkedDecoder, HeadLimits, Malformed, Method, RequestHead, ResponseHead, cookie, date, path};

/// Small enough for a fuzzer to meet them.
const LIMITS: HeadLimits = HeadLimits { line: 128, total: 512, fields: 8 };

/// Into how large pieces everything is cut.
const PIECES: [usize; 4] = [1, 2, 3, 7];

/// Feeds all bytes in pieces of this size; gives how many the head takes.
fn feed(
    data: &[u8],
    size: usize,
    mut take: impl FnMut(&[u8]) -> Result<Option<usize>, Malformed>,
) -> Result<Option<usize>, Malformed> {
    let mut before = 0;
    for piece in data.chunks(size) {
        if let Some(used) = take(piece)? {
            assert!(used <= piece.len());
            return Ok(Some(before + used));
        }
        before += piece.len();
    }
    Ok(None)
}

/// Requests: what is read doesn't depend on the cuts, and what is passed on is read again as it was.
pub fn fuzz_request(data: &[u8]) {
    let parse = |data: &[u8], size| {
        let mut head = RequestHead::new();
        feed(data, size, |piece| head.feed(piece, &LIMITS)).map(|used| used.map(|used| (head, used)))
    };
    let told = |parsed: &Result<Option<(RequestHead, usize)>, Malformed>| {
        let parsed =
            parsed.as_ref().map(|parsed| parsed.as_ref().map(|(head, used)| (tell_request(head), *used)));
        format!("{parsed:?}")
    };
    let at_once = parse(data, data.len().max(1));
    for size in PIECES {
        assert_eq!(told(&parse(data, size)), told(&at_once), "pieces of {size}");
    }
    if let Ok(Some((head, _))) = at_once {
        let written = write(
            &[head.method_text(), b" ", head.target(), b" ", head.version().text().as_bytes()],
            head.fields(),
        );
        let limits = HeadLimits { line: 2 * LIMITS.line, total: 2 * LIMITS.total, ..LIMITS };
        let (again, used) =
            RequestHead::parse(&written, &limits).expect("it was read before").expect("it is whole");
        assert_eq!((tell_request(&again), used), (tell_request(&head), written.len()));
    }
}

/// All that a request means.
fn tell_request(head: &RequestHead) -> String {
    let line = (head.method(), head.method_text(), head.target(), head.path(), head.query(), head.version());
    let means = (head.host(), head.framing(), head.keep_alive(), head.expects_continue(), head.upgrade());
    format!("{line:?} {means:?} {:?}", Vec::from_iter(head.fields()))
}

/// Responses: what is read doesn't depend on the cuts, and what is passed on is read again as it was.
pub fn fuzz_response(data: &[u8]) {
    for request in [Method::Get, Method::Head] {
        check_response(data, request);
    }
}

fn check_response(data: &[u8], request: Method) {
    let parse = |data: &[u8], size| {
        let mut head = ResponseHead::new();
        let used = feed(data, size, |piece| head.feed(piece, &LIMITS, request))?;
        Ok::<_, Malformed>(used.map(|used| (head, used)))
    };
    let told = |parsed: &Result<Option<(ResponseHead, usize)>, Malformed>| {
        let parsed =
            parsed.as_ref().map(|parsed| parsed.as_ref().map(|(head, used)| (tell_response(head), *used)));
        format!("{parsed:?}")
    };
    let at_once = parse(data, data.len().max(1));
    for size in PIECES {
        assert_eq!(told(&parse(data, size)), told(&at_once), "pieces of {size}");
    }
    if let Ok(Some((head, _))) = at_once {
        let status = head.status().to_string();
        let written = write(
            &[head.version().text().as_bytes(), b" ", status.as_bytes(), b" ", head.reason()],
            head.fields(),
        );
        let limits = HeadLimits { line: 2 * LIMITS.line, total: 2 * LIMITS.total, ..LIMITS };
        let again = ResponseHead::parse(&written, &limits, request).expect("it was read before");
        let (again, used) = again.expect("it is whole");
        assert_eq!((tell_response(&again), used), (tell_response(&head), written.len()));
    }
}

/// All that a response means.
fn tell_response(head: &ResponseHead) -> String {
    let line = (head.status(), head.reason(), head.version());
    let means = (head.framing(), head.content_length(), head.keep_alive(), head.upgrade());
    format!("{line:?} {means:?} {:?}", Vec::from_iter(head.fields()))
}

fn write<'a>(line: &[&[u8]], fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut text = line.concat();
    for (name, value) in fields {
        text.extend([b"\r\n", name, b": ", value].concat());
    }
    text.extend_from_slice(b"\r\n\r\n");
    text
}

/// Chunks: the data doesn't depend on the cuts, and written again it is read as it was.
pub fn fuzz_chunk(data: &[u8]) {
    let at_once = chunks(data, data.len().max(1));
    for size in PIECES {
        assert_eq!(chunks(data, size), at_once, "pieces of {size}");
    }
    if let (body, trailers, Ok(Some(_))) = at_once {
        let mut written = Vec::new();
        body.chunks(5).for_each(|piece| put_chunk(&mut written, piece));
        put_last_chunk(&mut written, Some(&trailers));
        let len = written.len();
        assert_eq!(chunks(&written, 4), (body, trailers, Ok(Some(len))));
    }
}

/// The data, the trailers, and how it ended: after so many bytes, or not yet.
fn chunks(data: &[u8], size: usize) -> (Vec<u8>, super::Fields, Result<Option<usize>, Malformed>) {
    let (mut decoder, mut body, mut used) = (ChunkedDecoder::new(), Vec::new(), 0);
    let ended = loop {
        let piece = &data[used..data.len().min(used + size)];
        if piece.is_empty() {
            break Ok(None);
        }
        match decoder.advance(piece) {
            Ok(decoded) => {
                assert!(decoded.used > 0 && decoded.data.end <= decoded.used);
                body.extend_from_slice(&piece[decoded.data]);
                used += decoded.used;
                if decoded.end {
                    break Ok(Some(used));
                }
            }
            Err(malformed) => break Err(malformed),
        }
    };
    (body, decoder.trailers().clone(), ended)
}

/// Ranges: they lie within the content, never overlap, and are few. The first byte is the content's length.
pub fn fuzz_range(data: &[u8]) {
    let Some((length, value)) = data.split_first() else { return };
    let length = u64::from(*length);
    let Selection::Spans(spans) = range::select(value, length) else { return };
    assert!((1..=16).contains(&spans.len()));
    let mut seen = vec![false; 256];
    for span in spans {
        assert!(span.length > 0 && span.start + span.length <= length);
        for at in span.start..span.start + span.length {
            assert!(!std::mem::replace(&mut seen[at as usize], true), "byte {at} twice");
        }
    }
}

/// Cookies: written again they are the same.
pub fn fuzz_cookie(data: &[u8]) {
    let cookies = Vec::from_iter(cookie::pairs(data));
    let written = cookies
        .iter()
        .map(|(name, value)| [*name, b"=", *value].concat())
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    assert!(cookie::pairs(&written).eq(cookies.iter().copied()));
}

/// Paths: a normal one leads nowhere else, whoever reads it, and is that of its letters, all of them escaped.
pub fn fuzz_path(data: &[u8]) {
    let Ok(normal) = path::normalise(data) else { return };
    assert!(normal.starts_with(b"/"));
    assert!(!normal.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
    let mut segments = normal.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        assert!(!matches!(segment, b"." | b"..") && (!segment.is_empty() || segments.peek().is_none()));
    }
    if let Cow::Borrowed(path) = normal {
        assert_eq!(path, data);
    }
    let escape = |byte: &u8| if *byte == b'/' { "/".to_owned() } else { format!("%{byte:02x}") };
    let escaped: String = normal.iter().map(escape).collect();
    assert_eq!(path::normalise(escaped.as_bytes()), Ok(normal));
}

/// Dates: written again they are the same second.
pub fn fuzz_date(data: &[u8]) {
    if let Some(seconds) = date::parse(data) {
        assert_eq!(date::parse(&date::format(seconds)), Some(seconds));
    }
}
