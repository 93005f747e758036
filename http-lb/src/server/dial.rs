//! Opening a connection, with the first bytes already on it. Kind: driver.
//!
//! A replica that closes after each answer (gunicorn's sync workers) costs a connection per request, so that each system
//! call counts. None sets an option before there is need for it, and the request is written right behind connect(2): over
//! loopback and unix sockets the connection stands by then, and no turn of the event loop is spent on hearing so. Where
//! it does not stand yet, the kernel takes nothing (EAGAIN) and we wait.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use proxy_core::link::Link;
use proxy_core::net::{self, Addr, SocketOptions, Stream};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send,
    sendmsg, socket_with,
};

/// How long names may take to be resolved and connected to. Discovery gives addresses; a name is a rare guest here.
const BY_NAME: Duration = Duration::from_secs(5);

/// A connection, and how many of the bytes offered are on their way.
pub struct Dialled {
    /// The connection.
    pub link: Link,
    /// Bytes that the kernel took; the rest is the caller's to send.
    pub sent: usize,
}

/// The replica could not be reached: nothing was sent, so that the request may go to any other.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(#[from] pub io::Error);

/// Connects to `addr` and sends as much of `parts` as the kernel takes at once: something, unless they are empty.
///
/// # Errors
/// Nobody answers there; nothing was sent.
pub async fn dial(addr: &Addr, parts: [&[u8]; 2]) -> Result<Dialled, Unreachable> {
    let opened = match addr {
        Addr::Unix(path) => open_unix(path)?,
        Addr::Tcp { .. } => match addr.socket_addr() {
            Some(ip) => open_tcp(ip)?,
            None => return Box::pin(dial_name(addr, parts)).await,
        },
    };
    let sent = send_at_once(&opened, parts)?;
    let stream = match addr {
        Addr::Unix(_) => Stream::from(tokio::net::UnixStream::from_std(UnixStream::from(opened))?),
        Addr::Tcp { .. } => Stream::from(tokio::net::TcpStream::from_std(TcpStream::from(opened))?),
    };
    send_first(Link::new(stream, &[]), parts, sent).await
}

#[cold]
async fn dial_name(addr: &Addr, parts: [&[u8]; 2]) -> Result<Dialled, Unreachable> {
    let stream = net::connect(addr, &SocketOptions::default(), BY_NAME).await.map_err(io::Error::other)?;
    send_first(Link::new(stream, &[]), parts, 0).await
}

/// Waits, if nothing is sent yet, until something is: then the connection stands.
pub(super) async fn send_first(
    mut link: Link,
    parts: [&[u8]; 2],
    sent: usize,
) -> Result<Dialled, Unreachable> {
    let all = parts[0].len() + parts[1].len();
    if sent > 0 || all == 0 {
        return Ok(Dialled { link, sent });
    }
    let sent = poll_fn(|cx| link.poll_gather(cx, &parts.map(IoSlice::new))).await?;
    Ok(Dialled { link, sent })
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn open_tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
    match connect(&socket, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// A unix socket connects at once or not at all: EAGAIN is a full backlog (unix(7)).
fn open_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// What the kernel takes now; nothing while the connection does not stand (EAGAIN).
fn send_at_once(socket: &OwnedFd, parts: [&[u8]; 2]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = match parts {
        [whole, []] => send(socket, whole, flags),
        parts => sendmsg(socket, &parts.map(IoSlice::new), &mut SendAncillaryBuffer::default(), flags),
    };
    match sent {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    #[tokio::test]
    async fn the_request_is_there_with_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = Addr::from(listener.local_addr().unwrap());
        let Dialled { link, sent } = dial(&addr, [b"GET / ", b"HTTP/1.1"]).await.unwrap();
        assert_eq!(sent, 14);
        drop(link);
        let (mut far, mut heard) = (listener.accept().await.unwrap().0, String::new());
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "GET / HTTP/1.1");
    }

    #[tokio::test]
    async fn a_unix_socket_is_dialled_likewise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let Dialled { link, sent } = dial(&Addr::Unix(path), [b"GET", b""]).await.unwrap();
        assert_eq!(sent, 3);
        drop(link);
        let (mut far, mut heard) = (listener.accept().await.unwrap().0, String::new());
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "GET");
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addr = Addr::Tcp { host: "localhost".into(), port };
        assert_eq!(dial(&addr, [b"GET", b""]).await.unwrap().sent, 3);
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(dial(&free.into(), [b"GET", b""]).await.is_err());
        assert!(dial(&Addr::Unix("/nonexistent/socket".into()), [b"GET", b""]).await.is_err());
    }
}
