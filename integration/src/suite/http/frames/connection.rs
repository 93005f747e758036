//! The connection as a whole: preface, frames of any kind, settings, PING, GOAWAY. Kind: driver.

use super::case::{Case, Expect::*, tell};
use super::frame::{
    FRAME_SIZE, Frame, MAX_WINDOW, PREFACE, block, code, continuation, data, flag, headers, kind, ping,
    priority, setting, settings,
};
use super::peer::{GET, Peer, filler, get, last, post};

const PROTOCOL: &[u32] = &[code::PROTOCOL];
const SIZE: &[u32] = &[code::FRAME_SIZE];

pub(super) const CASES: &[Case] = &[
    Case::talks("3.4", "the client's preface", |peer| peer.still_serves(1)),
    Case::connects("3.4", "an invalid preface", |addr| {
        let mut peer = Peer::connect(addr)?;
        peer.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")?;
        peer.connection_error(PROTOCOL)
    }),
    Case::connects("3.4", "a preface without SETTINGS", |addr| {
        let mut peer = Peer::connect(addr)?;
        peer.write(PREFACE)?;
        peer.send(&[get(1)])?;
        peer.connection_error(PROTOCOL)
    }),
    Case::connects("3.4", "a preface in pieces of one byte", |addr| {
        let mut peer = Peer::connect(addr)?;
        PREFACE.iter().try_for_each(|byte| peer.write(&[*byte]))?;
        peer.send(&[settings(&[(setting::HEADER_TABLE_SIZE, 0)]), get(1)])?;
        peer.succeeds(1)
    }),
    // Frames.
    Case::sends("4.1", "a frame of an unknown type", || vec![unknown(0), get(1)], Success(1)),
    Case::sends("4.1", "undefined flags on a PING", || vec![ping(0xf6, &[0; 8])], Nothing),
    Case::sends("4.1", "the reserved bit of a stream identifier", reserved_bit, Success(1)),
    Case::talks("4.2", "DATA of exactly 16384 bytes", |peer| {
        peer.send(&[post(1), data(1, flag::END_STREAM, filler())])?;
        peer.succeeds(1)
    }),
    Case::sends(
        "4.2",
        "DATA of 16385 bytes",
        || vec![post(1), data(1, flag::NONE, filler() + "x")],
        Stream(1, SIZE),
    ),
    Case::sends(
        "4.2",
        "HEADERS of 16385 bytes",
        || vec![headers(1, flag::WHOLE, filler() + "x")],
        Connection(SIZE),
    ),
    Case::sends("4.2", "a SETTINGS frame of 16386 bytes", big_settings, Connection(SIZE)),
    Case::sends(
        "4.3",
        "a field block that is none",
        || vec![headers(1, flag::WHOLE, [0x40])],
        Connection(&[code::COMPRESSION]),
    ),
    Case::sends("4.3", "PRIORITY within a field block", || within(priority(1, 0)), Connection(PROTOCOL)),
    Case::sends(
        "4.3",
        "HEADERS of another stream within a field block",
        || within(get(3)),
        Connection(PROTOCOL),
    ),
    Case::sends(
        "4.3",
        "PING within a field block",
        || within(ping(flag::NONE, &[0; 8])),
        Connection(PROTOCOL),
    ),
    // Errors.
    Case::talks("5.4.1", "the connection is closed behind a GOAWAY", |peer| {
        peer.send(&[ping(flag::NONE, &[0; 7])])?;
        while peer.next()?.is_some() {}
        Ok(())
    }),
    // Extensions.
    Case::sends(
        "5.5",
        "an unknown frame between frames",
        || vec![unknown(0), unknown(7), get(1)],
        Success(1),
    ),
    Case::sends("5.5", "an unknown frame within a field block", || within(unknown(1)), Connection(PROTOCOL)),
    // SETTINGS.
    Case::sends("6.5", "SETTINGS with ACK and a payload", ack_with_payload, Connection(SIZE)),
    Case::sends(
        "6.5",
        "SETTINGS of a stream",
        || vec![Frame { stream: 1, ..settings(&[]) }],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.5",
        "SETTINGS of three bytes",
        || vec![Frame::new(kind::SETTINGS, 0, 0, [0; 3])],
        Connection(SIZE),
    ),
    Case::sends(
        "6.5.2",
        "ENABLE_PUSH of 2",
        || vec![settings(&[(setting::ENABLE_PUSH, 2)])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.5.2",
        "INITIAL_WINDOW_SIZE above 2^31-1",
        || vec![settings(&[(setting::INITIAL_WINDOW_SIZE, MAX_WINDOW + 1)])],
        Connection(&[code::FLOW_CONTROL]),
    ),
    Case::sends(
        "6.5.2",
        "MAX_FRAME_SIZE below 16384",
        || vec![settings(&[(setting::MAX_FRAME_SIZE, 16_383)])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.5.2",
        "MAX_FRAME_SIZE above 2^24-1",
        || vec![settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)])],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.5.2",
        "a setting that nobody knows",
        || vec![settings(&[(setting::UNKNOWN, 1)]), get(1)],
        Success(1),
    ),
    Case::talks("6.5.3", "SETTINGS are acknowledged, each", |peer| {
        let before = peer.acknowledged();
        tell(peer, &[(setting::MAX_FRAME_SIZE, 16_384)])?;
        tell(peer, &[])?;
        peer.is_alive()?;
        match peer.acknowledged() - before {
            2 => Ok(()),
            other => Err(format!("{other} of 2 were acknowledged").into()),
        }
    }),
    // PING and GOAWAY.
    Case::talks("6.7", "a PING is answered with what it held", Peer::is_alive),
    Case::talks("6.7", "an answer to no PING is not answered", |peer| {
        peer.send(&[ping(flag::ACK, b"answered")])?;
        let frames = peer.until_pong()?.ok_or("it closed the connection")?;
        match frames.iter().find(|frame| frame.kind == kind::PING) {
            None => Ok(()),
            Some(_) => Err("it was answered".into()),
        }
    }),
    Case::sends(
        "6.7",
        "a PING of a stream",
        || vec![Frame { stream: 1, ..ping(0, &[0; 8]) }],
        Connection(PROTOCOL),
    ),
    Case::sends("6.7", "a PING of six bytes", || vec![ping(flag::NONE, &[0; 6])], Connection(SIZE)),
    Case::sends(
        "6.8",
        "GOAWAY of a stream",
        || vec![Frame { stream: 1, ..goaway(code::NO_ERROR) }],
        Connection(PROTOCOL),
    ),
    Case::talks("6.8", "what was asked before a GOAWAY is answered", |peer| {
        peer.send(&[post(1), goaway(code::NO_ERROR), last(1, "body")])?;
        peer.succeeds(1)
    }),
    Case::talks("7", "GOAWAY with an unknown code", |peer| {
        peer.send(&[goaway(0xff)])?;
        // Closing is an answer, and so is going on.
        peer.until_pong().map(drop)
    }),
    // What the server says of itself.
    Case::connects("6.5.2", "the server's own settings are in their bounds", |addr| {
        let mut peer = Peer::connect(addr)?;
        peer.write(PREFACE)?;
        peer.send(&[settings(&[])])?;
        let first = peer.next()?.ok_or("it hung up")?;
        // Section 3.4: the first frame is SETTINGS.
        if first.kind != kind::SETTINGS || first.has(flag::ACK) || first.payload.len() % 6 != 0 {
            return Err(format!("its first frame is {first:?}").into());
        }
        Ok(())
    }),
];

fn unknown(stream: u32) -> Frame {
    Frame::new(kind::UNKNOWN, flag::NONE, stream, [0; 8])
}

fn reserved_bit() -> Vec<Frame> {
    vec![Frame { stream: 1 | 1 << 31, ..get(1) }]
}

fn big_settings() -> Vec<Frame> {
    vec![Frame::new(kind::SETTINGS, flag::NONE, 0, vec![0; FRAME_SIZE + 2])]
}

fn ack_with_payload() -> Vec<Frame> {
    vec![Frame { flags: flag::ACK, ..settings(&[(setting::UNKNOWN, 0)]) }]
}

fn goaway(code: u32) -> Frame {
    Frame::new(kind::GOAWAY, flag::NONE, 0, [&[0; 4][..], &code.to_be_bytes()].concat())
}

/// A field block of stream 1 with something in its middle.
fn within(frame: Frame) -> Vec<Frame> {
    let [first, rest @ ..] = GET;
    vec![
        headers(1, flag::END_STREAM, block(&[first])),
        frame,
        continuation(1, flag::END_HEADERS, block(&rest)),
    ]
}
