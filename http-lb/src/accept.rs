//! A client comes in: PROXY header, encryption, and then its session in HTTP/1.1 or HTTP/2. Kind: driver.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::drain::Presence;
use proxy_core::error::{Error, Kind, Side};
use proxy_core::link::Link;
use proxy_core::listener::{Accepted, Permit};
use proxy_core::metrics::SessionMetrics;
use proxy_core::net::{Peer, Stream};
use proxy_core::proxy_protocol::{self, Policy};
use proxy_core::tls::ServerTls;
use tokio::time::{Instant, timeout_at};

use crate::edge::Arrival;
use crate::session::http1::{Ended, Http1};
use crate::session::{Desk, Visit, exchange, http2};
use crate::wire::RequestHead;

/// How HTTP/2 is called in the TLS handshake (RFC 9113 section 3.2).
pub const H2: &[u8] = b"h2";
/// And HTTP/1.1 (RFC 7301 section 6).
pub const HTTP11: &[u8] = b"http/1.1";

/// What a listener gives to each of its sessions.
pub struct Gate {
    /// Encryption, if there is any.
    pub tls: Option<Arc<ServerTls>>,
    /// Whose PROXY headers are believed.
    pub proxies: Policy,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// How long PROXY header and handshake may take.
    pub patience: Duration,
    /// Counts its sessions.
    pub metrics: SessionMetrics,
}

/// Serves one accepted connection to its end.
pub async fn serve(desk: Rc<Desk>, gate: Arc<Gate>, accepted: Accepted) {
    let present = desk.floor.drain().session();
    let _open = gate.metrics.open();
    gate.metrics.settle(converse(&desk, &gate, accepted, present).await, "handshake");
}

async fn converse(
    desk: &Rc<Desk>,
    gate: &Gate,
    accepted: Accepted,
    _present: Presence,
) -> Result<&'static str, Error> {
    let (stream, peer, _permit): (_, _, Permit) =
        accepted.into_stream().map_err(|error| Error::io(Side::Downstream, error))?;
    let (stream, peer) = match gate.is_plain() {
        true => (stream, peer),
        false => Box::pin(come_in(desk, gate, stream, peer)).await?,
    };
    let arrival = Arrival {
        peer: peer.ip(),
        tls: stream.is_tls(),
        port: stream.local().ok().and_then(Peer::addr).map_or(0, |addr| addr.port()),
    };
    if stream.alpn() == Some(H2) {
        return Ok(Box::pin(speak_http2(desk, arrival, stream, Vec::new())).await);
    }
    let visit = Visit { desk: desk.clone(), arrival, may_be_http2: gate.http2 && gate.tls.is_none() };
    let session = Http1::new(Link::new(stream, &[]), desk.floor.seat(), visit);
    match session.serve().await {
        Ended::Closed(ending) => Ok(ending.label()),
        Ended::Http2(link) => {
            let (stream, early) = link.into_stream();
            Ok(Box::pin(speak_http2(desk, arrival, stream, early)).await)
        }
    }
}

async fn speak_http2(desk: &Rc<Desk>, arrival: Arrival, stream: Stream, early: Vec<u8>) -> &'static str {
    let visit = Rc::new(Visit { desk: desk.clone(), arrival, may_be_http2: true });
    let answer = |head: Box<RequestHead>, mut client: http2::Exchange| {
        let visit = visit.clone();
        async move {
            // What became of it is between the client and its stream: a connection outlives both.
            let (mut timer, house) = (client.take_timer(), visit.desk.house());
            exchange::serve(&mut client, &head, &visit, &house, &mut timer).await;
            client.keep_timer(timer);
            visit.desk.keep_head(head);
        }
    };
    let terms = desk.house().http2();
    http2::serve(stream, early, terms, &desk.floor, || desk.lend_head(), answer).await.label()
}

impl Gate {
    /// Nothing comes before the first request.
    fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxies.trusted.is_empty() && !self.proxies.required
    }
}

/// From the accepted socket to a stream that speaks HTTP.
async fn come_in(desk: &Desk, gate: &Gate, mut stream: Stream, peer: Peer) -> Result<(Stream, Peer), Error> {
    let deadline = Instant::now() + gate.patience;
    let shake = async {
        let told = proxy_protocol::accept(&mut stream, &gate.proxies, deadline).await?;
        let stream = match &gate.tls {
            Some(tls) => tls.accept(stream, &[], deadline).await?,
            None => stream,
        };
        Ok((stream, told.map_or(peer, |told| Peer::from(told.source))))
    };
    let seat = desk.floor.seat();
    let terminated = || Error::downstream(Kind::Closed, "the process ends");
    let slow = || Error::downstream(Kind::Timeout, "the client took too long to come in");
    let shaken = seat.until_terminated(timeout_at(deadline, shake)).await.ok_or_else(terminated)?;
    shaken.map_err(|_| slow())?
}
