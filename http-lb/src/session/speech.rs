//! What is said to a replica: a head, and a body that is here, or that its client is asked for. Kind: driver.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::retry::Failure;
use crate::body::Spool;
use crate::server::Talk;
use crate::wire::Method;
use crate::wire::chunked::{LAST_CHUNK, put_chunk};

/// Bytes of a long body that are read from where it is kept in one go.
const PIECE: usize = 64 * 1024;

/// A request as it is sent to a replica, however often.
pub(super) struct Request<'a> {
    /// Its head.
    pub(super) head: &'a [u8],
    /// Its body.
    pub(super) payload: Payload<'a>,
    /// Its method, which says whether the answer has a body.
    pub(super) method: Method,
}

/// A request's body.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// There is none.
    None,
    /// Here, all of it.
    Whole(&'a Spool),
    /// With the client, who is asked for it on the way: once.
    Streamed {
        /// Its length, if that is known; chunks otherwise.
        length: Option<u64>,
        /// The longest that it may be.
        most: u64,
    },
}

impl Payload<'_> {
    pub(super) fn is_streamed(&self) -> bool {
        matches!(self, Self::Streamed { .. })
    }
}

/// What is said to a replica, and how far we are. It goes on while we listen, as a replica may answer before it has heard
/// all.
pub(super) struct Speech<'a> {
    request: &'a Request<'a>,
    /// Bytes that were said.
    at: u64,
    /// Bytes that there are to say, as far as that is known.
    total: u64,
    /// A piece of a body that does not lie in one place, and where it begins.
    piece: Vec<u8>,
    piece_at: u64,
    /// Bytes of a streamed body.
    streamed: u64,
    course: Course,
}

/// ```text
///   Whole ───────────────────all said──────────────────▶ Done
///   Open ──client's last piece──▶ Closing ──all said──────▲
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// All is here.
    Whole,
    /// The client has more.
    Open,
    /// It has no more.
    Closing,
    /// All is said.
    Done,
}

/// News of a speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The client's next piece is wanted.
    NeedsMore,
    /// All is said, or the replica takes no more: what it has to say about that is then to be heard.
    Done,
}

impl<'a> Speech<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let (body, course) = match request.payload {
            Payload::None => (0, Course::Whole),
            Payload::Whole(spool) => (spool.len(), Course::Whole),
            Payload::Streamed { .. } => (0, Course::Open),
        };
        let total = request.head.len() as u64 + body;
        Self { request, at: 0, total, piece: Vec::new(), piece_at: 0, streamed: 0, course }
    }

    /// So many bytes of the [parts](Self::parts) were said.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.at += bytes as u64;
    }

    /// Bytes that were said.
    pub(super) fn said(&self) -> u64 {
        self.at
    }

    /// Whether the request was said to its last byte. An answer may come before that, and then what is missing would be
    /// looked for in whatever is said next on the connection (RFC 9112 section 9.3).
    pub(super) fn is_said(&self) -> bool {
        self.course != Course::Open && self.at == self.total
    }

    /// The next bytes: the head, and the body if it lies in one place.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        let head = self.request.head;
        let body = match self.request.payload {
            Payload::Whole(spool) => spool.whole().unwrap_or_default(),
            Payload::None | Payload::Streamed { .. } => &[],
        };
        match usize::try_from(self.at) {
            Ok(at) if at < head.len() => [&head[at..], body],
            Ok(at) if at - head.len() < body.len() => [&body[at - head.len()..], &[]],
            _ => [&[], &[]],
        }
    }

    /// Says what the kernel takes. The news, once for each.
    pub(super) fn poll(&mut self, talk: &mut Talk, cx: &mut Context<'_>) -> Option<Word> {
        if self.course == Course::Done {
            return None;
        }
        while self.at < self.total {
            if self.parts().iter().all(|part| part.is_empty()) && self.load().is_err() {
                return self.end();
            }
            let sent = match self.parts() {
                [[], []] => talk.poll_send(cx, [self.loaded(), &[]]),
                parts => talk.poll_send(cx, parts),
            };
            match sent {
                Poll::Pending => return None,
                Poll::Ready(Err(_)) => return self.end(),
                Poll::Ready(Ok(sent)) => self.sent(sent),
            }
            if self.at < self.total || self.course == Course::Open {
                talk.send_at_once();
            }
        }
        match talk.poll_flush(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) if self.course == Course::Open => Some(Word::NeedsMore),
            Poll::Ready(_) => self.end(),
        }
    }

    fn end(&mut self) -> Option<Word> {
        self.course = Course::Done;
        Some(Word::Done)
    }

    /// The client's next piece; `None`: that was the last.
    pub(super) fn add(&mut self, piece: Option<Bytes>) -> Result<(), Failure> {
        let Payload::Streamed { length, most } = self.request.payload else { return Ok(()) };
        self.piece.clear();
        match piece {
            Some(piece) => {
                self.streamed += piece.len() as u64;
                if self.streamed > most {
                    return Err(Failure::TooLarge);
                }
                match length {
                    Some(_) => self.piece.extend_from_slice(&piece),
                    None => put_chunk(&mut self.piece, &piece),
                }
            }
            None => {
                if length.is_none() {
                    self.piece.extend_from_slice(LAST_CHUNK);
                }
                self.course = Course::Closing;
            }
        }
        (self.piece_at, self.total) = (self.total, self.total + self.piece.len() as u64);
        Ok(())
    }

    /// What is to be said of the piece.
    fn loaded(&self) -> &[u8] {
        let from = usize::try_from(self.at - self.piece_at).unwrap_or(usize::MAX);
        self.piece.get(from..).unwrap_or_default()
    }

    /// Brings the piece of the body that is next.
    fn load(&mut self) -> io::Result<()> {
        if self.at >= self.piece_at && !self.loaded().is_empty() {
            return Ok(());
        }
        let Payload::Whole(body) = self.request.payload else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        self.piece.resize(PIECE, 0);
        let read = Spool::read_at(body, self.at - self.request.head.len() as u64, &mut self.piece)?;
        self.piece.truncate(read);
        self.piece_at = self.at;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
