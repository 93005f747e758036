//! Streams: their states and identifiers, and the frames that belong to one. Kind: driver.

use super::case::{Case, Expect::*};
use super::frame::{
    Frame, block, code, continuation, data, flag, headers, kind, priority, reset, window_update,
};
use super::peer::{GET, Peer, get, last, post};
use super::verdict::Verdict;

const PROTOCOL: &[u32] = &[code::PROTOCOL];
const SIZE: &[u32] = &[code::FRAME_SIZE];
const CLOSED: &[u32] = &[code::STREAM_CLOSED];
/// Either rule is broken.
const EITHER: &[u32] = &[code::STREAM_CLOSED, code::PROTOCOL];

pub(super) const CASES: &[Case] = &[
    // A stream that nobody opened.
    Case::sends("5.1", "idle: DATA", || vec![data(1, flag::END_STREAM, "x")], Connection(PROTOCOL)),
    Case::sends("5.1", "idle: RST_STREAM", || vec![reset(1, code::CANCEL)], Connection(PROTOCOL)),
    Case::sends("5.1", "idle: WINDOW_UPDATE", || vec![window_update(1, 100)], Connection(PROTOCOL)),
    Case::sends(
        "5.1",
        "idle: CONTINUATION",
        || vec![continuation(1, flag::END_HEADERS, block(&GET))],
        Connection(PROTOCOL),
    ),
    Case::sends("5.1", "idle: PRIORITY", || vec![priority(5, 0), get(1)], Success(1)),
    // One that the client has ended, and the server has not.
    Case::talks("5.1", "half closed: DATA", |peer| half_closed(peer, data(1, flag::END_STREAM, "x"), CLOSED)),
    Case::talks("5.1", "half closed: HEADERS", |peer| half_closed(peer, get(1), CLOSED)),
    Case::talks("5.1", "half closed: CONTINUATION", |peer| {
        half_closed(peer, continuation(1, flag::END_HEADERS, block(&GET)), EITHER)
    }),
    Case::sends("5.1", "half closed: WINDOW_UPDATE", || vec![get(1), window_update(1, 100)], Success(1)),
    Case::sends("5.1", "half closed: PRIORITY", || vec![get(1), priority(1, 0)], Success(1)),
    Case::talks("5.1", "half closed: RST_STREAM", |peer| {
        peer.send(&[get(1), reset(1, code::CANCEL)])?;
        peer.still_serves(3)
    }),
    // One that the client has reset.
    Case::sends("5.1", "reset: DATA", || after_reset(data(1, flag::END_STREAM, "x")), Stream(1, CLOSED)),
    Case::sends("5.1", "reset: HEADERS", || after_reset(get(1)), Stream(1, EITHER)),
    Case::sends(
        "5.1",
        "reset: CONTINUATION",
        || after_reset(continuation(1, flag::END_HEADERS, block(&GET))),
        Connection(EITHER),
    ),
    Case::sends("5.1", "reset: PRIORITY", || after_reset(priority(1, 0)), Nothing),
    // One that both have ended.
    Case::talks("5.1", "closed: DATA", |peer| closed(peer, data(1, flag::END_STREAM, "x"), CLOSED)),
    Case::talks("5.1", "closed: HEADERS", |peer| closed(peer, get(1), EITHER)),
    Case::talks("5.1", "closed: CONTINUATION", |peer| {
        closed(peer, continuation(1, flag::END_HEADERS, block(&GET)), EITHER)
    }),
    Case::talks("5.1", "closed: PRIORITY, WINDOW_UPDATE and RST_STREAM are ignored", |peer| {
        peer.still_serves(1)?;
        peer.send(&[priority(1, 0), window_update(1, 1), reset(1, code::CANCEL)])?;
        peer.is_alive()
    }),
    // Identifiers.
    Case::sends("5.1.1", "an even identifier", || vec![get(2)], Connection(PROTOCOL)),
    Case::sends("5.1.1", "an identifier below an earlier one", || vec![get(5), get(3)], Connection(EITHER)),
    Case::talks("5.1.1", "identifiers may be skipped", |peer| {
        peer.still_serves(1)?;
        peer.still_serves(101)
    }),
    Case::talks("5.1.2", "more streams than the server allows", |peer| {
        let many: Vec<Frame> = (0..1000).map(|n| post(n * 2 + 1)).collect();
        peer.send(&many)?;
        // Some stream beyond what it said must be refused.
        loop {
            let frame = peer.next()?.ok_or("it closed the connection")?;
            match (frame.kind, frame.error_code()) {
                (kind::RST_STREAM, code::REFUSED_STREAM | code::PROTOCOL) => return Ok(()),
                (kind::GOAWAY, code::PROTOCOL | code::CALM) => return Ok(()),
                (kind::RST_STREAM | kind::GOAWAY, code) => return Err(format!("code {code}").into()),
                _ => {}
            }
        }
    }),
    // Priorities are deprecated: what is said of them changes nothing.
    Case::sends("5.3.2", "HEADERS with a priority", || vec![with_priority(1, 0)], Success(1)),
    Case::sends(
        "5.3.2",
        "PRIORITY of a stream that is opened then",
        || vec![priority(1, 7), get(1)],
        Success(1),
    ),
    Case::talks("5.3.2", "a hundred PRIORITY frames", |peer| {
        peer.send(&(0..100).map(|n| priority(n * 2 + 1, 0)).collect::<Vec<_>>())?;
        peer.still_serves(301)
    }),
    // DATA.
    Case::sends("6.1", "DATA of stream 0", || vec![data(0, flag::NONE, "x")], Connection(PROTOCOL)),
    Case::sends(
        "6.1",
        "padding as long as the payload",
        || vec![post(1), data(1, flag::PADDED | flag::END_STREAM, [5, 0, 0, 0, 0])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.1",
        "padded DATA",
        || vec![post(1), data(1, flag::PADDED | flag::END_STREAM, b"\x03body\0\0\0".as_slice())],
        Success(1),
    ),
    Case::sends(
        "6.1",
        "DATA of nothing ends a request",
        || vec![post(1), last(1, "body"[..0].as_ref())],
        Success(1),
    ),
    // HEADERS.
    Case::sends("6.2", "HEADERS of stream 0", || vec![get(0)], Connection(PROTOCOL)),
    Case::sends(
        "6.2",
        "padding as long as the payload",
        || vec![headers(1, flag::PADDED | flag::WHOLE, [200, 0, 0])],
        Connection(PROTOCOL),
    ),
    Case::sends("6.2", "padded HEADERS", padded, Success(1)),
    Case::sends(
        "6.2",
        "HEADERS with a priority of two bytes",
        || vec![headers(1, flag::PRIORITY | flag::WHOLE, [0; 2])],
        Connection(&[code::FRAME_SIZE, code::PROTOCOL]),
    ),
    // PRIORITY.
    Case::sends("6.3", "PRIORITY of stream 0", || vec![priority(0, 1)], Connection(PROTOCOL)),
    Case::sends(
        "6.3",
        "PRIORITY of four bytes",
        || vec![post(1), Frame::new(kind::PRIORITY, 0, 1, [0; 4])],
        Stream(1, SIZE),
    ),
    // RST_STREAM.
    Case::sends("6.4", "RST_STREAM of stream 0", || vec![reset(0, code::CANCEL)], Connection(PROTOCOL)),
    Case::sends(
        "6.4",
        "RST_STREAM of three bytes",
        || vec![post(1), Frame::new(kind::RST_STREAM, 0, 1, [0; 3])],
        Connection(SIZE),
    ),
    Case::talks("7", "RST_STREAM with an unknown code", |peer| {
        peer.send(&[post(1), reset(1, 0xff)])?;
        peer.still_serves(3)
    }),
    // PUSH_PROMISE.
    Case::sends(
        "8.4",
        "a client's PUSH_PROMISE",
        || {
            vec![Frame::new(
                kind::PUSH_PROMISE,
                flag::END_HEADERS,
                1,
                [&2_u32.to_be_bytes()[..], &block(&GET)].concat(),
            )]
        },
        Connection(PROTOCOL),
    ),
    // CONTINUATION.
    Case::sends("6.10", "fields in two frames", || fields_in(2), Success(1)),
    Case::sends("6.10", "fields in four frames", || fields_in(4), Success(1)),
    Case::sends(
        "6.10",
        "CONTINUATION of nothing",
        || vec![headers(1, flag::END_STREAM, block(&GET)), continuation(1, flag::END_HEADERS, [])],
        Success(1),
    ),
    Case::sends(
        "6.10",
        "CONTINUATION of stream 0",
        || vec![headers(1, flag::END_STREAM, block(&GET)), continuation(0, flag::END_HEADERS, [])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.10",
        "CONTINUATION of another stream",
        || vec![headers(1, flag::END_STREAM, block(&GET)), continuation(3, flag::END_HEADERS, [])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.10",
        "DATA before the CONTINUATION",
        || vec![headers(1, flag::NONE, block(&GET)), last(1, "x")],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.10",
        "CONTINUATION behind whole HEADERS",
        || vec![post(1), continuation(1, flag::END_HEADERS, [])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.10",
        "CONTINUATION behind the last one",
        || [fields_in(3), vec![continuation(1, flag::END_HEADERS, [])]].concat(),
        Connection(EITHER),
    ),
    Case::sends(
        "6.10",
        "CONTINUATION behind DATA",
        || vec![post(1), data(1, flag::NONE, "x"), continuation(1, flag::END_HEADERS, [])],
        Connection(PROTOCOL),
    ),
];

/// Stream 1 waits for an answer that does not come, as its window is empty.
fn half_closed(peer: &mut Peer, frame: Frame, codes: &[u32]) -> Verdict {
    peer.send(&[get(1), frame])?;
    peer.stream_error(1, codes)
}

fn after_reset(frame: Frame) -> Vec<Frame> {
    vec![post(1), reset(1, code::CANCEL), frame]
}

/// A stream's state may be forgotten (section 5.1, "closed"), but not taken for another one.
fn closed(peer: &mut Peer, frame: Frame, codes: &[u32]) -> Verdict {
    peer.still_serves(1)?;
    peer.send(&[frame])?;
    peer.stream_error(1, codes)
}

fn with_priority(stream: u32, on: u32) -> Frame {
    headers(stream, flag::PRIORITY | flag::WHOLE, [&on.to_be_bytes()[..], &[255], &block(&GET)].concat())
}

fn padded() -> Vec<Frame> {
    vec![headers(1, flag::PADDED | flag::WHOLE, [&[3][..], &block(&GET), &[0; 3]].concat())]
}

/// A request's fields, in so many frames.
fn fields_in(frames: usize) -> Vec<Frame> {
    let block = block(&GET);
    let pieces: Vec<&[u8]> = block.chunks(block.len().div_ceil(frames)).collect();
    let flags = |index: usize| if index + 1 == pieces.len() { flag::END_HEADERS } else { flag::NONE };
    let frame = |(index, piece): (usize, &&[u8])| match index {
        0 => headers(1, flag::END_STREAM | flags(0), *piece),
        _ => continuation(1, flags(index), *piece),
    };
    pieces.iter().enumerate().map(frame).collect()
}
