//! The network's edge: addresses, one type for all byte streams, and connecting with the socket options that let a
//! dead machine be noticed. Kind: driver.

mod addr;
mod options;
mod stream;

use std::{io, net::SocketAddr, path::Path, time::Duration};

use tokio::{
    net::{TcpSocket, UnixStream, lookup_host},
    time::{Instant, timeout_at},
};

pub use self::{
    addr::{Addr, AddrError},
    options::SocketOptions,
    stream::{Peer, Stream},
};
use crate::error::{Error, Kind, Side};

/// Connects to `addr`. A host name is resolved now; its addresses are tried in their order, each with its share of
/// the time that is left, so that a first one that swallows packets leaves time for the next.
///
/// # Errors
/// Upstream errors that name the address: `Timeout` after `timeout`, `Refused`, or `Io` where the name has no address.
pub async fn connect(addr: &Addr, options: &SocketOptions, timeout: Duration) -> Result<Stream, Error> {
    let deadline = Instant::now() + timeout;
    let connected = match addr {
        Addr::Tcp { host, port } => connect_host(host, *port, options, deadline).await,
        Addr::Unix(path) => connect_unix(path, deadline).await,
    };
    connected.map_err(|error| refused(error).context(format!("connecting to {addr}")))
}

/// A full backlog of a unix socket answers EAGAIN at once (unix(7)): for us that server refuses.
fn refused(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::NotFound => Error::upstream(Kind::Refused, error),
        _ => Error::io(Side::Upstream, error),
    }
}

async fn connect_host(
    host: &str,
    port: u16,
    options: &SocketOptions,
    deadline: Instant,
) -> io::Result<Stream> {
    let found: Vec<SocketAddr> = within(deadline, lookup_host((host, port))).await?.collect();
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for (tried, addr) in found.iter().enumerate() {
        let share = share_of(deadline, found.len() - tried);
        outcome = within(share, connect_tcp(*addr, options)).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// When the first of `attempts` must end, if all are to have the same time until `deadline`.
fn share_of(deadline: Instant, attempts: usize) -> Instant {
    let now = Instant::now();
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX).max(1);
    now + deadline.saturating_duration_since(now) / attempts
}

async fn connect_tcp(addr: SocketAddr, options: &SocketOptions) -> io::Result<Stream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    options.apply(&socket)?;
    socket.connect(addr).await.map(Stream::Tcp)
}

async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
    within(deadline, UnixStream::connect(path)).await.map(Stream::Unix)
}

async fn within<T>(deadline: Instant, attempt: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline, attempt)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, UnixListener},
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn check_refused(addr: &Addr) {
        let error = connect(addr, &SocketOptions::default(), SECOND).await.unwrap_err();
        assert_eq!((error.side(), error.kind()), (Side::Upstream, Kind::Refused), "{error}");
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_bytes_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addr = Addr::Tcp { host: "localhost".into(), port };
        let mut near = connect(&addr, &SocketOptions::default(), SECOND).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"hello").await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "hello");
    }

    #[tokio::test]
    async fn a_unix_socket_connects() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let stream = connect(&Addr::Unix(path), &SocketOptions::default(), SECOND).await.unwrap();
        assert_eq!(stream.peer().unwrap(), Peer::Unix);
    }

    #[tokio::test]
    async fn nobody_there_is_refused_and_named() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        check_refused(&free.into()).await;
        check_refused(&Addr::Unix("/nonexistent/socket".into())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_shared_between_the_addresses() {
        let now = Instant::now();
        assert_eq!(share_of(now + 3 * SECOND, 3), now + SECOND);
        assert_eq!(share_of(now, 2), now, "no time is left");
    }
}
