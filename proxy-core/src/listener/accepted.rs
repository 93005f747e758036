//! A socket on its way from the acceptor's thread to a worker: bound to no runtime yet. Kind: driver.

use std::{
    io, net,
    os::{
        fd::{AsFd, OwnedFd},
        unix,
    },
};

use bytes::Bytes;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::admission::Permit;
use crate::net::{Peer, Stream};

/// How many reads of what a refused client had already sent.
const FAREWELL_READS: usize = 8;

/// An accepted connection with its place behind the listener. Dropped, it closes without a word; [`Self::refuse`]
/// closes with one.
#[derive(Debug)]
pub struct Accepted {
    pub(super) socket: OwnedFd,
    pub(super) peer: Peer,
    pub(super) permit: Permit,
    pub(super) refusal: Bytes,
}

impl Accepted {
    /// Who has connected.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Takes the connection into the runtime of the calling thread. The permit is to be kept as long as the session.
    ///
    /// # Errors
    /// The runtime can't watch the socket: the machine is out of something.
    pub fn into_stream(self) -> io::Result<(Stream, Peer, Permit)> {
        let stream = match self.peer {
            Peer::Tcp(_) => tokio::net::TcpStream::from_std(net::TcpStream::from(self.socket))?.into(),
            Peer::Unix => tokio::net::UnixStream::from_std(unix::net::UnixStream::from(self.socket))?.into(),
        };
        Ok((stream, self.peer, self.permit))
    }

    /// Turns the client away with the protocol's words for "not now", because no worker has room.
    pub fn refuse(self) {
        refuse(&self.socket, &self.refusal);
    }
}

/// Says the refusal without waiting, and closes our side. What the client had already sent is read first: a close
/// with unread bytes is a reset (RFC 2525 section 2.17), which can overtake the refusal. Best effort by intent: there
/// is nobody to tell that a refusal failed.
pub(super) fn refuse(socket: &impl AsFd, refusal: &[u8]) {
    let mut unread = [0; 1024];
    let _ = rustix::net::send(socket, refusal, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
    for _ in 0..FAREWELL_READS {
        match rustix::net::recv(socket, &mut unread, RecvFlags::DONTWAIT) {
            Ok((_, read)) if read > 0 => (),
            _ => break,
        }
    }
}
