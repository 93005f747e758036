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
use proxy_core::session::Ending;
use proxy_core::tls::ServerTls;
use tokio::time::{Instant, timeout_at};

use crate::session::desk::Desk;
use crate::session::http1::{Ended, Http1};
use crate::session::visit::Visit;

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
    match converse(&desk, &gate, accepted, present).await {
        Ok(ending) => gate.metrics.ended(ending),
        Err(error) => {
            gate.metrics.error(&error);
            gate.metrics.ended("handshake");
            tracing::debug!(%error, "a client did not come in");
        }
    }
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
    let visit = Visit {
        desk: desk.clone(),
        peer,
        local: stream.local().unwrap_or(Peer::Unix),
        tls: stream.is_tls(),
        may_be_http2: gate.http2 && gate.tls.is_none(),
    };
    let session = Http1::new(Link::new(stream, &[]), desk.floor.seat(), visit);
    match session.serve().await {
        Ended::Closed(ending) => Ok(ending.label()),
        Ended::Http2(_) => Ok(Ending::Finished.label()),
    }
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
