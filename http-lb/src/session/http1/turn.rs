//! One request of a connection as the engine sees it: its body, and how to answer. Kind: driver.

mod sendfile;

use std::fs::File;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use proxy_core::worker::Seat;
use tokio::time::Instant;

use super::say::{self, Framing, Manner};
use super::{AHEAD, Line};
use crate::body::Measure;
use crate::session::client::{AnswerHead, BodyFault, Client, Gone};
use crate::session::desk::Present;
use crate::session::pace::Pace;
use crate::wire::chunked::{ChunkHead, put_chunk};
use crate::wire::{Method, RequestHead, Version};

/// Bytes of a body that are copied behind their head: that costs less than a writev of two pieces.
const COPIED: usize = 8 * 1024;

/// One request, and the connection that it came on.
pub(super) struct Turn<'a> {
    line: &'a mut Line,
    seat: &'a Seat,
    house: Rc<Present>,
    /// What is to come of the request's body.
    rest: Measure,
    /// The client waits for "100 Continue" before it sends that.
    hesitates: bool,
    /// It speaks HTTP/1.0.
    old: bool,
    /// It asked for the head alone.
    head_only: bool,
    /// The connection may carry another request.
    goes_on: bool,
    stage: Stage,
    /// Bytes of the answer's body that were said.
    sent: u64,
    /// How the client sends.
    sending: Waiting,
    /// How it listens.
    listening: Waiting,
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its head was not said.
    Silent,
    /// Its body is said.
    Body(Framing),
    /// All is said.
    Said,
}

/// How long the client has kept us waiting, and until when it may.
#[derive(Default)]
struct Waiting {
    pace: Pace,
    due: Option<Instant>,
}

/// What became of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// It may carry another request.
    pub(super) goes_on: bool,
    /// Some of the request's body was not read.
    pub(super) unread: bool,
}

impl<'a> Turn<'a> {
    /// The request whose head this is.
    pub(super) fn new(line: &'a mut Line, seat: &'a Seat, head: &RequestHead, house: Rc<Present>) -> Self {
        let goes_on = head.keep_alive() && line.requests < house.config.limits.requests_per_connection;
        Self {
            rest: head.framing().into(),
            hesitates: head.expects_continue(),
            old: head.version() == Version::Http10,
            head_only: head.method() == Method::Head,
            goes_on,
            ..Self::refusing(line, seat, house)
        }
    }

    /// A request that can't be read.
    pub(super) fn refusing(line: &'a mut Line, seat: &'a Seat, house: Rc<Present>) -> Self {
        Self {
            line,
            seat,
            house,
            rest: Measure::Done,
            hesitates: false,
            old: false,
            head_only: false,
            goes_on: false,
            stage: Stage::Silent,
            sent: 0,
            sending: Waiting::default(),
            listening: Waiting::default(),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let unread = !self.rest.is_done();
        Outcome { goes_on: self.goes_on && self.stage == Stage::Said && !unread, unread }
    }

    /// The next piece of the body, from what was sent ahead or from the socket.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let scratch = self.line.visit.desk.floor.scratch.clone();
        loop {
            let piece = if self.line.link.inbox.is_empty() {
                let mut scratch = scratch.borrow();
                let read = match ready!(self.line.link.poll_fill(cx, &mut scratch)) {
                    Ok(read) if read > 0 => read,
                    _ => return Poll::Ready(Err(BodyFault::Gone)),
                };
                let (used, piece) = portion(&mut self.rest, &scratch[..read])?;
                self.line.link.inbox.keep(&scratch[used..read]);
                piece
            } else {
                let (used, piece) = portion(&mut self.rest, self.line.link.inbox.rest())?;
                self.line.link.inbox.consume(used);
                piece
            };
            if !piece.is_empty() {
                self.sending.pace.moved(piece.len());
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.rest.is_done() {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Drops what has come of a body that nobody wants: a connection goes on only behind its end.
    fn skim(&mut self) {
        while !self.rest.is_done() && !self.line.link.inbox.is_empty() {
            match self.rest.take(self.line.link.inbox.rest()) {
                Ok(portion) => self.line.link.inbox.consume(portion.used),
                Err(_) => return,
            }
        }
    }

    /// Counts bytes of the answer's body that are about to be said.
    fn count(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Sends without waiting; what the kernel does not take rests in the outbox until the flush, which will be woken.
    fn say(&mut self, head: &[u8], body: &[u8]) -> Result<(), Gone> {
        self.listening.pace.moved(head.len() + body.len());
        let mut cx = Context::from_waker(Waker::noop());
        self.line.link.send_both(&mut cx, head, body).map_err(|_| Gone)
    }

    /// Waits for the client to take something, as long as it may keep us waiting.
    async fn listen<T>(
        &mut self,
        mut poll: impl FnMut(&mut Line, &mut Context<'_>) -> Poll<Result<T, Gone>>,
    ) -> Result<T, Gone> {
        let Self { line, listening, house, .. } = self;
        // Nearly always the kernel takes it all: then no clock is read.
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(poll(line, cx))).await {
            return done;
        }
        let begun = Instant::now();
        let due = *listening.due.get_or_insert(begun + house.config.timeouts.send);
        let late = due.min(begun + listening.pace.patience(&house.tempo));
        let done = poll_fn(|cx| match poll(line, cx) {
            Poll::Pending => line.dog.poll_late(cx, late).map(|()| Err(Gone)),
            done => done,
        })
        .await;
        listening.pace.waited(begun.elapsed());
        done
    }

    async fn write_plain(&mut self, piece: &[u8]) -> Result<(), Gone> {
        let mut at = 0;
        while at < piece.len() {
            at += self
                .listen(|line, cx| {
                    ready!(line.link.poll_flush(cx)).map_err(|_| Gone)?;
                    line.link.poll_put(cx, &piece[at..]).map_err(|_| Gone)
                })
                .await?;
        }
        self.listening.pace.moved(piece.len());
        Ok(())
    }
}

fn portion(rest: &mut Measure, bytes: &[u8]) -> Result<(usize, Bytes), BodyFault> {
    let portion = rest.take(bytes).map_err(|fault| match fault.status {
        413 => BodyFault::TooLarge,
        _ => BodyFault::Malformed(fault.what),
    })?;
    Ok((portion.used, Bytes::copy_from_slice(&bytes[portion.data])))
}

impl Client for Turn<'_> {
    async fn body(&mut self) -> Result<Option<Bytes>, BodyFault> {
        if self.rest.is_done() {
            return Ok(None);
        }
        if std::mem::take(&mut self.hesitates) && self.line.link.inbox.is_empty() {
            let mut cx = Context::from_waker(Waker::noop());
            let invited = self.line.link.send(&mut cx, b"HTTP/1.1 100 Continue\r\n\r\n");
            invited.map_err(|_| BodyFault::Gone)?;
            self.flush().await.map_err(|Gone| BodyFault::Gone)?;
        }
        if let Poll::Ready(piece) = poll_fn(|cx| Poll::Ready(self.poll_piece(cx))).await {
            return piece;
        }
        let begun = Instant::now();
        let due = *self.sending.due.get_or_insert(begun + self.house.config.timeouts.body);
        let late = due.min(begun + self.sending.pace.patience(&self.house.tempo));
        let piece = poll_fn(|cx| match self.poll_piece(cx) {
            Poll::Pending => self.line.dog.poll_late(cx, late).map(|()| Err(BodyFault::Slow)),
            piece => piece,
        })
        .await;
        self.sending.pace.waited(begun.elapsed());
        piece
    }

    fn bound(&mut self, most: u64) {
        self.rest.bound(most);
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Line { link, visit, .. } = &mut *self.line;
        match link.read_ahead(cx, &visit.desk.floor.scratch, AHEAD) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn inform(&mut self, status: u16, fields: &[u8]) -> Result<(), Gone> {
        if self.old || self.stage != Stage::Silent {
            return Ok(()); // RFC 9110 section 15.2: not to a client of HTTP/1.0
        }
        let mut draft = std::mem::take(&mut *self.line.visit.desk.draft.borrow_mut());
        draft.clear();
        say::write_interim(&mut draft, status, fields);
        let said = self.say(&draft, &[]);
        self.line.visit.desk.draft.replace(draft);
        said
    }

    fn begin(&mut self, head: &AnswerHead<'_>, first: &[u8], last: bool) -> Result<(), Gone> {
        self.skim();
        let framing = say::framing(head.size, first.len(), last, self.old);
        self.goes_on &= self.rest.is_done() && !self.seat.is_draining() && framing != Framing::Close;
        let desk = self.line.visit.desk.clone();
        let mut draft = desk.draft.borrow_mut();
        draft.clear();
        let keep = self.goes_on || head.status == 101;
        let date = (!head.dated).then(|| desk.date());
        say::write(
            &mut draft,
            head,
            date.as_ref().map(|date| &date[..]),
            Manner { framing, keep, old: self.old },
        );
        self.stage = if last { Stage::Said } else { Stage::Body(framing) };
        match framing {
            _ if self.head_only => self.say(&draft, &[]),
            Framing::Silent => self.say(&draft, &[]),
            Framing::Chunked => {
                self.count(first.len());
                put_chunk(&mut draft, first);
                self.say(&draft, &[])
            }
            Framing::Length(_) | Framing::Close => {
                self.count(first.len());
                if first.len() > COPIED {
                    return self.say(&draft, first);
                }
                draft.extend_from_slice(first);
                self.say(&draft, &[])
            }
        }
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), Gone> {
        self.count(piece.len());
        match self.stage {
            Stage::Body(_) if self.head_only || piece.is_empty() => Ok(()),
            Stage::Body(Framing::Chunked) => {
                self.say(ChunkHead::new(piece.len()).as_bytes(), piece)?;
                self.say(b"\r\n", &[])
            }
            Stage::Body(Framing::Length(_) | Framing::Close) => self.say(piece, &[]),
            Stage::Body(Framing::Silent) | Stage::Silent | Stage::Said => Ok(()),
        }
    }

    fn end(&mut self, trailers: &[u8]) -> Result<(), Gone> {
        let stage = std::mem::replace(&mut self.stage, Stage::Said);
        match stage {
            Stage::Body(Framing::Chunked) if !self.head_only => {
                self.say(b"0\r\n", trailers)?;
                self.say(b"\r\n", &[])
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.listen(|line, cx| line.link.poll_flush(cx).map_err(|_| Gone)).await
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Gone> {
        self.count(piece.len());
        match self.stage {
            Stage::Body(_) if self.head_only || piece.is_empty() => Ok(()),
            Stage::Body(Framing::Chunked) => {
                self.say(ChunkHead::new(piece.len()).as_bytes(), &[])?;
                self.write_plain(&piece).await?;
                self.say(b"\r\n", &[])
            }
            Stage::Body(Framing::Length(_) | Framing::Close) => self.write_plain(&piece).await,
            Stage::Body(Framing::Silent) | Stage::Silent | Stage::Said => Ok(()),
        }
    }

    async fn send_file(&mut self, file: &File, offset: u64, length: u64) -> Result<(), Gone> {
        let plain =
            !self.line.link.stream().is_tls() && matches!(self.stage, Stage::Body(Framing::Length(_)));
        match plain {
            _ if self.head_only => Ok(()),
            true => self.send_by_kernel(file, offset..offset + length).await,
            false => self.send_by_copy(file, offset..offset + length).await,
        }
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn can_upgrade(&self) -> bool {
        true
    }
}
