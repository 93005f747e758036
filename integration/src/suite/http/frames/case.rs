//! One rule of HTTP/2 and how it is put to the test. Kind: driver.

use std::net::SocketAddr;

use super::frame::{Frame, settings};
use super::peer::Peer;
use super::verdict::Verdict;

/// See the module.
pub(super) struct Case {
    /// The clause of RFC 9113, or of RFC 7541 if it begins with `7541`.
    pub(super) clause: &'static str,
    /// What the client does.
    pub(super) what: &'static str,
    script: Script,
}

enum Script {
    /// On an open connection these frames are sent, and this is to come of it.
    Sends(fn() -> Vec<Frame>, Expect),
    /// A conversation on an open connection.
    Talks(fn(&mut Peer) -> Verdict),
    /// The same with settings of the client's.
    With(&'static [(u16, u32)], fn(&mut Peer) -> Verdict),
    /// From the first byte on.
    Connects(fn(SocketAddr) -> Verdict),
}

/// What is to come of frames.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expect {
    /// A connection error with one of these codes.
    Connection(&'static [u32]),
    /// A stream error with one of these codes, or the same of the connection.
    Stream(u32, &'static [u32]),
    /// The request on this stream is refused as malformed.
    Malformed(u32),
    /// The request on this stream is answered well.
    Success(u32),
    /// Nothing.
    Nothing,
}

impl Case {
    pub(super) const fn sends(
        clause: &'static str,
        what: &'static str,
        frames: fn() -> Vec<Frame>,
        expect: Expect,
    ) -> Self {
        Self { clause, what, script: Script::Sends(frames, expect) }
    }

    pub(super) const fn talks(
        clause: &'static str,
        what: &'static str,
        script: fn(&mut Peer) -> Verdict,
    ) -> Self {
        Self { clause, what, script: Script::Talks(script) }
    }

    pub(super) const fn with(
        clause: &'static str,
        what: &'static str,
        settings: &'static [(u16, u32)],
        script: fn(&mut Peer) -> Verdict,
    ) -> Self {
        Self { clause, what, script: Script::With(settings, script) }
    }

    pub(super) const fn connects(
        clause: &'static str,
        what: &'static str,
        script: fn(SocketAddr) -> Verdict,
    ) -> Self {
        Self { clause, what, script: Script::Connects(script) }
    }

    /// Plays it on a connection of its own.
    pub(super) fn play(&self, addr: SocketAddr) -> Verdict {
        match &self.script {
            Script::Sends(frames, expect) => {
                let mut peer = Peer::open(addr)?;
                peer.send(&frames())?;
                expect.of(&mut peer)
            }
            Script::Talks(script) => script(&mut Peer::open(addr)?),
            Script::With(settings, script) => script(&mut Peer::open_with(addr, settings)?),
            Script::Connects(script) => script(addr),
        }
    }
}

impl Expect {
    fn of(self, peer: &mut Peer) -> Verdict {
        match self {
            Self::Connection(codes) => peer.connection_error(codes),
            Self::Stream(stream, codes) => peer.stream_error(stream, codes),
            Self::Malformed(stream) => peer.malformed(stream),
            Self::Success(stream) => peer.succeeds(stream),
            Self::Nothing => peer.is_alive(),
        }
    }
}

/// Settings, told on an open connection.
pub(super) fn tell(peer: &mut Peer, pairs: &[(u16, u32)]) -> Verdict {
    peer.send(&[settings(pairs)])
}
