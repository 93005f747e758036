//! A client of HTTP/2 that sends what it is told and knows what it got. Kind: driver.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::frame::{FRAME_SIZE, Frame, PREFACE, block, data, flag, headers, kind, ping, setting, settings};
use super::verdict::{Verdict, Wrong};

/// For what must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(8);

/// Before anybody said anything (section 6.9.2).
const FIRST_WINDOW: usize = 65_535;

/// An open connection.
pub(super) struct Peer {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// Over: nothing will come.
    ended: bool,
    /// Settings of ours that were acknowledged.
    acknowledged: usize,
    /// The code of the GOAWAY that it said.
    last: Option<u32>,
    pings: u64,
    /// What we may send: on the connection, and on each stream beside what is its own.
    window: usize,
    initial_window: usize,
    stream_windows: BTreeMap<u32, usize>,
}

/// What became of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    Taken,
    /// The connection is over.
    Over,
    /// Nobody reads it.
    Blocked,
}

impl Peer {
    /// A connection of which nothing was said yet.
    pub(super) fn connect(addr: SocketAddr) -> Result<Self, Wrong> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).map_err(|e| format!("connecting: {e}"))?;
        let timeouts = [stream.set_read_timeout(Some(PATIENCE)), stream.set_write_timeout(Some(PATIENCE))];
        timeouts.into_iter().collect::<io::Result<()>>().map_err(|e| Wrong::from(e.to_string()))?;
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            bytes: Vec::new(),
            ended: false,
            acknowledged: 0,
            last: None,
            pings: 0,
            window: FIRST_WINDOW,
            initial_window: FIRST_WINDOW,
            stream_windows: BTreeMap::new(),
        })
    }

    /// One on which both sides have told their settings.
    pub(super) fn open(addr: SocketAddr) -> Result<Self, Wrong> {
        Self::open_with(addr, &[])
    }

    /// The same with more settings of ours. Whoever answers keeps no table of fields, so that we need none.
    pub(super) fn open_with(addr: SocketAddr, more: &[(u16, u32)]) -> Result<Self, Wrong> {
        let mut peer = Self::connect(addr)?;
        peer.write(PREFACE)?;
        let all = [&[(setting::HEADER_TABLE_SIZE, 0), (setting::ENABLE_PUSH, 0)], more].concat();
        peer.send(&[settings(&all)])?;
        while peer.acknowledged == 0 {
            peer.next()?.ok_or("it hung up on the preface")?;
        }
        Ok(peer)
    }

    /// In one write. What a peer that has had enough does not take is no news.
    pub(super) fn send(&mut self, frames: &[Frame]) -> Verdict {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.put(&mut bytes));
        self.write(&bytes)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Verdict {
        match self.stream.write_all(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err("it takes nothing".into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sends what the other side may not want, without waiting for any of it to be answered.
    pub(super) fn flood(&mut self, frames: &[Frame]) -> Flood {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.put(&mut bytes));
        self.drain();
        match self.stream.write_all(&bytes) {
            Ok(()) if !self.ended => Flood::Taken,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Flood::Blocked,
            Ok(()) | Err(_) => Flood::Over,
        }
    }

    /// Reads what is there, and keeps the last 64 KiB of it at most: a flood's answers are no news.
    fn drain(&mut self) {
        let _ = self.stream.set_nonblocking(true);
        while !self.ended && self.read().is_ok() {}
        let _ = self.stream.set_nonblocking(false);
        while let Some((frame, used)) = Frame::read(&self.bytes) {
            if frame.kind == kind::GOAWAY {
                self.last = Some(frame.error_code());
            }
            self.bytes.drain(..used);
        }
    }

    /// The code of its GOAWAY, if it said one before a PING of ours was answered or the connection was over.
    pub(super) fn last_word(&mut self) -> Option<u32> {
        self.drain();
        if let Ok(Some(frames)) = self.until_pong() {
            let goaway = frames.iter().find(|frame| frame.kind == kind::GOAWAY);
            return self.last.or(goaway.map(Frame::error_code));
        }
        self.drain();
        self.ended = true;
        self.last
    }

    /// Nothing will come of this connection.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// The next frame; none: the connection is over. Settings are acknowledged here.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Wrong> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((frame, used)) = Frame::read(&self.bytes) {
                self.bytes.drain(..used);
                self.heed(&frame)?;
                return Ok(Some(frame));
            }
            if self.ended {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err("it says nothing".into());
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Verdict {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err("it says nothing".into()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.ended = true,
        }
        Ok(())
    }

    fn heed(&mut self, frame: &Frame) -> Verdict {
        match frame.kind {
            kind::GOAWAY => self.last = Some(frame.error_code()),
            kind::SETTINGS if frame.has(flag::ACK) => self.acknowledged += 1,
            kind::WINDOW_UPDATE => self.widen(frame),
            kind::SETTINGS => {
                let window =
                    frame.setting(setting::INITIAL_WINDOW_SIZE).and_then(|size| size.try_into().ok());
                self.initial_window = window.unwrap_or(self.initial_window);
                return self.send(&[Frame::new(kind::SETTINGS, flag::ACK, 0, [])]);
            }
            _ => {}
        }
        Ok(())
    }

    fn widen(&mut self, frame: &Frame) {
        let by = frame.error_code() as usize;
        match frame.stream {
            0 => self.window += by,
            stream => *self.stream_windows.entry(stream).or_default() += by,
        }
    }

    /// Sends a body as fast as the windows let us.
    pub(super) fn upload(&mut self, stream: u32, bytes: usize) -> Verdict {
        let mut sent = 0;
        while sent < bytes {
            let size = (bytes - sent).min(FRAME_SIZE);
            while self.window < size || self.room(stream) < sent + size {
                let frame = self.next()?.ok_or("it closed the connection")?;
                if matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY) {
                    return Err(format!("code {}", frame.error_code()).into());
                }
            }
            (sent, self.window) = (sent + size, self.window - size);
            let flags = if sent == bytes { flag::END_STREAM } else { flag::NONE };
            self.send(&[data(stream, flags, vec![b'x'; size])])?;
        }
        Ok(())
    }

    /// All that a stream may ever send, as far as was said.
    fn room(&self, stream: u32) -> usize {
        self.initial_window + self.stream_windows.get(&stream).copied().unwrap_or_default()
    }

    /// How many of our settings were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Everything behind which nothing comes: each frame until a PING of ours is answered; none: the connection ended.
    pub(super) fn until_pong(&mut self) -> Result<Option<Vec<Frame>>, Wrong> {
        let payload = self.ping()?;
        let mut before = Vec::new();
        while let Some(frame) = self.next()? {
            if frame.kind == kind::PING && frame.has(flag::ACK) && frame.payload == payload {
                return Ok(Some(before));
            }
            before.push(frame);
        }
        Ok(None)
    }

    /// Sends a PING that no other is like; gives what its answer holds.
    pub(super) fn ping(&mut self) -> Result<[u8; 8], Wrong> {
        self.pings += 1;
        let payload = self.pings.to_be_bytes();
        self.send(&[ping(flag::NONE, &payload)])?;
        Ok(payload)
    }
}

/// The fields that each request has.
pub(super) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")];
pub(super) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")];

/// A GET of a small page.
pub(super) fn get(stream: u32) -> Frame {
    headers(stream, flag::WHOLE, block(&GET))
}

/// A GET of this path.
pub(super) fn get_of(stream: u32, path: &str) -> Frame {
    let [method, scheme, _, authority] = GET;
    headers(stream, flag::WHOLE, block(&[method, scheme, (":path", path), authority]))
}

/// The head of a POST, whose body follows.
pub(super) fn post(stream: u32) -> Frame {
    headers(stream, flag::END_HEADERS, block(&POST))
}

/// The last piece of a body.
pub(super) fn last(stream: u32, body: &str) -> Frame {
    data(stream, flag::END_STREAM, body)
}

/// As much as fits into a frame.
pub(super) fn filler() -> String {
    "x".repeat(FRAME_SIZE)
}
