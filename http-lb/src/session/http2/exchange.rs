//! One stream: the client of one exchange. Kind: driver.
//!
//! h2 is given no more of an answer than the client's windows and [`SEND_BUFFER`](super::SEND_BUFFER) allow; the rest
//! waits here until [`Client::flush`], so that a client that doesn't listen is noticed by whom it keeps waiting.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::answer::{self, Unsayable};
use super::shared::Shared;
use crate::session::pace::Pace;
use crate::session::watchdog::Watchdog;
use crate::session::{AnswerHead, BodyFault, Client, Gone, Size};
use crate::wire::RequestHead;

/// Bytes of a file that are read at once.
const FILE_PIECE: usize = 32 * 1024;

/// The one who asked, on a stream of its own.
pub struct Exchange {
    request: Request,
    respond: SendResponse<Bytes>,
    answer: Answer,
    watchdog: Watchdog,
    /// When it began; its body and its answer have their time in all.
    begun: Instant,
    listening: Pace,
    /// Bytes of the answer's body that h2 has.
    sent: u64,
    shared: Rc<Shared>,
}

/// What is left of the request.
struct Request {
    body: RecvStream,
    sending: Pace,
    /// It waits for a 100 before it sends.
    waits: bool,
    ended: bool,
}

/// What was said of the answer.
#[derive(Default)]
struct Answer {
    stream: Option<SendStream<Bytes>>,
    /// Said, but beyond the client's windows.
    pending: BytesMut,
    /// What is still to come, where that was told.
    owed: Option<u64>,
    /// Nothing comes after what is pending, but these trailer fields.
    last: Option<Bytes>,
    /// The stream's end is with h2.
    ended: bool,
}

impl Exchange {
    pub(super) fn new(
        head: &RequestHead,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        shared: Rc<Shared>,
    ) -> Self {
        shared.begin();
        shared.carried(head.line().len() + head.entries().map(|field| field.line.len()).sum::<usize>());
        let ended = body.is_end_stream();
        let waits = head.expects_continue() && !ended;
        let request = Request { body, sending: Pace::default(), waits, ended };
        let (answer, watchdog, listening) = Default::default();
        Self { request, respond, answer, watchdog, begun: Instant::now(), listening, sent: 0, shared }
    }

    /// A timer for who answers this: one that an earlier exchange of the connection has [kept](Self::keep_timer), if any.
    pub fn take_timer(&self) -> Watchdog {
        self.shared.take_timer()
    }

    /// Leaves a timer for exchanges to come.
    pub fn keep_timer(&self, timer: Watchdog) {
        self.shared.keep_timer(timer);
    }

    /// Awaits the next piece of the body, which keeps its tempo and its time.
    async fn hear(&mut self) -> Result<Option<Bytes>, BodyFault> {
        let terms = &self.shared.terms;
        let from = Instant::now();
        let patience = self.request.sending.patience(&terms.tempo);
        let deadline = (from + patience).min(self.begun + terms.body);
        let heard = self.watchdog.guard(deadline, poll_fn(|cx| self.request.body.poll_data(cx))).await;
        self.request.sending.waited(from.elapsed());
        match heard {
            None => Err(BodyFault::Slow),
            Some(Some(Err(_))) => Err(BodyFault::Gone),
            Some(Some(Ok(piece))) => Ok(Some(piece)),
            Some(None) => Ok(None),
        }
    }

    /// Sends as much of what is pending as the client's windows allow, without waiting.
    fn send(&mut self) -> Result<(), Gone> {
        let Answer { stream: Some(stream), pending, last, ended, .. } = &mut self.answer else {
            return Err(Gone);
        };
        if !pending.is_empty() {
            stream.reserve_capacity(pending.len());
            let piece = pending.split_to(stream.capacity().min(pending.len())).freeze();
            self.listening.moved(piece.len());
            self.shared.carried(piece.len());
            self.sent += piece.len() as u64;
            let end = pending.is_empty() && last.as_ref().is_some_and(Bytes::is_empty);
            if !piece.is_empty() {
                stream.send_data(piece, end).map_err(|_| Gone)?;
                *ended = end;
            }
        }
        match last {
            Some(trailers) if pending.is_empty() && !*ended => finish(stream, trailers, ended),
            _ => Ok(()),
        }
    }

    /// Ready when there is room for more of the answer, or will never be.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let stream = self.answer.stream.as_mut().ok_or(Gone)?;
        let room = ready!(stream.poll_capacity(cx));
        Poll::Ready(if matches!(room, Some(Ok(_))) { Ok(()) } else { Err(Gone) })
    }

    /// Awaits room for more of the answer, from a client that keeps its tempo and its time.
    async fn room(&mut self) -> Result<(), Gone> {
        let terms = self.shared.terms.clone();
        let from = Instant::now();
        let deadline = (from + self.listening.patience(&terms.tempo)).min(self.begun + terms.send);
        let mut watchdog = std::mem::take(&mut self.watchdog);
        let room = watchdog.guard(deadline, poll_fn(|cx| self.poll_room(cx))).await;
        self.watchdog = watchdog;
        self.listening.waited(from.elapsed());
        room.unwrap_or_else(|| self.give_up(Reason::CANCEL))
    }

    fn give_up<T>(&mut self, reason: Reason) -> Result<T, Gone> {
        self.answer.ended = true;
        self.respond.send_reset(reason);
        Err(Gone)
    }

    /// Takes note of a piece of the answer that is said now. The last that was promised ends it.
    fn say(&mut self, bytes: usize) -> Result<(), Gone> {
        let Some(owed) = &mut self.answer.owed else { return Ok(()) };
        match owed.checked_sub(bytes as u64) {
            Some(0) => {
                self.answer.owed = None;
                self.answer.last = Some(Bytes::new());
                Ok(())
            }
            Some(rest) => {
                *owed = rest;
                Ok(())
            }
            // More than was promised: the rest belongs to nobody.
            None => self.give_up(Reason::INTERNAL_ERROR),
        }
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.answer.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| ())
    }
}

/// Ends the stream behind all its data.
fn finish(stream: &mut SendStream<Bytes>, trailers: &Bytes, ended: &mut bool) -> Result<(), Gone> {
    *ended = true;
    let said = match answer::map(trailers) {
        Ok(trailers) if !trailers.is_empty() => stream.send_trailers(trailers),
        // Trailers that can't be said are left out: nobody may depend on them (RFC 9110 section 6.5.1).
        Ok(_) | Err(Unsayable) => stream.send_data(Bytes::new(), true),
    };
    said.map_err(|_| Gone)
}

impl Client for Exchange {
    async fn body(&mut self) -> Result<Option<Bytes>, BodyFault> {
        if self.request.ended {
            return Ok(None);
        }
        if std::mem::take(&mut self.request.waits) && self.answer.stream.is_none() {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            self.respond.send_informational(response).map_err(|_| BodyFault::Gone)?;
        }
        let piece = self.hear().await?;
        match &piece {
            // Trailers of a request end here: an upstream that reads a length reads none.
            None => self.request.ended = true,
            Some(piece) => {
                self.request.sending.moved(piece.len());
                self.shared.carried(piece.len());
                let window = self.request.body.flow_control();
                window.release_capacity(piece.len()).map_err(|_| BodyFault::Gone)?;
            }
        }
        Ok(piece)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_reset(cx));
        if !std::mem::replace(&mut self.answer.ended, true) {
            self.shared.gave_up();
        }
        Poll::Ready(())
    }

    fn inform(&mut self, status: u16, fields: &[u8]) -> Result<(), Gone> {
        match answer::interim(status, fields) {
            Ok(response) => self.respond.send_informational(response).map_err(|_| Gone),
            Err(Unsayable) => Ok(()),
        }
    }

    fn begin(&mut self, head: &AnswerHead<'_>, first: &[u8], last: bool) -> Result<(), Gone> {
        let response = match answer::response(head, &super::shared::date(), &self.shared.terms.id_field) {
            Ok(response) => response,
            Err(Unsayable) => return self.give_up(Reason::INTERNAL_ERROR),
        };
        self.shared.carried(head.fields.len());
        let ended = last && first.is_empty();
        let stream = self.respond.send_response(response, ended).map_err(|_| Gone)?;
        let owed = if let Size::Length(length) = head.size { Some(length) } else { None };
        self.answer = Answer { stream: Some(stream), owed, ended, ..Answer::default() };
        match (ended, last) {
            (true, _) => Ok(()),
            (false, false) => self.put(first),
            (false, true) => {
                self.answer.owed = None;
                self.answer.last = Some(Bytes::new());
                self.answer.pending.extend_from_slice(first);
                self.send()
            }
        }
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), Gone> {
        self.say(piece.len())?;
        self.answer.pending.extend_from_slice(piece);
        self.send()
    }

    fn end(&mut self, trailers: &[u8]) -> Result<(), Gone> {
        if self.answer.ended || self.answer.last.is_some() {
            return Ok(());
        }
        if self.answer.owed.is_some_and(|owed| owed > 0) {
            // Less than was promised: the client must not take it for whole (RFC 9113 section 8.1.1).
            return self.give_up(Reason::INTERNAL_ERROR);
        }
        self.answer.last = Some(Bytes::copy_from_slice(trailers));
        self.send()
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        while !self.answer.pending.is_empty() {
            self.room().await?;
            self.send()?;
        }
        Ok(())
    }

    async fn write(&mut self, mut piece: Bytes) -> Result<(), Gone> {
        self.flush().await?;
        self.say(piece.len())?;
        while !piece.is_empty() {
            let stream = self.answer.stream.as_mut().ok_or(Gone)?;
            stream.reserve_capacity(piece.len());
            let some = piece.split_to(stream.capacity().min(piece.len()));
            if some.is_empty() {
                self.room().await?;
                continue;
            }
            self.listening.moved(some.len());
            self.shared.carried(some.len());
            self.sent += some.len() as u64;
            let end = !piece.has_remaining() && self.answer.last.is_some();
            stream.send_data(some, end).map_err(|_| Gone)?;
            self.answer.ended = end;
        }
        Ok(())
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    async fn send_file(&mut self, file: &File, mut offset: u64, mut length: u64) -> Result<(), Gone> {
        while length > 0 {
            let wanted = usize::try_from(length).unwrap_or(FILE_PIECE).min(FILE_PIECE);
            let mut piece = BytesMut::zeroed(wanted);
            let read = file.read_at(&mut piece, offset).unwrap_or(0);
            if read == 0 {
                return self.give_up(Reason::INTERNAL_ERROR); // the file has shrunk
            }
            piece.truncate(read);
            self.write(piece.freeze()).await?;
            offset += read as u64;
            length -= read as u64;
        }
        Ok(())
    }
}

impl Drop for Exchange {
    /// An answer that broke off must not look whole.
    fn drop(&mut self) {
        if !self.answer.ended {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
        self.shared.end();
    }
}
