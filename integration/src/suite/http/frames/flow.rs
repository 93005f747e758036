//! Flow control: who may send how much, and what becomes of windows that can't be. Kind: driver.

use super::case::{Case, Expect::*, tell};
use super::frame::{Frame, MAX_WINDOW, code, data, flag, kind, setting, window_update};
use super::peer::{Peer, filler, get_of, last, post};
use super::verdict::Verdict;

const PROTOCOL: &[u32] = &[code::PROTOCOL];
const FLOW: &[u32] = &[code::FLOW_CONTROL];
const WINDOW: u16 = setting::INITIAL_WINDOW_SIZE;
/// An answer that is longer than any window here.
const LONG: &str = "/bytes/200000";

pub(super) const CASES: &[Case] = &[
    Case::sends(
        "6.9",
        "WINDOW_UPDATE by 0 of the connection",
        || vec![window_update(0, 0)],
        Connection(PROTOCOL),
    ),
    Case::sends(
        "6.9",
        "WINDOW_UPDATE by 0 of a stream",
        || vec![post(1), window_update(1, 0)],
        Stream(1, PROTOCOL),
    ),
    Case::sends(
        "6.9",
        "WINDOW_UPDATE of three bytes",
        || vec![Frame::new(kind::WINDOW_UPDATE, 0, 0, [0; 3])],
        Connection(&[code::FRAME_SIZE]),
    ),
    Case::sends(
        "6.9.1",
        "a window above 2^31-1 of the connection",
        || vec![window_update(0, MAX_WINDOW), window_update(0, MAX_WINDOW)],
        Connection(FLOW),
    ),
    Case::sends(
        "6.9.1",
        "a window above 2^31-1 of a stream",
        || vec![post(1), window_update(1, MAX_WINDOW), window_update(1, MAX_WINDOW)],
        Stream(1, FLOW),
    ),
    Case::with("6.9.1", "a window of one byte", &[(WINDOW, 1)], |peer| {
        peer.send(&[get_of(1, LONG)])?;
        sends_exactly(peer, 1)?;
        peer.send(&[window_update(1, 1)])?;
        sends_exactly(peer, 1)
    }),
    Case::talks("6.9.1", "the connection's window holds for all streams", |peer| {
        peer.send(&[window_update(1, 1)].map(|frame| Frame { stream: 0, ..frame }))?;
        peer.send(&[get_of(1, LONG), get_of(3, LONG)])?;
        sends_exactly(peer, 65_535 + 1)
    }),
    Case::with("6.9.2", "a larger initial window, told later", &[(WINDOW, 0)], |peer| {
        peer.send(&[get_of(1, LONG)])?;
        sends_exactly(peer, 0)?;
        tell(peer, &[(WINDOW, 1)])?;
        sends_exactly(peer, 1)
    }),
    Case::with("6.9.2", "a window that becomes negative", &[(WINDOW, 3)], |peer| {
        peer.send(&[get_of(1, LONG)])?;
        sends_exactly(peer, 3)?;
        tell(peer, &[(WINDOW, 2)])?;
        peer.send(&[window_update(1, 1)])?;
        sends_exactly(peer, 0)?;
        peer.send(&[window_update(1, 1)])?;
        sends_exactly(peer, 1)
    }),
    Case::talks("6.9.2", "an initial window that takes an open stream above 2^31-1", |peer| {
        peer.send(&[post(1), window_update(1, MAX_WINDOW - 65_535)])?;
        tell(peer, &[(WINDOW, MAX_WINDOW)])?;
        peer.connection_error(FLOW)
    }),
    Case::with("6.9.2", "several values in one SETTINGS: the last one holds", &[(WINDOW, 0)], |peer| {
        tell(peer, &[(WINDOW, 100), (WINDOW, 1)])?;
        peer.send(&[get_of(1, LONG)])?;
        sends_exactly(peer, 1)
    }),
    Case::talks("6.9.1", "more than the server's window", |peer| {
        // Nobody's window is 4 MiB, and no WINDOW_UPDATE is heeded in between.
        peer.send(&[post(1)])?;
        let frame = data(1, flag::NONE, filler());
        for _ in 0..256 {
            peer.send(std::slice::from_ref(&frame))?;
        }
        peer.stream_error(1, FLOW)
    }),
    Case::talks("6.9", "a body as long as the windows that are given for it", |peer| {
        peer.send(&[post(1)])?;
        peer.upload(1, 300_000)?;
        peer.succeeds(1)
    }),
    Case::talks("6.9", "empty DATA needs no window", |peer| {
        peer.send(&[post(1), data(1, flag::NONE, []), last(1, "x")])?;
        peer.succeeds(1)
    }),
];

/// Waits for an answer's DATA of so many bytes, and then for the proof that no more of it comes.
fn sends_exactly(peer: &mut Peer, bytes: usize) -> Verdict {
    let mut got = 0;
    while got < bytes {
        let frame = peer.next()?.ok_or("it closed the connection")?;
        if frame.kind == kind::DATA {
            got += frame.payload.len();
        }
    }
    let frames = peer.until_pong()?.ok_or("it closed the connection")?;
    got += frames
        .iter()
        .filter(|frame| frame.kind == kind::DATA)
        .map(|frame| frame.payload.len())
        .sum::<usize>();
    if got == bytes { Ok(()) } else { Err(format!("{got} bytes came, where the window was {bytes}").into()) }
}
