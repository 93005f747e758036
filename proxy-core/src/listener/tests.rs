//! The accept loop on loopback, with real clients. Kind: driver.

use std::{process::Command, sync::mpsc};

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use super::*;
use crate::{drain::Drain, net::Stream};

const REFUSAL: &[u8] = b"sorry, too many";

fn config(listen: &str) -> ListenerConfig {
    let refusal = Bytes::from_static(REFUSAL);
    ListenerConfig { refusal, ..ListenerConfig::new("test", listen.parse().unwrap()) }
}

/// A listener that is being served, and the connections that it has let in.
struct Served {
    addr: Addr,
    accepted: mpsc::Receiver<Accepted>,
    drain: Drain,
    registry: Registry,
}

/// Runs `script` beside the accept loop of a listener, and then the loop to its end.
async fn serving(config: ListenerConfig, script: impl AsyncFnOnce(&Served)) {
    let (drain, registry) = (Drain::new(), Registry::new("test", "0"));
    let listener = Listener::bind(&config, &registry).unwrap();
    let (sender, accepted) = mpsc::channel();
    let served = Served { addr: listener.local_addr().clone(), accepted, drain, registry };
    let accepting = listener.serve(move |accepted| sender.send(accepted).unwrap(), served.drain.watch());
    let script = async {
        script(&served).await;
        served.drain.begin();
    };
    let (ended, ()) = tokio::join!(accepting, script);
    ended.unwrap();
}

impl Served {
    async fn connect(&self) -> Stream {
        match &self.addr {
            Addr::Unix(path) => UnixStream::connect(path).await.unwrap().into(),
            addr => TcpStream::connect(addr.socket_addr().unwrap()).await.unwrap().into(),
        }
    }

    /// Connects and waits until the accept loop has let this client in.
    async fn enter(&self) -> (Stream, Accepted) {
        let client = self.connect().await;
        loop {
            match self.accepted.try_recv() {
                Ok(accepted) => return (client, accepted),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn check_refused(&self, reason: &str) {
        assert_eq!(last_words(self.connect().await).await, REFUSAL);
        let line = format!(r#"test_listener_refused_total{{listener="test",reason="{reason}"}}"#);
        assert!(self.registry.exposition().contains(&line), "{line} is counted");
        assert!(self.accepted.try_recv().is_err(), "not dispatched");
    }
}

async fn last_words(mut client: Stream) -> Vec<u8> {
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    heard
}

#[tokio::test]
async fn a_full_listener_says_so_and_a_freed_place_is_taken() {
    let config = ListenerConfig { max_connections: 1, ..config("127.0.0.1:0") };
    serving(config, async |served| {
        let first = served.enter().await;
        served.check_refused("max_connections").await;
        let (_, _, permit) = first.1.into_stream().unwrap();
        served.check_refused("max_connections").await;
        drop(permit);
        served.enter().await;
    })
    .await;
}

#[tokio::test]
async fn one_address_can_not_take_all_places() {
    let config = ListenerConfig { max_per_address: NonZeroUsize::new(1), ..config("127.0.0.1:0") };
    serving(config, async |served| {
        let first = served.enter().await;
        served.check_refused("max_per_address").await;
        drop(first);
        served.enter().await;
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_after_the_hand_over_to_another_thread() {
    serving(config("[::1]:0"), async |served| {
        let (mut client, accepted) = served.enter().await;
        client.write_all(b"hello").await.unwrap();
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let (mut stream, peer, _permit) = accepted.into_stream().unwrap();
                let mut heard = [0; 5];
                stream.read_exact(&mut heard).await.unwrap();
                (heard, peer, stream.local().unwrap())
            })
        });
        let (heard, peer, local) = worker.join().unwrap();
        assert_eq!(&heard, b"hello");
        assert_eq!((peer, local), (client.local().unwrap(), client.peer().unwrap()));
    })
    .await;
}

#[tokio::test]
async fn whom_no_worker_can_take_is_turned_away_politely() {
    serving(config("127.0.0.1:0"), async |served| {
        let (mut client, accepted) = served.enter().await;
        client.write_all(b"what the client says first is no reason for a reset").await.unwrap();
        accepted.refuse();
        assert_eq!(last_words(client).await, REFUSAL);
    })
    .await;
}

#[tokio::test]
async fn a_unix_socket_is_served_and_its_file_removed_on_drain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let config = ListenerConfig { max_connections: 1, ..config(path.to_str().unwrap()) };
    serving(config, async |served| {
        let (_client, accepted) = served.enter().await;
        assert_eq!(accepted.peer(), Peer::Unix);
        served.check_refused("max_connections").await;
    })
    .await;
    assert!(!path.exists());
}

/// The loop can be an essential task, and what it yields can go to another thread.
fn check_send(_: &impl Send) {}

#[tokio::test]
async fn draining_stops_accepting_and_leaves_who_is_in() {
    let drain = Drain::new();
    let listener = Listener::bind(&config("127.0.0.1:0"), &Registry::new("test", "0")).unwrap();
    let addr = listener.local_addr().socket_addr().unwrap();
    let mut client = TcpStream::connect(addr).await.unwrap();
    let mut inside = None;
    let dispatch = |accepted| {
        inside = Some(accepted);
        drain.begin();
    };
    let accepting = listener.serve(dispatch, drain.watch());
    check_send(&accepting);
    accepting.await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    let (mut stream, _, _permit) = inside.unwrap().into_stream().unwrap();
    stream.write_all(b"still here").await.unwrap();
    drop(stream);
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "still here");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let registry = Registry::new("test", "0");
    let first = Listener::bind(&config("127.0.0.1:0"), &registry).unwrap();
    let again = ListenerConfig { listen: first.local_addr().clone(), ..config("127.0.0.1:0") };
    let error = Listener::bind(&again, &registry).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Config);
    assert!(error.to_string().contains(&first.local_addr().to_string()), "{error}");
}

/// The limit on descriptors is the process's own, so this test runs itself again, alone in a process.
#[test]
fn out_of_descriptors_clients_are_turned_away_and_later_let_in() {
    const ALONE: &str = "TURNSTILE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(out_of_descriptors());
    }
    let name = "listener::tests::out_of_descriptors_clients_are_turned_away_and_later_let_in";
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let output = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

async fn out_of_descriptors() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    serving(config("127.0.0.1:0"), async |served| {
        // One descriptor is left: the client takes it, and none remains to accept it with.
        let (mut filling, tcp) = (Vec::new(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        while let Ok(copy) = tcp.try_clone() {
            filling.push(copy);
        }
        for _ in 0..3 {
            filling.pop();
            served.check_refused("descriptors").await;
            filling.push(tcp.try_clone().unwrap());
        }
        drop(filling);
        served.enter().await;
    })
    .await;
}
