//! Relays between real sockets. Kind: driver.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use super::*;
use crate::drain::Drain;
use crate::link::SCRATCH_BYTES;
use crate::net::Stream;
use crate::tasks;
use crate::upstream::Topology;
use crate::upstream::pool::toy::House;
use crate::worker::{Floor, Surroundings};

const MIB: usize = 1024 * 1024;

/// How long the relays here may carry nothing.
const IDLE: Duration = Duration::from_secs(3600);

/// A worker that relays.
struct Desk {
    floor: Rc<Floor>,
    drain: Drain,
    news: watch::Sender<Arc<Topology>>,
    fenced: Rc<Cell<bool>>,
}

/// Both far ends of a relay, and how it ended.
struct Talk<C> {
    client: C,
    server: TcpStream,
    end: oneshot::Receiver<Relayed>,
}

impl Desk {
    fn open() -> Self {
        let (drain, news) = (Drain::new(), House::silence());
        let around = Surroundings { drain: drain.clone(), topology: news.subscribe() };
        Self { floor: Floor::open(0, around, Arc::default()), drain, news, fenced: Rc::default() }
    }

    async fn talk(&self) -> Talk<TcpStream> {
        let ((client, near), (server, far)) = (tcp().await, tcp().await);
        self.relay(client, Link::new(near.into(), b""), server, Link::new(far.into(), b""))
    }

    fn relay<C>(&self, client: C, near: Link, server: TcpStream, far: Link) -> Talk<C> {
        let (floor, fenced) = (self.floor.clone(), self.fenced.clone());
        let (told, end) = oneshot::channel();
        tasks::spawn_session(async move {
            let seat = floor.seat();
            let relayed = relay(near, far, &seat, &floor.scratch, Some(IDLE), move || fenced.get());
            let _ = told.send(relayed.await);
        });
        Talk { client, server, end }
    }

    fn pulse(&self) {
        self.news.send_modify(|_| {});
    }
}

/// Two ends of one connection.
async fn tcp() -> (TcpStream, TcpStream) {
    connected(TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpSocket::new_v4().unwrap()).await
}

/// The same, with room for little in the kernel.
async fn narrow_tcp() -> (TcpStream, TcpStream) {
    let (listening, calling) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
    for socket in [&listening, &calling] {
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
    }
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    connected(listening.listen(1).unwrap(), calling).await
}

async fn connected(listener: TcpListener, socket: TcpSocket) -> (TcpStream, TcpStream) {
    let (near, far) = tokio::join!(socket.connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

fn play(scene: impl AsyncFnOnce(Desk)) {
    run(false, scene);
}

/// The same with a clock that stands still while anybody has anything to do.
fn play_on_paused_clock(scene: impl AsyncFnOnce(Desk)) {
    run(true, scene);
}

fn run(paused: bool, scene: impl AsyncFnOnce(Desk)) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(paused).build().unwrap();
    LocalSet::new().block_on(&runtime, async move { scene(Desk::open()).await });
}

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

async fn say(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) {
    to.write_all(bytes).await.unwrap();
    to.flush().await.unwrap();
}

#[track_caller]
fn check_same(heard: &[u8], said: &[u8]) {
    assert_eq!(heard.len(), said.len());
    let differs = heard.iter().zip(said).position(|(heard, said)| heard != said);
    assert_eq!(differs, None, "of {} bytes", said.len());
}

async fn hear(mut from: impl AsyncRead + Unpin, said: &[u8]) {
    let mut heard = vec![0; said.len()];
    from.read_exact(&mut heard).await.unwrap();
    check_same(&heard, said);
}

async fn hear_end(mut from: impl AsyncRead + Unpin) {
    assert_eq!(from.read(&mut [0]).await.unwrap_or(0), 0, "an end, orderly or not");
}

#[test]
fn bytes_arrive_in_order_both_ways_whatever_their_number() {
    play(async |desk| {
        let Talk { client, server, .. } = desk.talk().await;
        let ((mut client_hears, mut client_says), (mut server_hears, mut server_says)) =
            (client.into_split(), server.into_split());
        for edge in [1, SCRATCH_BYTES, 4 * SCRATCH_BYTES, TURN_BYTES, 3 * TURN_BYTES, 4 * MIB] {
            for bytes in [edge - 1, edge, edge + 1].map(pattern) {
                tokio::join!(
                    say(&mut client_says, &bytes),
                    hear(&mut server_hears, &bytes),
                    say(&mut server_says, &bytes),
                    hear(&mut client_hears, &bytes),
                );
            }
        }
    });
}

#[test]
fn what_was_read_before_goes_first() {
    play(async |desk| {
        let ((client, near), (server, far)) = (tcp().await, tcp().await);
        let mut talk =
            desk.relay(client, Link::new(near.into(), b"PI"), server, Link::new(far.into(), b"+PO"));
        say(&mut talk.client, b"NG").await;
        say(&mut talk.server, b"NG").await;
        hear(&mut talk.server, b"PING").await;
        hear(&mut talk.client, b"+PONG").await;
        drop((talk.client, talk.server));
        let relayed = talk.end.await.unwrap();
        assert_eq!((relayed.up, relayed.down), (4, 5));
    });
}

#[test]
fn the_end_of_the_client_travels_on_and_the_answer_comes_back() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        let request = pattern(MIB);
        tokio::join!(
            async {
                say(&mut talk.client, &request).await;
                talk.client.shutdown().await.unwrap();
            },
            hear(&mut talk.server, &request)
        );
        hear_end(&mut talk.server).await;
        say(&mut talk.server, b"answer").await;
        hear(&mut talk.client, b"answer").await;
        drop(talk.server);
        hear_end(&mut talk.client).await;
        let relayed = talk.end.await.unwrap();
        assert_eq!(relayed, Relayed { ending: Ending::Finished, down: 6, ..relayed });
    });
}

#[test]
fn the_end_of_the_upstream_travels_on_and_the_client_may_go_on() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        say(&mut talk.server, b"last words").await;
        talk.server.shutdown().await.unwrap();
        hear(&mut talk.client, b"last words").await;
        hear_end(&mut talk.client).await;
        say(&mut talk.client, b"still here").await;
        hear(&mut talk.server, b"still here").await;
        drop(talk.client);
        assert_eq!(talk.end.await.unwrap().ending, Ending::Upstream);
    });
}

#[test]
fn an_upstream_that_is_reset_ends_the_client_behind_its_last_words() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        say(&mut talk.server, b"last words").await;
        hear(&mut talk.client, b"last words").await;
        socket2::SockRef::from(&talk.server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(talk.server);
        hear_end(&mut talk.client).await;
        assert_eq!(talk.end.await.unwrap().ending, Ending::Upstream);
    });
}

#[test]
fn a_client_that_is_reset_ends_the_upstream() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        socket2::SockRef::from(&talk.client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(talk.client);
        hear_end(&mut talk.server).await;
        assert_eq!(talk.end.await.unwrap().ending, Ending::Aborted);
    });
}

/// Says as much as is taken while nobody hears it.
async fn flood(from: &TcpStream) -> usize {
    let (mut said, mut refused) = (0, 0);
    while refused < 50 {
        match from.try_write(&pattern(1024)) {
            Ok(n) => (said, refused) = (said + n, 0),
            Err(_) => {
                refused += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    said
}

#[test]
fn a_side_that_does_not_hear_stops_the_other() {
    play(async |desk| {
        let ((client, near), (server, far)) = (narrow_tcp().await, narrow_tcp().await);
        let mut talk = desk.relay(client, Link::new(near.into(), b""), server, Link::new(far.into(), b""));
        // Four kernel buffers of twice 16 KiB, one buffer of ours, and what the kernel's own accounting forgives.
        let bound = 4 * 32 * 1024 + 2 * SCRATCH_BYTES;
        for upwards in [false, true] {
            let (from, into) = match upwards {
                true => (&mut talk.client, &mut talk.server),
                false => (&mut talk.server, &mut talk.client),
            };
            from.writable().await.unwrap();
            let said = flood(from).await;
            assert!((SCRATCH_BYTES..bound).contains(&said), "{said} bytes taken that nobody heard");
            let mut heard = vec![0; said];
            into.read_exact(&mut heard).await.unwrap();
        }
    });
}

#[test]
fn a_long_stream_is_spliced_and_stays_the_same() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        for _ in 0..3 {
            let value = pattern(8 * MIB + 5);
            tokio::join!(say(&mut talk.server, &value), hear(&mut talk.client, &value));
            tokio::join!(say(&mut talk.client, b"next"), hear(&mut talk.server, b"next"));
        }
        drop((talk.client, talk.server));
        let relayed = talk.end.await.unwrap();
        assert!(relayed.spliced > MIB as u64, "{relayed:?}");
    });
}

#[test]
fn short_messages_are_never_spliced() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        for _ in 0..100 {
            tokio::join!(say(&mut talk.server, b"answer"), hear(&mut talk.client, b"answer"));
        }
        drop((talk.client, talk.server));
        assert_eq!(talk.end.await.unwrap().spliced, 0);
    });
}

/// A client and our end of its connection, encrypted.
async fn tls() -> (Stream, Stream) {
    let (client, near) = tcp().await;
    let made = rcgen::generate_simple_self_signed(["db1".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let caller = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(caller));
    let (client, near) = tokio::join!(
        connector.connect("db1".try_into().unwrap(), Stream::Tcp(client)),
        acceptor.accept(Stream::Tcp(near))
    );
    (Stream::Tls(Box::new(client.unwrap().into())), Stream::Tls(Box::new(near.unwrap().into())))
}

#[test]
fn an_encrypted_stream_is_the_same_and_never_spliced() {
    play(async |desk| {
        let ((client, near), (server, far)) = (tls().await, tcp().await);
        let mut talk = desk.relay(client, Link::new(near, b""), server, Link::new(far.into(), b""));
        let value = pattern(2 * MIB);
        tokio::join!(say(&mut talk.server, &value), hear(&mut talk.client, &value));
        tokio::join!(say(&mut talk.client, &value), hear(&mut talk.server, &value));
        talk.client.shutdown().await.unwrap();
        hear_end(&mut talk.server).await;
        drop(talk.server);
        hear_end(&mut talk.client).await;
        let relayed = talk.end.await.unwrap();
        assert_eq!((relayed.spliced, relayed.ending), (0, Ending::Finished));
    });
}

#[test]
fn the_deadline_of_a_drain_cuts_both() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        say(&mut talk.client, b"question").await;
        hear(&mut talk.server, b"question").await;
        desk.drain.terminate();
        hear_end(&mut talk.client).await;
        hear_end(&mut talk.server).await;
        assert_eq!(talk.end.await.unwrap().ending, Ending::Terminated);
    });
}

#[test]
fn news_cut_a_relay_only_when_its_upstream_is_fenced() {
    play(async |desk| {
        let mut talk = desk.talk().await;
        desk.pulse();
        say(&mut talk.client, b"question").await;
        hear(&mut talk.server, b"question").await;
        desk.fenced.set(true);
        desk.pulse();
        hear_end(&mut talk.client).await;
        hear_end(&mut talk.server).await;
        assert_eq!(talk.end.await.unwrap().ending, Ending::Upstream);
    });
}

#[test]
fn a_drain_waits_for_the_answer_and_then_for_a_lull() {
    play_on_paused_clock(async |desk| {
        let mut talk = desk.talk().await;
        say(&mut talk.client, b"question").await;
        hear(&mut talk.server, b"question").await;
        desk.drain.begin();
        sleep(10 * LULL).await;
        assert!(talk.end.try_recv().is_err(), "an answer is owed");
        say(&mut talk.server, b"answer").await;
        hear(&mut talk.client, b"answer").await;
        hear_end(&mut talk.client).await;
        assert_eq!(talk.end.await.unwrap().ending, Ending::Drained);
    });
}

#[test]
fn a_client_that_never_notices_the_end_of_its_upstream_is_let_go() {
    play_on_paused_clock(async |desk| {
        let talk = desk.talk().await;
        let start = tokio::time::Instant::now();
        drop(talk.server);
        assert_eq!(talk.end.await.unwrap().ending, Ending::Upstream);
        assert!((HALF_OPEN..2 * HALF_OPEN).contains(&start.elapsed()));
    });
}

#[test]
fn a_relay_that_carries_nothing_either_way_ends() {
    play_on_paused_clock(async |desk| {
        let mut talk = desk.talk().await;
        for turn in 0..4 {
            sleep(IDLE * 3 / 4).await;
            let (from, into) = match turn % 2 {
                0 => (&mut talk.client, &mut talk.server),
                _ => (&mut talk.server, &mut talk.client),
            };
            say(from, b"still here").await;
            hear(into, b"still here").await;
        }
        let last = tokio::time::Instant::now();
        hear_end(&mut talk.client).await;
        hear_end(&mut talk.server).await;
        assert_eq!(talk.end.await.unwrap().ending, Ending::Finished);
        assert!((IDLE..IDLE + Duration::from_secs(1)).contains(&last.elapsed()), "{:?}", last.elapsed());
    });
}

#[test]
fn an_idle_relay_is_small() {
    play(async |desk| {
        let ((_client, near), (_server, far)) = (tcp().await, tcp().await);
        let seat = desk.floor.seat();
        let (near, far) = (Link::new(near.into(), b""), Link::new(far.into(), b""));
        let idle = relay(near, far, &seat, &desk.floor.scratch, Some(IDLE), || false);
        assert!(size_of_val(&idle) <= 1024, "{} bytes", size_of_val(&idle));
    });
}
