//! HTTP/2 downstream (RFC 9113): one connection, of which each stream is an exchange with the engine. Kind: driver.
//!
//! The frames are the h2 crate's. Pingora's session is a layer over the same crate that keeps from us what we need: it
//! drops 1xx, also the 100 that a server owes (RFC 9110 section 10.1.1), and copies each answer's head once more.
//! What a peer may cost us is bounded in four places: h2's own limits (streams, resets, CONTINUATION, small DATA), the
//! [`Wire`] (frames that carry nothing), the exchanges (their [`Tempo`]), and here (requests, resets, silence).
//!
//! ```text
//!   serving ──drain, or enough requests──▶ leaving (GOAWAY) ──no stream left──▶ closed
//!      └──idle──▶ GOAWAY ──▶ closed         └──exceeds──▶ cut
//! ```

mod answer;
mod exchange;
mod shared;
#[cfg(test)]
mod tests;
mod wire;

use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderName, Request, Response, StatusCode};
use proxy_core::net::Stream;
use proxy_core::tasks::spawn_session;
use proxy_core::worker::{Floor, Pulse, Seat};
use tokio::time::{Instant, timeout};

pub use self::exchange::Exchange;
use self::shared::Shared;
use self::wire::Wire;
use super::pace::Tempo;
use super::watchdog::Watchdog;
use crate::config;
use crate::wire::{HeadLimits, Malformed, Parts, RequestHead};

/// How long a client that was told to go may sit there with no stream open.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes of one answer that may rest in h2 while the socket takes none: what a client within its windows can make us
/// keep is this, times its streams.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client may make us reset for its errors, after which it is given up (CVE-2025-8671).
const OUR_RESETS: usize = 128;
/// Requests that are malformed, after which their client is given up. Browsers send none.
const MALFORMED: u32 = 32;

/// What a client may do on one connection.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Requests at the same time.
    pub streams: u32,
    /// Bytes that it may send ahead on a stream.
    pub stream_window: u32,
    /// Bytes that it may send ahead on the connection.
    pub connection_window: u32,
    /// Streams reset before h2 has shown them to us.
    pub resets: usize,
    /// Requests in all.
    pub requests: u64,
    /// A request's head.
    pub head: HeadLimits,
    /// The field that tells the id of a request.
    pub id_field: HeaderName,
    /// How long the preface may take.
    pub preface: Duration,
    /// How long nothing may be asked.
    pub idle: Duration,
    /// How long a request's body may take in all.
    pub body: Duration,
    /// How long an answer may take in all.
    pub send: Duration,
    /// How slow it may send and listen.
    pub tempo: Tempo,
}

impl Terms {
    /// Those of a configuration.
    pub fn new(config: &config::Config, head: HeadLimits, tempo: Tempo) -> Self {
        let bytes = |size: proxy_core::config::Size| u32::try_from(size.bytes()).unwrap_or(u32::MAX >> 1);
        let id_field = HeaderName::from_bytes(config.client.request_id.as_bytes());
        Self {
            streams: config.http2.streams,
            stream_window: bytes(config.http2.stream_window),
            connection_window: bytes(config.http2.connection_window),
            resets: config.http2.resets,
            requests: config.limits.requests_per_connection,
            head,
            id_field: id_field.unwrap_or(HeaderName::from_static("x-request-id")), // a config's is a token
            preface: config.timeouts.header,
            idle: config.timeouts.idle,
            body: config.timeouts.body,
            send: config.timeouts.send,
            tempo,
        }
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(self.streams)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_header_list_size(u32::try_from(self.head.total).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(self.resets)
            .max_local_error_reset_streams(Some(OUR_RESETS))
            .max_send_buffer_size(SEND_BUFFER);
        builder
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All was said.
    Closed,
    /// It didn't speak HTTP/2, or broke its rules.
    Protocol,
    /// The socket failed.
    Lost,
    /// Nothing was asked for too long.
    Idle,
    /// It took nothing of what we had for it.
    Stalled,
    /// It asked for too much of what costs us and gains it nothing.
    Abuse,
    /// The process ends.
    Terminated,
}

impl Ending {
    /// As one word, for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Lost => "lost",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Abuse => "abuse",
            Self::Terminated => "terminated",
        }
    }
}

/// Serves a connection to its end. `early` are bytes that were read from it already, the preface among them. `heads` lends
/// room for the head of a request, and `exchange` makes of each request what answers it; it is run as a session of its own.
pub async fn serve<F, Fut>(
    stream: Stream,
    early: Vec<u8>,
    terms: Rc<Terms>,
    floor: &Rc<Floor>,
    heads: impl Fn() -> Box<RequestHead>,
    mut exchange: F,
) -> Ending
where
    F: FnMut(Box<RequestHead>, Exchange) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let shared = Rc::new(Shared::new(terms));
    let wire = Wire::new(stream, early, shared.clone());
    let seat = floor.seat();
    let handshake = timeout(shared.terms.preface, shared.terms.builder().handshake(wire));
    let connection = match seat.until_terminated(handshake).await {
        None => return Ending::Terminated,
        Some(Err(_)) => return Ending::Idle,
        Some(Ok(Err(error))) => return ending(&error),
        Some(Ok(Ok(connection))) => connection,
    };
    let mut session = Session {
        connection: Box::new(connection),
        seat,
        shared,
        watchdog: Watchdog::default(),
        leaving: None,
        requests: 0,
        malformed: 0,
    };
    loop {
        match poll_fn(|cx| session.poll_event(cx)).await {
            Event::Request(request, respond) => {
                if let Some((head, client)) = session.admit(heads(), request, respond) {
                    // In a box from the start: it is large, and a task moves what it is given several times.
                    spawn_session(Box::pin(exchange(head, client)));
                }
                if let Some(ending) = session.count() {
                    return ending;
                }
            }
            Event::Leave => session.leave(),
            Event::End(ending) => return ending,
        }
    }
}

/// What happens on a connection.
#[allow(clippy::large_enum_variant, reason = "the large one is the frequent one, and is passed on at once")]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    Leave,
    End(Ending),
}

struct Session {
    connection: Box<Connection<Wire, Bytes>>,
    seat: Seat,
    shared: Rc<Shared>,
    watchdog: Watchdog,
    /// Since when the client has been told to go.
    leaving: Option<Instant>,
    requests: u64,
    malformed: u32,
}

impl Session {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if matches!(self.seat.quiet_pulse(cx), Some(Pulse::Terminate)) {
            return Poll::Ready(Event::End(Ending::Terminated));
        }
        if self.leaving.is_none() && self.seat.is_draining() {
            return Poll::Ready(Event::Leave);
        }
        match self.connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => Poll::Ready(Event::Request(request, respond)),
            // Who was told to go, and owes nothing, may leave as it likes.
            Poll::Ready(Some(Err(_))) if self.leaving.is_some() && !self.shared.is_busy() => {
                Poll::Ready(Event::End(Ending::Closed))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Event::End(ending(&error))),
            Poll::Ready(None) => Poll::Ready(Event::End(Ending::Closed)),
            Poll::Pending => {
                let ending = ready!(self.poll_silence(cx));
                Poll::Ready(Event::End(ending))
            }
        }
    }

    /// Ready when nothing has happened for longer than it may.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let (deadline, ending) = self.deadline();
            ready!(self.watchdog.poll_late(cx, deadline));
            // Something may have happened since the timer was armed, which moves only to earlier times.
            if self.deadline().0 <= Instant::now() {
                if ending == Ending::Idle {
                    self.connection.abrupt_shutdown(Reason::NO_ERROR);
                    let _ = self.connection.poll_closed(cx); // says so if the socket takes it at once
                }
                return Poll::Ready(ending);
            }
        }
    }

    fn deadline(&self) -> (Instant, Ending) {
        let shared = &self.shared;
        let blocked = shared.blocked().map(|since| (since + shared.terms.tempo.grace, Ending::Stalled));
        let leaving = self.leaving.map(|since| (since.max(shared.quiet_since()) + FAREWELL, Ending::Closed));
        let idle = (shared.quiet_since() + shared.terms.idle, Ending::Idle);
        let busy = shared.is_busy().then(|| (Instant::now() + shared.terms.idle, Ending::Idle));
        let silent = busy.unwrap_or_else(|| leaving.unwrap_or(idle));
        blocked.into_iter().chain([silent]).min_by_key(|(deadline, _)| *deadline).unwrap_or(silent)
    }

    /// Tells the client that no more requests are taken; those that are open go on.
    fn leave(&mut self) {
        self.leaving = Some(Instant::now());
        self.connection.graceful_shutdown();
    }

    /// The request as the engine knows it, in `head`; one that is malformed is answered here.
    fn admit(
        &mut self,
        mut head: Box<RequestHead>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Option<(Box<RequestHead>, Exchange)> {
        match fill(&mut head, &request, &self.shared.terms.head) {
            Ok(()) => {
                let exchange = Exchange::new(&head, request.into_body(), respond, self.shared.clone());
                Some((head, exchange))
            }
            Err(malformed) => {
                tracing::debug!(what = malformed.what, status = malformed.status, "a malformed request");
                self.malformed += 1;
                refuse(&mut respond, malformed.status);
                None
            }
        }
    }

    /// Looks, after each request, whether the client asks for too much.
    fn count(&mut self) -> Option<Ending> {
        self.requests += 1;
        let terms = &self.shared.terms;
        // It may not have read the GOAWAY yet; but nobody sends so much behind one (and h2 waits for a PING's answer).
        let deaf = self.requests > terms.requests.saturating_add(2 * u64::from(terms.streams));
        if deaf || self.malformed > MALFORMED || self.shared.resets_too_often(self.requests) {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return Some(Ending::Abuse);
        }
        if self.requests >= terms.requests && self.leaving.is_none() {
            self.leave();
        }
        None
    }
}

fn fill(head: &mut RequestHead, request: &Request<RecvStream>, limits: &HeadLimits) -> Result<(), Malformed> {
    let uri = request.uri();
    let parts = Parts {
        method: request.method().as_str().as_bytes(),
        authority: uri.authority().map(|authority| authority.as_str().as_bytes()),
        path_and_query: uri.path_and_query().map_or(&b""[..], |path| path.as_str().as_bytes()),
        ended: request.body().is_end_stream(),
    };
    let fields = request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    head.fill(parts, fields, limits)
}

/// Answers with a status alone.
fn refuse(respond: &mut SendResponse<Bytes>, status: u16) {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let _ = respond.send_response(response, true); // a client that has left needs no answer
}

fn ending(error: &h2::Error) -> Ending {
    match error.get_io().map(io::Error::kind) {
        Some(wire::FLOOD) => Ending::Abuse,
        Some(wire::BAD_OPENING) => Ending::Protocol,
        Some(_) => Ending::Lost,
        None if error.is_go_away() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) => Ending::Abuse,
        None if error.is_remote() => Ending::Closed,
        None => Ending::Protocol,
    }
}
