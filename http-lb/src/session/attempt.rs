//! One attempt at one replica: a connection, the request on it, and the head of the answer. Kind: driver.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use proxy_core::upstream::Endpoint;
use tokio::time::Instant;

use super::client::Client;
use super::desk::Desk;
use super::retry::Failure;
use super::watchdog::Watchdog;
use crate::body::Spool;
use crate::server::{Dialled, Lost, Talk, dial};
use crate::wire::{HeadLimits, Method, ResponseHead};

/// Bytes of a long body that are read from where it is kept in one go.
const PIECE: usize = 64 * 1024;

/// A request as it is sent to a replica, however often.
pub(super) struct Request<'a> {
    /// Its head.
    pub(super) head: &'a [u8],
    /// Its body, whole.
    pub(super) body: Option<&'a Spool>,
    /// Its method, which says whether the answer has a body.
    pub(super) method: Method,
}

/// How long an attempt may take, and what the answer's head may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Until the connection stands.
    pub(super) connect: Duration,
    /// From the end of the request to the answer's head.
    pub(super) response: Duration,
    /// What the head may be.
    pub(super) head: HeadLimits,
}

/// A replica answers: the head is there, and the place in the scratch of what came of the body.
pub(super) struct Answered {
    pub(super) talk: Talk,
    pub(super) data: Range<usize>,
}

/// Asks `endpoint`, on a kept connection unless `afresh`. Interim answers go to the client at once. What came of the body
/// lies in the scratch until the next await.
pub(super) async fn ask<C: Client>(
    client: &mut C,
    request: &Request<'_>,
    endpoint: &Arc<Endpoint>,
    afresh: bool,
    answer: &mut ResponseHead,
    bounds: &Bounds,
    (desk, timer): (&Desk, &mut Watchdog),
) -> Result<Answered, Failure> {
    let mut begun = Instant::now();
    let mut speech = Speech::new(request);
    let kept =
        if afresh { None } else { desk.shelves.take(endpoint, begun, &mut desk.floor.scratch.borrow()) };
    let stale = kept.is_some();
    let mut talk = match kept {
        Some(link) => Talk::new(link),
        None => {
            let opening = dial(endpoint.addr(), speech.parts());
            let opened = timer.guard(begun + bounds.connect, opening).await;
            let Some(Ok(Dialled { link, sent })) = opened else { return Err(Failure::Unreachable) };
            speech.sent(sent);
            Talk::new(link)
        }
    };
    let mut spoken = false;
    loop {
        answer.clear();
        let heard = poll_fn(|cx| {
            if !spoken && speech.poll(&mut talk, cx).is_ready() {
                (spoken, begun) = (true, Instant::now());
            }
            let mut scratch = desk.floor.scratch.borrow();
            match talk.poll_head(cx, &mut scratch, answer, &bounds.head, request.method) {
                Poll::Ready(heard) => Poll::Ready(Some(heard)),
                Poll::Pending => timer.poll_late(cx, begun + bounds.response).map(|()| None),
            }
        });
        match heard.await {
            Some(Ok(data)) if answer.status() >= 200 || answer.status() == 101 => {
                return Ok(Answered { talk, data });
            }
            Some(Ok(_)) => inform(client, answer),
            Some(Err(lost)) => return Err(failure(&lost, stale, answer, &speech)),
            None => return Err(Failure::Late),
        }
    }
}

/// How far we came when the answer was lost.
fn failure(lost: &Lost, stale: bool, answer: &ResponseHead, speech: &Speech<'_>) -> Failure {
    match lost {
        Lost::Malformed(_) => Failure::Broken,
        _ if stale && speech.at == 0 => Failure::Unsent,
        _ if stale && answer.is_idle() => Failure::Stale,
        _ => Failure::Broken,
    }
}

/// An interim answer goes to the client; "100 Continue" is ours to say, and was said where it was due.
fn inform<C: Client>(client: &mut C, answer: &ResponseHead) {
    if answer.status() != 100 {
        let mut fields = Vec::new();
        answer.entries().for_each(|field| fields.extend_from_slice(field.line));
        let _ = client.inform(answer.status(), &fields); // one who has left is found out with the answer
    }
}

/// What is to be said to the replica, and how much of it was. It goes on while we listen, as a replica may answer before
/// it has heard all.
struct Speech<'a> {
    request: &'a Request<'a>,
    at: u64,
    total: u64,
    /// A piece of a body that does not lie in one place, and where it begins.
    piece: Vec<u8>,
    piece_at: u64,
}

impl<'a> Speech<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let total = request.head.len() as u64 + request.body.map_or(0, Spool::len);
        Self { request, at: 0, total, piece: Vec::new(), piece_at: 0 }
    }

    fn sent(&mut self, bytes: usize) {
        self.at += bytes as u64;
    }

    /// The next bytes: the head, and the body if it lies in one place.
    fn parts(&self) -> [&[u8]; 2] {
        let head = self.request.head;
        let body = self.request.body.and_then(Spool::whole).unwrap_or_default();
        match usize::try_from(self.at) {
            Ok(at) if at < head.len() => [&head[at..], body],
            Ok(at) if at - head.len() < body.len() => [&body[at - head.len()..], &[]],
            _ => [&[], &[]],
        }
    }

    /// Sends what the kernel takes. Ready when all is sent, or when the replica takes no more: what it has to say about
    /// that is then to be read.
    fn poll(&mut self, talk: &mut Talk, cx: &mut Context<'_>) -> Poll<()> {
        while self.at < self.total {
            let sent = match self.parts() {
                [[], []] => {
                    if self.load().is_err() {
                        return Poll::Ready(());
                    }
                    let from = (self.at - self.piece_at) as usize; // within the piece
                    ready!(talk.poll_send(cx, [&self.piece[from..], &[]]))
                }
                parts => ready!(talk.poll_send(cx, parts)),
            };
            match sent {
                Ok(sent) => self.sent(sent),
                Err(_) => return Poll::Ready(()),
            }
            if self.at < self.total {
                talk.send_at_once();
            }
        }
        talk.poll_flush(cx).map(drop)
    }

    /// Brings the piece of the body that is next.
    fn load(&mut self) -> io::Result<()> {
        if self.at < self.piece_at + self.piece.len() as u64 {
            return Ok(());
        }
        let Some(body) = self.request.body else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        self.piece.resize(PIECE, 0);
        let read = body.read_at(self.at - self.request.head.len() as u64, &mut self.piece)?;
        self.piece.truncate(read);
        self.piece_at = self.at;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
