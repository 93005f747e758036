//! Requests in HTTP/1.1 on one side, streams of HTTP/2 on the other, one after the other. Kind: driver.

use std::io::{Error, ErrorKind};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::protocols::http::v2::client::Http2Session;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::other;
use super::translate::{self, Body};
use crate::wire::chunked::put_chunk;
use crate::wire::{ChunkedDecoder, Framing, HeadLimits, RequestHead};

/// Our own heads come here, which the limits of clients have bounded before fields of ours were added.
const LIMITS: HeadLimits = HeadLimits { line: 60_000, total: 65_535, fields: 1000 };

/// Bytes that are read at once.
const PIECE: usize = 16 * 1024;

/// The engine's end of the conversation.
struct Near {
    stream: UnixStream,
    unread: BytesMut,
}

/// Carries requests until the engine has enough: the first on `session`, the others on what `next` gives.
pub(super) async fn carry(
    stream: UnixStream,
    session: Http2Session,
    encrypted: bool,
    next: impl AsyncFn() -> Result<Http2Session, Error>,
) -> Result<(), Error> {
    let mut near = Near { stream, unread: BytesMut::new() };
    let (mut head, mut session) = (RequestHead::new(), Some(session));
    while near.read_head(&mut head).await? {
        let session = match session.take() {
            Some(session) => session,
            None => next().await?,
        };
        if !exchange(&mut near, &head, session, encrypted).await? {
            break;
        }
    }
    near.stream.shutdown().await
}

/// One request and its answer. False if the engine's end is in the middle of something.
async fn exchange(
    near: &mut Near,
    head: &RequestHead,
    mut session: Http2Session,
    encrypted: bool,
) -> Result<bool, Error> {
    let header = translate::request(head, encrypted).map_err(other)?;
    let has_body = translate::has_body(head);
    session.write_request_header(header, !has_body).map_err(other)?;
    // A replica may answer before it has read all, and then read no more: what it says counts.
    let whole = !has_body || near.pass_body(head, &mut session).await?;
    tokio::select! {
        biased;
        head = session.read_response_header() => head.map_err(other)?,
        () = near.left() => return Err(ErrorKind::BrokenPipe.into()),
    }
    near.pass_answer(head, session).await?;
    Ok(whole)
}

impl Near {
    /// Reads the next head; false if none comes any more.
    async fn read_head(&mut self, head: &mut RequestHead) -> Result<bool, Error> {
        head.clear();
        loop {
            let mut piece = self.unread.split();
            // What is left of the request before is the beginning of this one.
            let used = head.feed(&piece, &LIMITS).map_err(other)?;
            if let Some(used) = used {
                self.unread = piece.split_off(used);
                return Ok(true);
            }
            if !self.fill().await? {
                return Ok(false);
            }
        }
    }

    /// Reads once; false at the end. Holds no buffer while it waits.
    async fn fill(&mut self) -> Result<bool, Error> {
        loop {
            self.stream.readable().await?;
            self.unread.reserve(PIECE);
            match self.stream.try_read_buf(&mut self.unread) {
                Ok(read) => return Ok(read > 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes the request's body on. False if the replica did not want all of it.
    async fn pass_body(&mut self, head: &RequestHead, session: &mut Http2Session) -> Result<bool, Error> {
        let mut left = if let Framing::Length(length) = head.framing() { Some(length) } else { None };
        let mut chunks = ChunkedDecoder::new();
        loop {
            if self.unread.is_empty() && !self.fill().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let (piece, end) = match &mut left {
                Some(left) => take(&mut self.unread, left),
                None => unchunk(&mut self.unread, &mut chunks)?,
            };
            if (!piece.is_empty() || end) && session.write_request_body(piece, end).await.is_err() {
                return Ok(false);
            }
            if end {
                return Ok(true);
            }
        }
    }

    /// Passes the answer on, at the pace of who reads it.
    async fn pass_answer(&mut self, head: &RequestHead, mut session: Http2Session) -> Result<(), Error> {
        let ended = session.response_finished();
        let answer = session.response_header().ok_or(ErrorKind::InvalidData)?;
        let status = StatusCode::from_u16(answer.status.as_u16()).map_err(other)?;
        let mut out = Vec::new();
        let body = translate::answer(&mut out, head, status, &answer.headers, ended);
        if body == Body::None {
            return self.stream.write_all(&out).await;
        }
        while let Some(piece) = self.next_piece(&mut session).await? {
            match body {
                Body::Chunked => put_chunk(&mut out, &piece),
                Body::Length | Body::None => out.extend_from_slice(&piece),
            }
            self.stream.write_all(&out).await?;
            out.clear();
        }
        if body == Body::Chunked {
            let trailers = session.read_trailers().await.map_err(other)?;
            translate::last_chunk(&mut out, trailers.as_ref());
        }
        self.stream.write_all(&out).await
    }

    async fn next_piece(&mut self, session: &mut Http2Session) -> Result<Option<Bytes>, Error> {
        tokio::select! {
            biased;
            piece = session.read_response_body() => piece.map_err(other),
            () = self.left() => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ready when the engine has closed its end. It says nothing before it has its answer.
    async fn left(&self) {
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                _ => return,
            }
        }
    }
}

fn take(unread: &mut BytesMut, left: &mut u64) -> (Bytes, bool) {
    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
    *left -= wanted as u64;
    (unread.split_to(wanted).freeze(), *left == 0)
}

fn unchunk(unread: &mut BytesMut, chunks: &mut ChunkedDecoder) -> Result<(Bytes, bool), Error> {
    let decoded = chunks.advance(unread).map_err(other)?;
    let used = unread.split_to(decoded.used).freeze();
    Ok((used.slice(decoded.data), decoded.end))
}
