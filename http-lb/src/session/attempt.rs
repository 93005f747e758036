//! One attempt at one replica: a connection, the request on it, and the head of the answer. Kind: driver.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use proxy_core::link::Link;
use proxy_core::net::Addr;
use proxy_core::tls::ClientTls;
use proxy_core::upstream::Endpoint;
use tokio::time::Instant;

use super::client::{BodyFault, Client};
use super::desk::Desk;
use super::house::Way;
use super::retry::Failure;
use super::speech::{Request, Speech, Word};
use super::watchdog::Watchdog;
use crate::metrics::add;
use crate::server::{Dialled, Lost, Talk, dial};
use crate::wire::{HeadLimits, Method, ResponseHead};

/// Interim answers that one request may have: they wait in our memory for a client that does not listen.
const INFORMED: u32 = 32;

/// How long an attempt may take, and what the answer's head may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Until the connection stands.
    pub(super) connect: Duration,
    /// From what the replica took last of the request to the answer's head.
    pub(super) response: Duration,
    /// What the head may be.
    pub(super) head: HeadLimits,
}

/// What an attempt needs of its surroundings.
pub(super) struct Near<'a> {
    pub(super) desk: &'a Desk,
    pub(super) timer: &'a mut Watchdog,
    pub(super) way: &'a Way,
}

/// A replica answers: the head is there, and the place in the scratch of what came of the body.
pub(super) struct Answered {
    pub(super) talk: Talk,
    pub(super) data: Range<usize>,
}

/// What comes of an attempt that does not fail.
pub(super) enum Came {
    /// An answer.
    Answered(Answered),
    /// The client has left while the replica was at work, for which it has time until then.
    Unwanted(Talk, Instant),
}

/// Asks an endpoint, as of `begun`, on a kept connection unless `afresh`. Interim answers go to the client at once. What
/// came of the body lies in the scratch until the next await.
pub(super) async fn ask<C: Client>(
    client: &mut C,
    request: &Request<'_>,
    (endpoint, begun): (&Arc<Endpoint>, Instant),
    afresh: bool,
    answer: &mut ResponseHead,
    bounds: &Bounds,
    mut near: Near<'_>,
) -> Result<Came, Failure> {
    answer.clear(); // an attempt before may have left half a head
    let mut speech = Speech::new(request);
    let kept = if afresh { None } else { near.kept(endpoint, begun) };
    let stale = kept.is_some();
    let talk = match kept {
        Some(link) => Talk::new(link),
        None => Talk::new(near.open(endpoint, &mut speech, bounds.connect).await?),
    };
    let Near { desk, timer, .. } = near;
    let (method, late) = (request.method, begun + bounds.response);
    let mut attempt =
        Attempt { client, speech, talk, answer, method, bounds, desk, timer, late, at_once: stale };
    let mut informed = 0;
    loop {
        match attempt.next().await {
            Event::Heard(Ok(data)) if !attempt.answer.is_interim() => return attempt.answered(data),
            Event::Heard(Ok(_)) if informed == INFORMED => return Err(Failure::Broken),
            Event::Heard(Ok(_)) => {
                informed += 1;
                inform(attempt.client, attempt.answer);
            }
            Event::Heard(Err(lost)) => return Err(failure(&lost, stale, attempt.answer, &attempt.speech)),
            Event::Piece(Err(BodyFault::Gone)) | Event::Left => {
                return Ok(Came::Unwanted(attempt.talk, attempt.late));
            }
            Event::Piece(piece) => {
                attempt.speech.add(piece.map_err(Failure::Body)?)?;
                attempt.late = Instant::now() + bounds.response;
            }
            Event::Late => return Err(Failure::Late),
        }
    }
}

/// An attempt whose connection stands.
struct Attempt<'a, C> {
    client: &'a mut C,
    speech: Speech<'a>,
    talk: Talk,
    answer: &'a mut ResponseHead,
    method: Method,
    bounds: &'a Bounds,
    desk: &'a Desk,
    timer: &'a mut Watchdog,
    /// Until when the answer's head must have come.
    late: Instant,
    /// Whether what is said now is said as of the beginning: on a kept connection, at the first look.
    at_once: bool,
}

/// What happens while a request is on its way.
enum Event {
    /// A head has come, or will not.
    Heard(Result<Range<usize>, Lost>),
    /// The client has sent more of its body.
    Piece(Result<Option<Bytes>, BodyFault>),
    /// The client has left.
    Left,
    /// The replica took too long.
    Late,
}

impl<C: Client> Attempt<'_, C> {
    /// Speaks and listens until something happens.
    async fn next(&mut self) -> Event {
        let Self { client, speech, talk, answer, method, bounds, desk, timer, late, at_once } = self;
        let event = poll_fn(|cx| {
            let said = speech.said();
            let spoke = speech.poll(talk, cx);
            // Nearly always all is said at once: then no clock is read.
            let moved = speech.said() > said || spoke == Some(Word::Done);
            if moved && !*at_once {
                *late = Instant::now() + bounds.response;
            }
            *at_once = false;
            let heard = talk.poll_head(cx, &mut desk.floor.scratch.borrow(), answer, &bounds.head, *method);
            match (heard, spoke) {
                (Poll::Ready(heard), _) => Poll::Ready(Some(Event::Heard(heard))),
                (Poll::Pending, Some(Word::NeedsMore)) => Poll::Ready(None),
                (Poll::Pending, _) if client.poll_gone(cx).is_ready() => Poll::Ready(Some(Event::Left)),
                (Poll::Pending, _) => timer.poll_late(cx, *late).map(|()| Some(Event::Late)),
            }
        });
        match event.await {
            Some(event) => event,
            None => self.next_piece().await,
        }
    }

    /// The client's next piece. The replica may answer, or hang up, while the client takes its time.
    async fn next_piece(&mut self) -> Event {
        let Self { client, talk, answer, method, bounds, desk, .. } = self;
        let head =
            poll_fn(|cx| talk.poll_head(cx, &mut desk.floor.scratch.borrow(), answer, &bounds.head, *method));
        tokio::select! {
            biased;
            heard = head => Event::Heard(heard),
            piece = client.body() => Event::Piece(piece),
        }
    }

    /// An answer that comes before the request was said whole is the last on its connection.
    fn answered(mut self, data: Range<usize>) -> Result<Came, Failure> {
        if !self.speech.is_said() {
            if self.answer.status() == 101 {
                return Err(Failure::Broken);
            }
            self.talk.spend();
        }
        Ok(Came::Answered(Answered { talk: self.talk, data }))
    }
}

impl Near<'_> {
    fn kept(&self, endpoint: &Arc<Endpoint>, now: Instant) -> Option<Link> {
        self.desk.shelves.take(endpoint, now, &mut self.desk.floor.scratch.borrow())
    }

    /// A new connection, on which the request is on its way already where nothing has to be agreed on before.
    async fn open(
        &mut self,
        endpoint: &Arc<Endpoint>,
        speech: &mut Speech<'_>,
        patience: Duration,
    ) -> Result<Link, Failure> {
        add(&self.desk.tally.dialled);
        let (deadline, addr) = (Instant::now() + patience, endpoint.addr());
        let opened = match &self.way.http2 {
            Some(way) => {
                let dialling = Box::pin(self.desk.http2.dial(addr, way, speech.parts()));
                self.timer.guard(deadline, dialling).await
            }
            None => {
                // Behind TLS nothing is said before the handshake.
                let first = if self.way.tls.is_some() { [&[][..]; 2] } else { speech.parts() };
                let mut dialling = pin!(dial(addr, first));
                self.timer.guard(deadline, dialling.as_mut()).await
            }
        };
        let Dialled { link, sent } = match opened {
            Some(Ok(dialled)) => dialled,
            Some(Err(error)) => {
                tracing::debug!(endpoint = %addr, %error, "unreachable");
                return Err(Failure::Unreachable);
            }
            None => return Err(Failure::Unreachable),
        };
        speech.sent(sent);
        match &self.way.tls {
            Some(tls) if self.way.http2.is_none() => Box::pin(encrypt(link, tls, addr, deadline)).await,
            _ => Ok(link),
        }
    }
}

/// The connection, encrypted; nothing was sent on it yet.
async fn encrypt(link: Link, tls: &ClientTls, addr: &Addr, deadline: Instant) -> Result<Link, Failure> {
    let (stream, _) = link.into_stream();
    match tls.connect(stream, addr.host(), &[], deadline).await {
        Ok(stream) => Ok(Link::new(stream, &[])),
        Err(error) => {
            tracing::warn!(endpoint = %addr, %error, "no TLS with a replica");
            Err(Failure::Unreachable)
        }
    }
}

/// How far we came when the answer was lost.
fn failure(lost: &Lost, stale: bool, answer: &ResponseHead, speech: &Speech<'_>) -> Failure {
    match lost {
        Lost::Malformed(_) => Failure::Broken,
        _ if stale && speech.said() == 0 => Failure::Unsent,
        _ if stale && answer.is_idle() => Failure::Stale,
        _ => Failure::Broken,
    }
}

/// An interim answer goes to the client; "100 Continue" is ours to say, and was said where it was due.
fn inform<C: Client>(client: &mut C, answer: &mut ResponseHead) {
    if answer.status() != 100 {
        let mut fields = Vec::new();
        let passed = |field: &crate::wire::Field<'_>| !field.known.is_hop_by_hop();
        answer.entries().filter(passed).for_each(|field| fields.extend_from_slice(field.line));
        let _ = client.inform(answer.status(), &fields); // one who has left is found out with the answer
    }
    answer.clear();
}
