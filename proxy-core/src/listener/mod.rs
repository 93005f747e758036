//! A listener: a bound socket, its accept loop, and admission. It promises that the loop ends only by drain: whatever
//! accept(2) says, and however short of descriptors the process is, it goes on taking clients, or turns them away in
//! the protocol's own words. Kind: driver.

mod accepted;
mod admission;
mod fault;
mod socket;

use std::{io, num::NonZeroUsize, os::fd::OwnedFd, sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus::IntCounterVec;
use rustix::io::Errno;
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{debug, info, warn};

pub use self::{accepted::Accepted, admission::Permit};
use self::{
    admission::Admission,
    fault::Reaction,
    socket::{Bound, SocketFile},
};
use crate::{
    drain::Watch,
    error::{Error, Side},
    metrics::Registry,
    net::{Addr, Peer, SocketOptions},
};

/// The first wait when the machine is short of something, and the longest; each doubles the one before.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// What a listener needs to know.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Its name in logs and metrics.
    pub name: String,
    /// Where: an IP address and port, or a unix socket.
    pub listen: Addr,
    /// How many connections may wait for us to accept them; the kernel caps it at net.core.somaxconn.
    pub backlog: i32,
    /// How many may be in at once.
    pub max_connections: usize,
    /// How many of them from one IP address (IPv6: from one /64 network).
    pub max_per_address: Option<NonZeroUsize>,
    /// The mode bits of a unix socket's file; `None` leaves them to the umask.
    pub unix_mode: Option<u32>,
    /// Keepalive and timeouts of the accepted sockets.
    pub options: SocketOptions,
    /// What the protocol says to those who can't be let in, before we close.
    pub refusal: Bytes,
}

impl ListenerConfig {
    /// The defaults: 10 000 connections, as many from one address as may come, closed without a word beyond that.
    pub fn new(name: impl Into<String>, listen: Addr) -> Self {
        Self {
            name: name.into(),
            listen,
            backlog: 4096,
            max_connections: 10_000,
            max_per_address: None,
            unix_mode: None,
            options: SocketOptions::default(),
            refusal: Bytes::new(),
        }
    }
}

/// A bound socket whose clients wait in the backlog until it is served.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    addr: Addr,
    file: Option<SocketFile>,
    gate: Gate,
}

impl Listener {
    /// Binds and listens; needs no runtime.
    ///
    /// # Errors
    /// `Config`, naming the listener and its address: in use, not ours, not permitted.
    pub fn bind(config: &ListenerConfig, registry: &Registry) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::config(error)
                .context(format!("listener {} can't listen on {}", config.name, config.listen))
        };
        let Bound { socket, addr, file } = socket::bind(config).map_err(failed)?;
        let reserve = Some(socket.try_clone().map_err(failed)?);
        Ok(Self { socket, addr, file, gate: Gate::new(config, registry, reserve) })
    }

    /// Where it listens; with port 0 asked for, the port that the kernel chose.
    pub fn local_addr(&self) -> &Addr {
        &self.addr
    }

    /// Accepts until the process drains, and hands each admitted connection to `dispatch`, which must not wait: it
    /// chooses a worker, or calls [`Accepted::refuse`]. On drain the socket is closed and its file removed.
    ///
    /// # Errors
    /// Only at the start: the runtime can't watch the socket.
    pub async fn serve(self, mut dispatch: impl FnMut(Accepted), mut drain: Watch) -> Result<(), Error> {
        let Self { socket, addr, file: _unlinked_at_the_end, mut gate } = self;
        let socket = watched(socket)
            .map_err(|error| Error::io(Side::Internal, error).context(format!("listening on {addr}")))?;
        info!(listener = gate.name, %addr, "listening");
        loop {
            // A turn waits before it accepts or after it has failed to, so dropping it loses nobody.
            tokio::select! {
                biased;
                () = drain.draining() => break,
                () = gate.turn(&socket, &mut dispatch) => (),
            }
        }
        info!(listener = gate.name, %addr, "no longer listening");
        Ok(())
    }
}

/// Lets the runtime watch the socket. Not tokio's own listeners: they would bind each accepted socket to the control
/// runtime first, at the price of two system calls for a hand-over.
#[allow(deprecated, reason = "the successor is unsafe, for types that aren't I/O-safe; `OwnedFd` is")]
fn watched(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Lets clients in, or turns them away, one at a time.
#[derive(Debug)]
struct Gate {
    name: String,
    refusal: Bytes,
    admission: Arc<Admission>,
    /// A descriptor kept for the day when there are none left: closing it makes room to accept one client, only to
    /// tell it so. Any descriptor does; this one needs no file system.
    reserve: Option<OwnedFd>,
    /// The wait after the next failure; `None` while all is well.
    pause: Option<Duration>,
    refused: IntCounterVec,
    errors: IntCounterVec,
}

impl Gate {
    fn new(config: &ListenerConfig, registry: &Registry, reserve: Option<OwnedFd>) -> Self {
        let refused = "Connections turned away, by the limit that bit";
        let errors = "Errors of accept, by what we did about it";
        Self {
            name: config.name.clone(),
            refusal: config.refusal.clone(),
            admission: Admission::new(config.max_connections, config.max_per_address),
            reserve,
            pause: None,
            refused: registry.counter_vec("listener_refused_total", refused, &["listener", "reason"]),
            errors: registry.counter_vec("listener_accept_errors_total", errors, &["listener", "reaction"]),
        }
    }

    /// Accepts one connection, or lives through one failure to.
    async fn turn(&mut self, listener: &AsyncFd<OwnedFd>, dispatch: &mut impl FnMut(Accepted)) {
        match listener.async_io(Interest::READABLE, socket::accept).await {
            Ok((socket, peer)) => {
                self.recovered();
                self.admit(socket, peer, dispatch);
            }
            Err(error) => self.survive(&error, listener).await,
        }
    }

    fn admit(&self, socket: OwnedFd, peer: Peer, dispatch: &mut impl FnMut(Accepted)) {
        match self.admission.admit(peer) {
            Ok(permit) => dispatch(Accepted { socket, peer, permit, refusal: self.refusal.clone() }),
            Err(full) => {
                debug!(listener = self.name, %peer, reason = full.label(), "refused");
                self.turn_away(socket, full.label());
            }
        }
    }

    fn turn_away(&self, socket: OwnedFd, reason: &str) {
        self.refused.with_label_values(&[self.name.as_str(), reason]).inc();
        accepted::refuse(&socket, &self.refusal);
    }

    async fn survive(&mut self, error: &io::Error, listener: &AsyncFd<OwnedFd>) {
        let reaction = fault::judge(Errno::from_io_error(error));
        self.errors.with_label_values(&[self.name.as_str(), reaction.label()]).inc();
        match reaction {
            Reaction::Next => debug!(listener = self.name, %error, "a connection died in the backlog"),
            Reaction::Shed if self.shed(listener) => self.complain(error),
            Reaction::Shed | Reaction::Pause => self.pause(error).await,
        }
    }

    /// Gives the reserved descriptor for telling one client that there is no room. Another thread may snatch it: then
    /// nobody was turned away, and the loop has to wait instead.
    fn shed(&mut self, listener: &AsyncFd<OwnedFd>) -> bool {
        self.reserve = None;
        let accepted = socket::accept(listener.get_ref());
        let shed = accepted.map(|(socket, _)| self.turn_away(socket, "descriptors")).is_ok();
        self.reserve = listener.get_ref().try_clone().ok();
        shed
    }

    async fn pause(&mut self, error: &io::Error) {
        self.complain(error);
        let pause = self.pause.unwrap_or(PAUSE.0);
        self.pause = Some((pause * 2).min(PAUSE.1));
        tokio::time::sleep(pause).await;
    }

    /// One line when the trouble begins, and one when it is over, however many clients it cost.
    fn complain(&mut self, error: &io::Error) {
        if self.pause.is_none() {
            warn!(listener = self.name, %error, "can't accept: turning clients away or making them wait");
            self.pause = Some(PAUSE.0);
        }
    }

    fn recovered(&mut self) {
        if self.pause.take().is_some() {
            info!(listener = self.name, "accepting again");
        }
    }
}

#[cfg(test)]
mod tests;
