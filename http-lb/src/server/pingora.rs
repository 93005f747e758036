//! Replicas that speak HTTP/2, by pingora's client. Kind: driver.
//!
//! Who dials one gets a [`Link`] that speaks HTTP/1.1 like any other, so that all that the engine does with a connection
//! (keep it, retry on it, time it, drop it) holds here, too. Behind it a task translates to and from a stream of the
//! connection that this worker has with the replica. The price is a hop through a socket pair, some microseconds; the
//! alternative, a second kind of connection in the engine, would cost every reader of it for the few that need it.
//! gunicorn speaks HTTP/1.1. Encryption is the core's, as for all replicas: its modes, its certificates, its reload.
//!
//! Left out: requests and answers that talk at the same time (gRPC streams): the request is sent whole first. 1xx:
//! pingora's client drops them.

mod bridge;
mod io;
mod translate;

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::http::v2::{ConnectionRef, H2HandshakeSettings, handshake};
use pingora::protocols::http::v2::client::Http2Session;
use proxy_core::link::Link;
use proxy_core::net::{self, Addr, SocketOptions, Stream};
use proxy_core::tasks::spawn_session;
use proxy_core::tls::ClientTls;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use self::io::Wire;
use super::dial::{Dialled, Unreachable, send_first};

/// Requests at the same time on one connection; more get another.
const STREAMS: usize = 100;
/// Bytes of an answer that the replica may send ahead of its client.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes that it may send ahead on all streams.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// A connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a connection is kept that nobody uses.
const UNUSED: Duration = Duration::from_secs(60);

/// How replicas are reached.
#[derive(Debug, Clone)]
pub struct Way {
    /// Encryption; it must offer `h2` (ALPN). Without it HTTP/2 is spoken by prior knowledge.
    pub tls: Option<Arc<ClientTls>>,
    /// How long connecting may take, TLS and all.
    pub patience: Duration,
}

/// The connections of one worker, to all replicas that speak HTTP/2.
#[derive(Default)]
pub struct Connections(RefCell<Vec<Connection>>);

struct Connection {
    addr: Addr,
    to: ConnectionRef,
    used: Instant,
}

impl Connections {
    /// As [`super::dial`], to a replica that speaks HTTP/2.
    ///
    /// # Errors
    /// Nobody answers there in HTTP/2; nothing was sent.
    pub async fn dial(
        self: &Rc<Self>,
        addr: &Addr,
        way: &Way,
        parts: [&[u8]; 2],
    ) -> Result<Dialled, Unreachable> {
        let session = self.stream(addr, way).await?;
        let (near, far) = UnixStream::pair()?;
        let (connections, addr, way) = (self.clone(), addr.clone(), way.clone());
        spawn_session(async move {
            let next = async || connections.stream(&addr, &way).await;
            if let Err(fault) = bridge::carry(far, session, way.tls.is_some(), next).await {
                tracing::debug!(upstream = %addr, %fault, "a stream of a replica ended early");
            }
        });
        send_first(Link::new(near.into(), &[]), parts, 0).await
    }

    /// A new stream, on a connection that is there or on a new one.
    async fn stream(&self, addr: &Addr, way: &Way) -> Result<Http2Session, Error> {
        let deadline = Instant::now() + way.patience;
        let work = async {
            while let Some(connection) = self.known(addr) {
                match connection.spawn_stream().await {
                    Ok(Some(session)) => return Ok(session),
                    // It is full, or going: no more of it here, its streams go on.
                    Ok(None) | Err(_) => self.forget(&connection),
                }
            }
            self.connect(addr, way, deadline).await
        };
        timeout_at(deadline, work).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    fn known(&self, addr: &Addr) -> Option<ConnectionRef> {
        let mut connections = self.0.borrow_mut();
        let now = Instant::now();
        let is_unused = |known: &Connection| known.to.is_idle() && known.used + UNUSED < now;
        connections.retain(|known| !(known.to.is_closed() || is_unused(known)));
        let has_room = |known: &&mut Connection| known.addr == *addr && known.to.more_streams_allowed();
        let known = connections.iter_mut().find(has_room)?;
        known.used = now;
        Some(known.to.clone())
    }

    fn forget(&self, connection: &ConnectionRef) {
        self.0.borrow_mut().retain(|known| known.to.id() != connection.id());
    }

    async fn connect(&self, addr: &Addr, way: &Way, deadline: Instant) -> Result<Http2Session, Error> {
        let plain = net::connect(addr, &SocketOptions::default(), way.patience).await.map_err(other)?;
        let stream = match &way.tls {
            Some(tls) => encrypted(tls.connect(plain, addr.host(), &[], deadline).await.map_err(other)?)?,
            None => plain,
        };
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = STREAMS;
        settings.ping_interval = Some(PING_INTERVAL);
        settings.stream_window_size = Some(STREAM_WINDOW);
        settings.connection_window_size = Some(CONNECTION_WINDOW);
        let to = handshake(Box::new(Wire::from(stream)), settings).await.map_err(other)?;
        let session = to.spawn_stream().await.map_err(other)?;
        let session = session.ok_or_else(|| Error::other("the replica takes no stream"))?;
        self.0.borrow_mut().push(Connection { addr: addr.clone(), to, used: Instant::now() });
        Ok(session)
    }
}

/// The stream, if both have agreed on HTTP/2.
fn encrypted(stream: Stream) -> Result<Stream, Error> {
    match stream.alpn() {
        Some(b"h2") => Ok(stream),
        _ => Err(Error::other("the replica does not speak HTTP/2 (ALPN)")),
    }
}

fn other(error: impl Display) -> Error {
    Error::other(error.to_string())
}

#[cfg(test)]
mod tests;
