//! A shop in a bottle for tests: replicas that answer by a script, a balancer of one worker, clients on socket pairs, and
//! a clock that stands still. Kind: driver.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use proxy_core::app::Context;
use proxy_core::drain::Drain;
use proxy_core::link::Link;
use proxy_core::tasks::spawn_session;
use proxy_core::upstream::topology::Topology;
use proxy_core::worker::{Floor, Surroundings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::http1::Http1;
use super::{Desk, House, Visit};
use crate::access_log::AccessLog;
use crate::body::{Budget, Limits};
use crate::cluster::Clusters;
use crate::config::{self, Config};
use crate::edge::{Arrival, Edge};
use crate::metrics::Metrics;

/// How long a test listens for something that may not come; the clock jumps over it.
const SILENCE: Duration = Duration::from_millis(200);

/// How long a replica works on what is `slow`, deaf to all else as gunicorn's are, and six times as long on `slow/er`; on what
/// is `attentive` it works as long, unless the other side hangs up. What is `dawdling` is read on only after as long, and
/// what is `dawdling/often` once more for each [`MOUTHFUL`].
pub(super) const WORK: Duration = Duration::from_secs(20);

/// More than sockets hold.
const MOUTHFUL: usize = 8 << 20;

/// What a replica does with a request: the pieces of its answer, and whether it closes behind them.
pub(super) type Script = fn(&str) -> (Vec<String>, bool);

/// A balancer with one replica.
pub(super) struct Shop {
    desk: Rc<Desk>,
    pub(super) drain: Drain,
    /// What the replica was asked, one request after the other.
    pub(super) asked: Rc<RefCell<Vec<String>>>,
    /// How many connections it was called on.
    pub(super) calls: Rc<RefCell<usize>>,
    _kept: (Arc<Clusters>, AccessLog),
}

/// Runs a test in a shop whose replica answers by `script`.
pub(super) fn with<T>(script: Script, adapt: fn(&mut Config), test: impl AsyncFnOnce(Shop) -> T) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async { test(Shop::open(script, adapt).await).await })
}

impl Shop {
    async fn open(script: Script, adapt: fn(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let upstream = config::Upstream { address, weight: 1, slots: None };
        let cluster = config::Cluster { upstreams: vec![upstream], ..config::Cluster::default() };
        let mut config = Config { clusters: vec![cluster], ..Config::default() };
        config.access_log.path = config::Destination::Off;
        adapt(&mut config);
        let (asked, calls) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(0)));
        let others = config.clusters[0].upstreams.iter().skip(1);
        let others = others.map(|other| std::net::TcpListener::bind(other.address.to_string()).unwrap());
        for listener in std::iter::once(listener).chain(others.map(from_std)) {
            spawn_session(replica(listener, script, asked.clone(), calls.clone()));
        }
        let context = Context::new(Arc::default(), "http-lb", "0");
        let clusters = Clusters::new(&config, &context).unwrap();
        let edge = Arc::new(Edge::load(&config, None).unwrap());
        let budget = Budget::new(Limits { memory: 1 << 20, disk: 1 << 30 });
        let log = AccessLog::open(&config.access_log, &context.registry).unwrap();
        let house = House::new(Arc::new(config), edge, None, &clusters, budget);
        let topology = Topology::leaderless(std::time::Instant::now());
        let (_, topology) = watch::channel(Arc::new(topology));
        let drain = Drain::new();
        let floor = Floor::open(0, Surroundings { drain: drain.clone(), topology }, Arc::default());
        let houses = Arc::new(ArcSwap::from_pointee(house));
        let metrics = Metrics::new(&context.registry);
        let desk = Rc::new(Desk::new(floor, houses, metrics, Rc::new(log.book())));
        Self { desk, drain, asked, calls, _kept: (clusters, log) }
    }

    /// A client connects.
    pub(super) fn client(&self) -> Caller {
        let (near, far) = UnixStream::pair().unwrap();
        let session = self.open_session(near);
        spawn_session(async move {
            session.serve().await;
        });
        Caller(far)
    }

    /// What one client hears who says this; `|` at the end: and then the end of the connection.
    pub(super) async fn hears(&self, says: &str) -> String {
        let mut client = self.client();
        client.says(says).await;
        client.hears().await
    }

    /// A session that nobody runs.
    pub(super) fn session(&self) -> Box<Http1> {
        self.open_session(UnixStream::pair().unwrap().0)
    }

    fn open_session(&self, near: UnixStream) -> Box<Http1> {
        let arrival = Arrival { peer: None, tls: false, port: 80 };
        let visit = Visit { desk: self.desk.clone(), arrival, may_be_http2: false };
        Http1::new(Link::new(near.into(), &[]), self.desk.floor.seat(), visit)
    }
}

/// A client.
pub(super) struct Caller(UnixStream);

impl Caller {
    /// Says something; lines end with `\n` here, and with CRLF on the wire.
    pub(super) async fn says(&mut self, text: &str) {
        self.says_exactly(&text.replace('\n', "\r\n")).await;
    }

    pub(super) async fn says_exactly(&mut self, text: &str) {
        let _ = self.0.write_all(text.as_bytes()).await; // a session that has left is found out by what is heard
    }

    /// All that comes until there is silence, without what differs from run to run; `|` for the end of the connection.
    pub(super) async fn hears(&mut self) -> String {
        let (mut heard, mut piece, mut end) = (Vec::new(), vec![0; 65536], "");
        while let Ok(read) = timeout(SILENCE, self.0.read(&mut piece)).await {
            match read {
                Ok(read) if read > 0 => heard.extend_from_slice(&piece[..read]),
                _ => {
                    end = "|";
                    break;
                }
            }
        }
        let text = String::from_utf8_lossy(&heard).replace("\r\n", "\n");
        let varies = |line: &&str| line.starts_with("date: ") || line.starts_with("x-request-id: ");
        let lines: Vec<_> = text.split('\n').filter(|line| !varies(line)).collect();
        lines.join("\n") + end
    }
}

fn from_std(listener: std::net::TcpListener) -> TcpListener {
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

async fn replica(
    listener: TcpListener,
    script: Script,
    asked: Rc<RefCell<Vec<String>>>,
    calls: Rc<RefCell<usize>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        *calls.borrow_mut() += 1;
        spawn_session(answer(stream, script, asked.clone()));
    }
}

async fn answer(mut stream: TcpStream, script: Script, asked: Rc<RefCell<Vec<String>>>) {
    let (mut came, mut piece, mut dawdled) = (String::new(), vec![0; 65536], 0);
    loop {
        let often = came.contains("/dawdling/often") && came.len() >= dawdled * MOUTHFUL;
        if often || dawdled == 0 && came.contains("/dawdling") {
            tokio::time::sleep(WORK).await;
            dawdled += 1;
        }
        while let Some(end) = end_of_request(&came) {
            let request: String = came.drain(..end).collect();
            asked.borrow_mut().push(request.replace("\r\n", "\n"));
            if request.contains("/slow") {
                tokio::time::sleep(WORK).await;
            }
            if request.contains("/slow/er") {
                tokio::time::sleep(WORK * 5).await;
            }
            if request.contains("/attentive") {
                let hung_up = timeout(WORK, stream.read(&mut piece)).await;
                assert!(matches!(hung_up, Err(_) | Ok(Ok(0))), "{hung_up:?}");
            }
            let (pieces, closes) = script(&request);
            for piece in pieces {
                if stream.write_all(piece.replace('\n', "\r\n").as_bytes()).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if closes {
                return;
            }
        }
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 => came.push_str(&String::from_utf8_lossy(&piece[..read])),
            _ => return,
        }
    }
}

/// Where the request at the front ends, if it is whole; a replica that is `hasty` answers before it has read the body.
fn end_of_request(came: &str) -> Option<usize> {
    let head = came.find("\r\n\r\n")? + 4;
    if came[..head].contains("/hasty") {
        return Some(head);
    }
    if came[..head].contains("transfer-encoding: chunked") {
        return came[head..].find("0\r\n\r\n").map(|end| head + end + 5);
    }
    let length = came[..head].lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    (came.len() >= end).then_some(end)
}
