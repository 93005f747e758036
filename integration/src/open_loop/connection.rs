//! One connection of the load client, plain or encrypted, that never blocks. Kind: driver.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Talk;
use super::exchange::http_length;
use crate::error::{Context, Error, Result};
use crate::redis::resp;

/// A server that is up answers a connection and an `AUTH` at once, even the five-thousandth.
const PATIENCE: Duration = Duration::from_secs(10);

/// Encryption for all connections of a client: sessions are resumed as with any real client library.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Believes what this authority has signed.
    pub(super) fn trusting(ca: &Path) -> Result<Self> {
        let wrong = |e: &dyn std::fmt::Display| Error::new(format!("{}: {e}", ca.display()));
        let ca = CertificateDer::from_pem_file(ca).map_err(|e| wrong(&e))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|e| wrong(&e))?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connected socket that has logged in.
pub(super) struct Connection(Wire);

impl Connection {
    /// Connects, encrypts, and says what comes first: `AUTH` where it is wanted, or a first request. Returns the length
    /// of an answer, as far as the server alone knows it.
    pub(super) fn open(addr: SocketAddr, tls: Option<&Tls>, talk: &Talk) -> Result<(Self, usize)> {
        let socket = TcpStream::connect_timeout(&addr, PATIENCE).context(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let wire = match tls {
            None => Wire::Plain(socket),
            Some(tls) => {
                let session = ClientConnection::new(tls.0.clone(), ServerName::from(addr.ip()))
                    .map_err(|e| Error::new(format!("{addr}: {e}")))?;
                Wire::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        let mut connection = Self(wire);
        let length = match talk {
            Talk::Redis { password: Some(password), .. } => connection.log_in(password).map(|()| 0),
            Talk::Redis { .. } => Ok(0),
            Talk::Http { request } => connection.ask(request),
        };
        let length = length.context(addr)?;
        connection.socket().set_nonblocking(true)?;
        Ok((connection, length))
    }

    /// A request and its whole answer.
    fn ask(&mut self, request: &str) -> Result<usize> {
        self.stream().write_all(request.as_bytes())?;
        self.stream().flush()?;
        let (mut answer, mut piece) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let read = self.stream().read(&mut piece)?;
            answer.extend_from_slice(&piece[..read]);
            let length = http_length(&answer).map_err(|_| Error::new(String::from_utf8_lossy(&answer)))?;
            match length {
                Some(length) if answer.len() >= length => return Ok(length),
                _ if read == 0 => return Err(Error::new("the connection ended within the first answer")),
                _ => {}
            }
        }
    }

    fn log_in(&mut self, password: &str) -> Result<()> {
        let mut request = Vec::new();
        resp::request_of(&mut request, &["AUTH", password]);
        self.stream().write_all(&request)?;
        self.stream().flush()?;
        let mut answer = [0; 5];
        self.stream().read_exact(&mut answer)?;
        if answer == *b"+OK\r\n" { Ok(()) } else { Err(Error::new("AUTH was refused")) }
    }

    fn stream(&mut self) -> &mut dyn ReadWrite {
        match &mut self.0 {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => stream,
        }
    }

    fn socket(&self) -> &TcpStream {
        match &self.0 {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// Reads once; none when there is nothing. `Some(0)` is the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(match &mut self.0 {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        })
    }

    /// Whether more may be there although the socket has nothing: what TLS has decrypted ahead.
    pub(super) fn may_hold_more(&self, read: usize, asked: usize) -> bool {
        read == asked || matches!(self.0, Wire::Tls(_))
    }

    /// Writes once; says how many bytes were taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_blocked(match &mut self.0 {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        })
        .map(Option::unwrap_or_default)
    }

    /// True when everything that was taken is with the kernel.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Wire::Plain(_) => Ok(true),
            Wire::Tls(stream) => unless_blocked(stream.flush()).map(|flushed| flushed.is_some()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn unless_blocked<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}
