//! One byte stream, whatever carries it: TCP, a unix socket, or TLS over either. An enum, so that the hot path is a
//! branch and not a virtual call; TLS is boxed, so that an idle plain connection doesn't pay for it. Kind: driver.

use std::{
    fmt, io,
    io::IoSlice,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, SendFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

/// A connection's byte stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over one of the others, from either side of the handshake.
    Tls(Box<TlsStream<Self>>),
}

/// Who is at one end of a connection. IPv4 addresses are never written as IPv6 (`::ffff:…`), so that limits and trusted
/// networks see one client as one address whatever the socket's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A process of this machine, through a unix socket.
    Unix,
}

impl Peer {
    /// The IP address; `None` for a unix socket.
    pub fn ip(self) -> Option<IpAddr> {
        self.addr().map(|addr| addr.ip())
    }

    /// The IP address and port; `None` for a unix socket.
    pub fn addr(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(addr),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Stream {
    /// Who is at the other end of the socket (a proxy, when there is one in between).
    pub fn peer(&self) -> io::Result<Peer> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().map(Peer::from),
            Self::Unix(_) => Ok(Peer::Unix),
            Self::Tls(tls) => tls.get_ref().0.peer(),
        }
    }

    /// Our own end of the socket.
    pub fn local(&self) -> io::Result<Peer> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().map(Peer::from),
            Self::Unix(_) => Ok(Peer::Unix),
            Self::Tls(tls) => tls.get_ref().0.local(),
        }
    }

    /// The socket, if it is plain TCP: what the kernel can pass on by itself.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Unix(_) | Self::Tls(_) => None,
        }
    }

    /// Whether what passes is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The protocol that the TLS handshake agreed on (ALPN, RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Waits for bytes and copies them without taking them; 0 means that the other side has closed.
    ///
    /// # Errors
    /// Those of the socket; `Unsupported` on TLS, where the socket's bytes aren't the stream's.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.peek(buf).await,
            Self::Unix(unix) => unix.async_io(Interest::READABLE, || peek_fd(unix.as_fd(), buf)).await,
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn peek_fd(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let (copied, _) = rustix::net::recv(fd, buf, RecvFlags::PEEK)?;
    Ok(copied)
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
            Self::Tls(tls) => tls.get_ref().0.as_fd(),
        }
    }
}

/// Reads once. In tokio's own way each read and each write goes by a function of the C library at which a thread may be
/// cancelled: two locked instructions for what nobody here does. So the kernel is called directly.
#[inline]
fn poll_recv(tcp: &TcpStream, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let into = buf.initialize_unfilled();
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        if let Some(received) = once(tcp, Interest::READABLE, into.len(), || {
            rustix::net::recv(tcp, &mut *into, RecvFlags::empty()).map(|(received, _)| received)
        })? {
            buf.advance(received);
            return Poll::Ready(Ok(()));
        }
    }
}

/// A write of so many bytes counts against its task's turn (tokio's `coop`), or a peer that keeps up with a file would be
/// sent all of it while others wait. Short ones come of something that was read, which has counted.
const LONG: usize = 16 * 1024;

/// Slices that one call takes (`IOV_MAX`, writev(2)).
const SLICES: usize = 1024;

/// Writes once, as [`poll_recv`] reads. Nearly always there is room: for a short write, whether there is, is asked only if
/// not.
#[inline]
fn poll_send(tcp: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    if bytes.len() >= LONG {
        ready!(tcp.poll_write_ready(cx))?;
    }
    loop {
        let send = || rustix::net::send(tcp, bytes, SendFlags::NOSIGNAL);
        if let Some(sent) = once(tcp, Interest::WRITABLE, bytes.len(), send)? {
            return Poll::Ready(Ok(sent));
        }
        ready!(tcp.poll_write_ready(cx))?;
    }
}

/// Writes several slices at once, as [`poll_send`] writes one; for a single one, which is all that TLS mostly has, that
/// costs the kernel less.
#[inline]
fn poll_gather(tcp: &TcpStream, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    if let [bytes] = slices {
        return poll_send(tcp, cx, bytes);
    }
    let slices = &slices[..slices.len().min(SLICES)];
    let room = slices.iter().map(|slice| slice.len()).sum();
    if room >= LONG {
        ready!(tcp.poll_write_ready(cx))?;
    }
    loop {
        if let Some(sent) = once(tcp, Interest::WRITABLE, room, || rustix::io::writev(tcp, slices))? {
            return Poll::Ready(Ok(sent));
        }
        ready!(tcp.poll_write_ready(cx))?;
    }
}

/// Calls the kernel once; `None`: the socket is not ready after all.
///
/// Whoever gets less than there was room for has emptied (or filled) the socket's buffer: the socket then counts as not
/// ready, so that the next look at it costs no call. The kernel tells when that changes (epoll(7), "edge-triggered").
/// The end of the stream is not told twice, so that it stays ready.
#[inline]
fn once(
    tcp: &TcpStream,
    interest: Interest,
    room: usize,
    call: impl FnOnce() -> rustix::io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut moved = None;
    let tried = tcp.try_io(interest, || {
        let bytes = call()?;
        moved = Some(bytes);
        if bytes > 0 && bytes < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match tried {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(moved),
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => poll_recv(tcp, cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => poll_send(tcp, cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => poll_gather(tcp, cx, bufs),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        }
    }

    /// All three gather: sockets by `writev`, TLS into one record.
    #[inline]
    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_plain_stream_stays_small() {
        assert!(size_of::<Stream>() <= 48, "{} bytes in every idle session", size_of::<Stream>());
    }

    #[test]
    fn a_mapped_ipv4_address_is_an_ipv4_address() {
        let peer = Peer::from("[::ffff:10.0.0.1]:9".parse::<SocketAddr>().unwrap());
        assert_eq!(peer.to_string(), "10.0.0.1:9");
        assert_eq!(Peer::Unix.ip(), None);
    }

    #[tokio::test]
    async fn peek_leaves_the_bytes_where_they_are() {
        let (left, mut right) = UnixStream::pair().unwrap();
        let mut left = Stream::from(left);
        right.write_all(b"abc").await.unwrap();
        let mut buf = [0; 8];
        assert_eq!(left.peek(&mut buf).await.unwrap(), 3);
        assert_eq!(left.read(&mut buf).await.unwrap(), 3);
        assert_eq!(left.peer().unwrap(), Peer::Unix);
        drop(right);
        assert_eq!(left.peek(&mut buf).await.unwrap(), 0, "closed");
    }
}
