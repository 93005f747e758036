//! A TCP relay that makes faults on demand: put it between two programs, and the wire between them can be cut,
//! stalled, slowed and reset while they talk. It runs on a thread of its own. Kind: driver.

use crate::{Context, Result};
use std::{net::SocketAddr, thread, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
};

/// One piece of what is forwarded at a time: small, so that a slow wire is evenly slow.
const PIECE: usize = 4096;

/// How the relay treats bytes and newcomers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Forwards as they come.
    None,
    /// Keeps connections, accepts new ones, forwards nothing: a hang, or a partition.
    Stall,
    /// Holds every piece back for this long.
    Delay(Duration),
    /// Forwards at most this many bytes a second in each direction.
    Slow(u32),
    /// Closes newcomers at once; who is there already stays.
    Refuse,
}

/// How open connections end.
#[derive(Debug, Clone, Copy)]
enum End {
    Fin,
    Rst,
}

/// A relay in front of one server. Dropping it closes everything.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    fault: watch::Sender<Fault>,
    end: broadcast::Sender<End>,
}

impl Relay {
    /// Listens on a free loopback port and forwards to `upstream`.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("relay")?;
        let addr = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let (end, _) = broadcast::channel(8);
        let ends = end.clone();
        thread::Builder::new()
            .name("relay".into())
            .spawn(move || runtime.block_on(serve(listener, upstream, faults, ends.downgrade())))?;
        Ok(Self { addr, fault, end })
    }

    /// Where to connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on, for old and new connections alike.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Ends every open connection in order, both ways.
    pub fn cut(&self) {
        let _ = self.end.send(End::Fin); // nobody listening: nothing open
    }

    /// Ends every open connection by RST, both ways.
    pub fn reset(&self) {
        let _ = self.end.send(End::Rst);
    }
}

type Faults = watch::Receiver<Fault>;

/// Accepts until the relay is dropped; the runtime then ends with it, and every connection with the runtime.
async fn serve(
    listener: TcpListener,
    upstream: SocketAddr,
    faults: Faults,
    ends: broadcast::WeakSender<End>,
) {
    let mut dropped = faults.clone();
    let gone = async move { while dropped.changed().await.is_ok() {} };
    tokio::pin!(gone);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut gone => return,
        };
        let (Ok((downstream, _)), Some(ends)) = (accepted, ends.upgrade()) else { continue };
        if *faults.borrow() != Fault::Refuse {
            tokio::spawn(connect(downstream, upstream, faults.clone(), ends.subscribe()));
        }
    }
}

async fn connect(down: TcpStream, upstream: SocketAddr, faults: Faults, mut ends: broadcast::Receiver<End>) {
    let Ok(up) = TcpStream::connect(upstream).await else { return };
    let _ = (down.set_nodelay(true), up.set_nodelay(true));
    let (mut down, mut up) = (down, up);
    let end = {
        let ((down_read, down_write), (up_read, up_write)) = (down.split(), up.split());
        let both = async {
            tokio::join!(pump(down_read, up_write, faults.clone()), pump(up_read, down_write, faults))
        };
        tokio::select! {
            _ = both => End::Fin,
            end = ends.recv() => end.unwrap_or(End::Fin),
        }
    };
    if let End::Rst = end {
        let _ = (down.set_zero_linger(), up.set_zero_linger());
    } else {
        let _ = (down.shutdown().await, up.shutdown().await);
    }
}

/// One direction, until its end of file, which is passed on: each direction closes by itself.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut faults: Faults) {
    let mut piece = [0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        suffer(length, &mut faults).await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    suffer(0, &mut faults).await;
    let _ = to.shutdown().await;
}

/// Waits as long as the fault of the moment makes a piece of `length` bytes wait. A stall ends with a new fault.
async fn suffer(length: usize, faults: &mut Faults) {
    let fault = faults.wait_for(|fault| *fault != Fault::Stall).await.map_or(Fault::None, |fault| *fault);
    match fault {
        Fault::Delay(delay) => tokio::time::sleep(delay).await,
        Fault::Slow(rate) => {
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / f64::from(rate.max(1)))).await
        }
        Fault::None | Fault::Refuse | Fault::Stall => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{ErrorKind, Read, Write},
        net,
        time::Instant,
    };

    /// An echo server, a relay in front of it, and a client that was echoed once.
    fn echo() -> (Relay, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        let relay = Relay::start(addr).unwrap();
        let mut client = net::TcpStream::connect(relay.addr()).unwrap();
        assert_eq!(ping(&mut client).unwrap(), *b"ping");
        (relay, client)
    }

    fn ping(client: &mut net::TcpStream) -> std::io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        client.write_all(b"ping")?;
        client.read_exact(&mut answer).map(|()| answer)
    }

    #[test]
    fn a_stall_ends_without_loss() {
        let (relay, mut client) = echo();
        relay.set(Fault::Stall);
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(ping(&mut client).unwrap_err().kind(), ErrorKind::WouldBlock);
        relay.set(Fault::None);
        client.set_read_timeout(None).unwrap();
        let mut late = [0; 4];
        client.read_exact(&mut late).unwrap();
        assert_eq!(late, *b"ping");
    }

    #[test]
    fn a_delay_is_suffered_both_ways() {
        let (relay, mut client) = echo();
        relay.set(Fault::Delay(Duration::from_millis(30)));
        let start = Instant::now();
        ping(&mut client).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn a_cut_is_an_end_of_file() {
        let (relay, mut client) = echo();
        relay.cut();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_reset_is_an_error() {
        let (relay, mut client) = echo();
        relay.reset();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn newcomers_may_be_refused() {
        let (relay, mut old) = echo();
        relay.set(Fault::Refuse);
        let mut newcomer = net::TcpStream::connect(relay.addr()).unwrap();
        assert!(ping(&mut newcomer).is_err());
        ping(&mut old).unwrap();
    }

    #[test]
    fn a_half_close_is_passed_on() {
        let (_relay, client) = echo();
        client.shutdown(net::Shutdown::Write).unwrap();
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }
}
