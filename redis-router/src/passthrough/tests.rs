//! Clients, a worker that passes them through, and servers, over real sockets. Kind: driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use proxy_core::drain::Drain;
use proxy_core::metrics::Registry;
use proxy_core::net::{SocketOptions, connect};
use proxy_core::tasks;
use proxy_core::upstream::hold::HoldStatus;
use proxy_core::upstream::{Cluster, HoldLimits, HoldMetrics, Rules};
use proxy_core::worker::{Surroundings, Workers};
use tokio::sync::mpsc;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// What a loaded machine may take for what takes no time.
const SOON: Duration = Duration::from_secs(20);

/// A worker that passes clients through, the topology that it sees, and the ends of its sessions.
struct House {
    workers: Workers<TcpStream>,
    news: watch::Sender<Arc<Topology>>,
    hold: Arc<Hold>,
    drain: Drain,
    ends: mpsc::Receiver<Relayed>,
}

impl House {
    fn open(patience: Duration) -> Self {
        let registry = Registry::new("test", "0");
        let limits = HoldLimits { timeout: patience, max_clients: 2, ..HoldLimits::default() };
        let hold = Arc::new(Hold::new(limits, HoldMetrics::new(&registry)));
        let (drain, news) = (Drain::new(), watch::Sender::new(topology(0, None, false)));
        let around = Surroundings { drain: drain.clone(), topology: news.subscribe() };
        let (told, ends) = mpsc::channel(16);
        let passage = Passage { role: Role::Primary, hold: hold.clone(), topology: news.subscribe() };
        let open = move |floor: Rc<Floor>| {
            let (passage, told) = (passage.clone(), told.clone());
            move |client: TcpStream| {
                let (passage, told, floor) = (passage.clone(), told.clone(), floor.clone());
                tasks::spawn_session(async move {
                    client.set_nonblocking(true).unwrap();
                    let client = tokio::net::TcpStream::from_std(client).unwrap();
                    let relayed = serve(Link::new(client.into(), b""), &passage, dial, &floor).await;
                    let _ = told.send(relayed).await;
                });
            }
        };
        Self { workers: Workers::start(1, &around, open).unwrap(), news, hold, drain, ends }
    }

    fn client(&self) -> TcpStream {
        let listener = listener();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(self.workers.dispatch(accepted).is_ok());
        client
    }

    fn crown(&self, epoch: u64, primary: SocketAddr) {
        self.news.send_replace(topology(epoch, Some(primary), false));
    }

    /// The primary is out of sight, or known to be followed by another.
    fn lose(&self, epoch: u64, fenced: bool) {
        self.news.send_replace(topology(epoch, None, fenced));
    }

    fn ending(&mut self) -> Ending {
        self.ends.blocking_recv().unwrap().ending
    }
}

async fn dial(to: Addr) -> Result<Link, Error> {
    let stream = connect(&to, &SocketOptions::default(), SECOND).await?;
    Ok(Link::new(stream, b""))
}

fn topology(epoch: u64, primary: Option<SocketAddr>, fenced: bool) -> Arc<Topology> {
    let now = std::time::Instant::now();
    let endpoint =
        |addr: SocketAddr| Arc::new(Endpoint::new(addr.into(), 1, Arc::new(Rules::default()), now));
    Arc::new(Topology {
        epoch,
        lineage: "mymaster".to_owned(),
        primary: primary.map(endpoint),
        replicas: Arc::new(Cluster::new("replicas", [])),
        fenced,
        since: now,
        revision: epoch,
    })
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    server
}

#[track_caller]
fn hears(from: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    from.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), text);
}

#[track_caller]
fn hears_the_end(from: &mut TcpStream) {
    assert_eq!(from.read(&mut [0]).unwrap_or(0), 0, "an end, orderly or not");
}

/// Bytes that have passed: the relay runs.
fn meet(client: &mut TcpStream, server: &mut TcpStream) {
    says(client, "hello");
    hears(server, "hello");
}

fn says(to: &mut TcpStream, text: &str) {
    to.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_client_has_the_primary_to_itself() {
    let (mut house, primary) = (House::open(SOON), listener());
    house.crown(1, primary.local_addr().unwrap());
    let mut clients = [house.client(), house.client()];
    let mut servers = [accept(&primary), accept(&primary)];
    for client in &mut clients {
        says(client, "PING\r\n");
    }
    for server in &mut servers {
        hears(server, "PING\r\n");
        says(server, "+PONG\r\n");
    }
    for client in &mut clients {
        hears(client, "+PONG\r\n");
    }
    drop((clients, servers));
    house.ending();
    house.ending();
}

#[test]
fn who_comes_while_there_is_nobody_waits_and_nothing_that_it_said_is_lost() {
    let (house, primary) = (House::open(SOON), listener());
    let mut client = house.client();
    says(&mut client, "SET a ");
    while house.hold.snapshot().clients == 0 {
        std::thread::yield_now();
    }
    says(&mut client, "1\r\n");
    house.crown(1, primary.local_addr().unwrap());
    let mut server = accept(&primary);
    hears(&mut server, "SET a 1\r\n");
    says(&mut server, "+OK\r\n");
    hears(&mut client, "+OK\r\n");
    assert_eq!(house.hold.snapshot(), HoldStatus { clients: 0, bytes: 0 });
}

#[test]
fn a_server_that_does_not_answer_yet_is_tried_again() {
    let house = House::open(SOON);
    let addr = listener().local_addr().unwrap();
    house.crown(1, addr);
    let mut client = house.client();
    says(&mut client, "PING\r\n");
    let primary = TcpListener::bind(addr).unwrap();
    hears(&mut accept(&primary), "PING\r\n");
}

#[test]
fn both_are_cut_when_another_is_primary() {
    let (mut house, primary, other) = (House::open(SOON), listener(), listener());
    house.crown(1, primary.local_addr().unwrap());
    let mut client = house.client();
    let mut server = accept(&primary);
    meet(&mut client, &mut server);
    house.crown(2, other.local_addr().unwrap());
    hears_the_end(&mut client);
    hears_the_end(&mut server);
    assert_eq!(house.ending(), Ending::Upstream);
}

#[test]
fn a_primary_out_of_sight_keeps_its_clients_until_it_is_fenced() {
    let (mut house, primary) = (House::open(SOON), listener());
    house.crown(1, primary.local_addr().unwrap());
    let mut client = house.client();
    let mut server = accept(&primary);
    meet(&mut client, &mut server);
    house.lose(1, false);
    says(&mut client, "PING\r\n");
    hears(&mut server, "PING\r\n");
    house.lose(1, true);
    hears_the_end(&mut client);
    hears_the_end(&mut server);
    assert_eq!(house.ending(), Ending::Upstream);
}

#[test]
fn who_waited_in_vain_hears_so() {
    let mut house = House::open(Duration::from_millis(50));
    let mut client = house.client();
    hears(&mut client, "-LOADING redis-router: no server");
    assert_eq!(house.ending(), Ending::Upstream);
}

#[test]
fn who_finds_the_waiting_room_full_hears_so_at_once() {
    let mut house = House::open(SOON);
    let mut waiting = [house.client(), house.client()];
    let mut third = house.client();
    hears(&mut third, "-LOADING redis-router: too many");
    assert_eq!(house.ending(), Ending::Upstream);
    house.drain.terminate();
    waiting.iter_mut().for_each(hears_the_end);
    assert_eq!([house.ending(), house.ending()], [Ending::Terminated; 2]);
}

#[test]
fn who_leaves_while_waiting_gives_its_place_back() {
    let mut house = House::open(SOON);
    drop(house.client());
    assert_eq!(house.ending(), Ending::Aborted);
    assert_eq!(house.hold.snapshot(), HoldStatus { clients: 0, bytes: 0 });
}
