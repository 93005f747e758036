//! `stack upstream`: an HTTP server that costs next to nothing, so that a bench measures who stands before it. It reads
//! whole requests and answers each with the same 60 bytes, keeping the connection or, as gunicorn's sync workers do,
//! closing it. A head is searched by vectors: with a slow search the bench would tell who sends the shorter heads.
//! Kind: driver.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use memchr::memmem;
use rustix::event::epoll;

use crate::{
    Context, Result,
    measure::ProcessSet,
    process::{Process, Spec, free_port},
    wait::eventually,
};

/// Options of `stack upstream`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where it listens
    listen: SocketAddr,
    /// Close each connection behind its first answer
    #[arg(long)]
    close: bool,
}

/// Bytes per read: heads are short, and bodies in benches too.
const READ: usize = 16 * 1024;
/// A head that is longer has no end.
const HEAD: usize = 64 * 1024;
/// Events that one look takes.
const EVENTS: usize = 256;
/// The listener among the connections.
const LISTENER: u64 = u64::MAX;
const SOON: Duration = Duration::from_secs(10);

/// Serves until it is killed.
pub fn run(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen).context(args.listen)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
    watch(&poll, &listener, LISTENER)?;
    let mut server = Server { listener, poll, connections: Vec::new(), free: Vec::new(), close: args.close };
    server.serve()
}

/// A running one, as a process of its own: what it costs is nobody else's.
#[derive(Debug)]
pub struct Upstream {
    process: Process,
    addr: SocketAddr,
}

impl Upstream {
    /// Starts this very program as one.
    pub fn start(close: bool) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let program = std::env::current_exe()?.to_string_lossy().into_owned();
        let args =
            ["upstream".to_string(), addr.to_string()].into_iter().chain(close.then(|| "--close".into()));
        let process = Process::spawn(&Spec::new(program).args(args))?;
        eventually(SOON, "the upstream", || TcpStream::connect(addr).map(drop).map_err(|e| e.to_string()))?;
        Ok(Self { process, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Itself.
    pub fn processes(&self) -> ProcessSet {
        ProcessSet::of([self.process.pid()])
    }
}

struct Server {
    listener: TcpListener,
    poll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    close: bool,
}

struct Connection {
    stream: TcpStream,
    /// What came of a head that is not whole yet.
    head: Vec<u8>,
    /// What is missing of a body.
    body: usize,
}

impl Server {
    fn serve(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; READ];
        loop {
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(io::Error::from(e).into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    number => self.look(number as usize, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or(self.connections.len());
            watch(&self.poll, &stream, number as u64)?;
            let connection = Some(Connection { stream, head: Vec::new(), body: 0 });
            match self.connections.get_mut(number) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
        }
        Ok(())
    }

    fn look(&mut self, number: usize, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else { return };
        if connection.talk(buffer, self.close).is_err() {
            self.connections[number] = None;
            self.free.push(number);
        }
    }
}

impl Connection {
    /// Reads once and answers what is whole; an error is the end of the connection.
    fn talk(&mut self, buffer: &mut [u8], close: bool) -> io::Result<()> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        let whole = self.hear(&buffer[..read])?;
        for _ in 0..whole {
            // An answer always fits: the client has read the one before.
            self.stream.write_all(if close { LAST } else { ANSWER })?;
        }
        if close && whole > 0 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// How many requests are whole by these bytes.
    fn hear(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let mut whole = 0;
        while !bytes.is_empty() {
            if self.body > 0 {
                let taken = self.body.min(bytes.len());
                (self.body, bytes) = (self.body - taken, &bytes[taken..]);
                whole += usize::from(self.body == 0);
                continue;
            }
            // An end may lie across two reads: three bytes of the earlier one are enough.
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let from = before.saturating_sub(3);
            let Some(end) = memmem::find(&self.head[from..], b"\r\n\r\n") else {
                return if self.head.len() > HEAD {
                    Err(io::ErrorKind::InvalidData.into())
                } else {
                    Ok(whole)
                };
            };
            let end = from + end + 4;
            self.body = body(&self.head[..end]);
            bytes = &bytes[end - before..];
            self.head.clear();
            whole += usize::from(self.body == 0);
        }
        Ok(whole)
    }
}

/// The length of a request's body. Proxies send it: chunked bodies are none of a bench's business.
fn body(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let begins = |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let line = memchr::memchr_iter(b'\n', head).map(|end| &head[end + 1..]).find(begins);
    let value = line.and_then(|line| line[NAME.len()..].split(|byte| *byte == b'\r').next());
    value.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok()).unwrap_or(0)
}

fn watch(poll: &OwnedFd, what: &impl AsFd, number: u64) -> Result<()> {
    let data = epoll::EventData::new_u64(number);
    epoll::add(poll, what, data, epoll::EventFlags::IN).map_err(io::Error::from).context("epoll")
}

/// What an application says, in short.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Length: 60\r\n\r\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: text/plain; charset=utf-8\r\n\
Connection: close\r\nContent-Length: 60\r\n\r\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requests: &str, whole: usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for cut in 0..requests.len() {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut connection = Connection { stream, head: Vec::new(), body: 0 };
            let first = connection.hear(&requests.as_bytes()[..cut]).unwrap();
            let second = connection.hear(&requests.as_bytes()[cut..]).unwrap();
            assert_eq!(first + second, whole, "cut at {cut}");
        }
    }

    #[test]
    fn requests_are_counted_however_they_are_split() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
        check("POST / HTTP/1.1\r\nContent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", 2);
        check("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc", 0);
    }

    #[test]
    fn answers_are_as_long_as_they_say() {
        for answer in [ANSWER, LAST] {
            let text = std::str::from_utf8(answer).unwrap();
            assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 60);
        }
    }
}
