//! A pipe in the kernel, through which a stream goes from socket to socket without a visit to our memory (splice(2)).
//! Kind: driver.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::process::{Resource, getrlimit};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What a pipe is asked to hold: as much as one turn may carry.
pub const PIPE_BYTES: usize = super::TURN_BYTES;

/// Most pipes of one process. The kernel gives an ordinary user as many of this size (pipe(7), "pipe-user-pages-soft":
/// 16384 pages), and a client that takes nothing keeps its pipe.
const MOST_PIPES: u64 = 256;

/// Descriptors that the process may have for each of its pipes, which take two: the others are for clients.
const DESCRIPTORS: u64 = 32;

/// The pipes of this process.
static PIPES: AtomicU64 = AtomicU64::new(0);

/// Bytes under way between two sockets.
pub struct Pipe {
    from: OwnedFd,
    into: OwnedFd,
    held: usize,
    _place: Place,
}

/// One of the pipes that there may be.
struct Place;

impl Place {
    fn take() -> io::Result<Self> {
        static MOST: LazyLock<u64> = LazyLock::new(|| {
            let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            MOST_PIPES.min(descriptors / DESCRIPTORS)
        });
        let place = Self; // given back also if it is one too many
        match PIPES.fetch_add(1, Ordering::Relaxed) < *MOST {
            true => Ok(place),
            false => Err(io::ErrorKind::QuotaExceeded.into()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    /// There are as many as there may be, or no descriptors left: whoever wanted one copies.
    pub fn open() -> io::Result<Self> {
        let _place = Place::take()?;
        let (from, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = fcntl_setpipe_size(&into, PIPE_BYTES); // a smaller one carries the same bytes in more turns
        Ok(Self { from, into, held: 0, _place })
    }

    /// How many bytes are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes what the socket has, `most` bytes of it. Only for an empty pipe: to a full one splice answers as to a socket
    /// without bytes. `Ok(0)` is the peer's end of stream.
    ///
    /// # Errors
    /// The socket failed.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.held, 0);
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_io(Interest::READABLE, || carry(socket, &self.into, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => {
                    self.held = *taken.as_ref().unwrap_or(&0);
                    return Poll::Ready(taken);
                }
            }
        }
    }

    /// Gives the socket all that is in the pipe. Ready when it is empty.
    ///
    /// # Errors
    /// The socket failed.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, socket: &TcpStream) -> Poll<io::Result<()>> {
        while self.held > 0 {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || carry(&self.from, socket, self.held)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(given) => self.held -= given,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn carry(from: impl std::os::fd::AsFd, into: impl std::os::fd::AsFd, bytes: usize) -> io::Result<usize> {
    Ok(splice(from, None, into, None, bytes, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}
