//! A toy upstream for the tests of pools and sessions: its far ends are played by the test. Kind: driver.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::{Connect, Failure, Pool, PoolLimits, Role};
use crate::link::{Link, Scratch};
use crate::metrics::Registry;
use crate::net::Stream;
use crate::upstream::permits::Permits;
use crate::upstream::{Cluster, Endpoint, Hold, HoldLimits, HoldMetrics, Policy, Rules, Topology};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Longer than any test listens for what must come. Time is paused: it costs nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the toy answers a connection attempt.
#[derive(Clone)]
pub(crate) enum Mood {
    Willing,
    Slow(Duration),
    Unavailable,
    Denied(&'static [u8]),
    SlowlyDenied(Duration, &'static [u8]),
    Panicking,
}

/// Opens connections whose far ends wait to be taken by the test.
#[derive(Clone)]
pub(crate) struct Toy(Rc<Inner>);

struct Inner {
    mood: RefCell<Mood>,
    far_ends: RefCell<VecDeque<Far>>,
    attempts: Cell<u32>,
    suspicions: Cell<u32>,
}

/// The server's end of one connection, or a client's.
pub(crate) struct Far {
    /// The port of the endpoint that was called.
    pub port: u16,
    pub stream: UnixStream,
}

impl Connect for Toy {
    type State = u32;

    async fn connect(&self, to: &Arc<Endpoint>) -> Result<(Link, u32), Failure> {
        self.0.attempts.set(self.0.attempts.get() + 1);
        let mood = self.0.mood.borrow().clone();
        match mood {
            Mood::Willing => {}
            Mood::Slow(delay) => tokio::time::sleep(delay).await,
            Mood::Unavailable => return Err(Failure::Unavailable("not now".to_owned())),
            Mood::Denied(answer) => return Err(Failure::Denied(Bytes::from_static(answer))),
            Mood::SlowlyDenied(delay, answer) => {
                tokio::time::sleep(delay).await;
                return Err(Failure::Denied(Bytes::from_static(answer)));
            }
            Mood::Panicking => panic!("a bug in connect"),
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let port = to.addr().to_string().rsplit(':').next().unwrap().parse().unwrap();
        self.0.far_ends.borrow_mut().push_back(Far { port, stream: theirs });
        Ok((Link::new(Stream::Unix(ours), b""), self.0.attempts.get()))
    }

    fn suspect(&self, _: &Arc<Endpoint>) {
        self.0.suspicions.set(self.0.suspicions.get() + 1);
    }

    fn farewell(&self) -> &'static [u8] {
        b"X"
    }
}

impl Toy {
    pub(crate) fn set(&self, mood: Mood) {
        *self.0.mood.borrow_mut() = mood;
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.0.attempts.get()
    }

    pub(crate) fn suspicions(&self) -> u32 {
        self.0.suspicions.get()
    }

    /// The far end of the oldest connection that was not taken yet.
    #[track_caller]
    pub(crate) fn far_end(&self) -> Far {
        self.0.far_ends.borrow_mut().pop_front().expect("a connection was opened")
    }
}

impl Far {
    pub(crate) async fn say(&mut self, words: impl AsRef<[u8]>) {
        self.stream.write_all(words.as_ref()).await.unwrap();
    }

    /// The next bytes are these.
    pub(crate) async fn hears(&mut self, words: impl AsRef<[u8]>) {
        let expected = words.as_ref();
        let mut heard = Vec::new();
        let mut listen = (&mut self.stream).take(expected.len() as u64);
        let _ = tokio::time::timeout(PATIENCE, listen.read_to_end(&mut heard)).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert!(heard == expected, "heard {:?}, not {:?}", text(&heard), text(expected));
    }

    /// These are the last bytes.
    pub(crate) async fn hears_last(&mut self, words: impl AsRef<[u8]>) {
        self.hears(words).await;
        let more = tokio::time::timeout(PATIENCE, self.stream.read_u8()).await.expect("an end");
        assert!(more.is_err(), "more: {more:?}");
    }

    /// Says as much as is taken; how much that was.
    pub(crate) async fn stuff(&mut self, words: &[u8]) -> usize {
        let mut said = 0;
        while said < words.len() {
            let Ok(n) = tokio::time::timeout(PATIENCE, self.stream.write(&words[said..])).await else {
                break;
            };
            said += n.unwrap();
        }
        said
    }

    /// Takes no more bytes; a write to it fails from now on, while a read from it does not end.
    pub(crate) fn stop_listening(&self) {
        socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Read).unwrap();
    }
}

/// Everything around a pool: the toy upstream, two endpoints, and the news of who is primary.
pub(crate) struct House {
    pub toy: Toy,
    pub news: watch::Sender<Arc<Topology>>,
    pub hold: Arc<Hold>,
    pub scratch: Scratch,
    endpoints: [Arc<Endpoint>; 2],
}

impl House {
    fn new() -> Self {
        let now = std::time::Instant::now();
        let endpoint =
            |addr: &str| Arc::new(Endpoint::new(addr.parse().unwrap(), 1, Arc::new(Rules::default()), now));
        let endpoints = [endpoint("127.0.0.1:1"), endpoint("127.0.0.1:2")];
        let inner = Inner {
            mood: RefCell::new(Mood::Willing),
            far_ends: RefCell::default(),
            attempts: Cell::new(0),
            suspicions: Cell::new(0),
        };
        let limits = HoldLimits { timeout: 1000 * MS, max_clients: 2, ..HoldLimits::default() };
        Self {
            toy: Toy(Rc::new(inner)),
            news: watch::Sender::new(topology(1, Some(&endpoints[0]))),
            hold: Arc::new(Hold::new(limits, HoldMetrics::new(&Registry::new("test", "0")))),
            scratch: Scratch::default(),
            endpoints,
        }
    }

    /// A pool of its own.
    pub(crate) fn pool(&self, limits: PoolLimits, permits: &Arc<Permits>) -> Rc<Pool<Toy>> {
        let (hold, scratch) = (self.hold.clone(), self.scratch.clone());
        Pool::new(self.toy.clone(), limits, permits.clone(), hold, scratch, self.news.subscribe())
    }

    /// The endpoint with this port is primary as of `epoch`.
    pub(crate) fn crown(&self, epoch: u64, port: u16) {
        self.news.send_replace(topology(epoch, Some(&self.endpoints[usize::from(port) - 1])));
    }

    /// News that nobody hears.
    pub(crate) fn silence() -> watch::Sender<Arc<Topology>> {
        watch::Sender::new(topology(0, None))
    }

    pub(crate) fn lose_primary(&self) {
        let epoch = self.news.borrow().epoch;
        self.news.send_replace(topology(epoch, None));
    }
}

fn topology(epoch: u64, primary: Option<&Arc<Endpoint>>) -> Arc<Topology> {
    Arc::new(Topology {
        epoch,
        lineage: "a".to_owned(),
        primary: primary.cloned(),
        replicas: Arc::new(Cluster::new("replicas", [])),
        fenced: false,
        since: std::time::Instant::now(),
        revision: 0,
    })
}

/// A pool of ten seconds of patience that keeps what it has.
pub(crate) const LIMITS: PoolLimits = PoolLimits {
    role: Role::Primary,
    policy: Policy::RoundRobin,
    min: 0,
    wait: Duration::from_secs(10),
    idle: Duration::from_secs(3600),
    lifetime: Duration::from_secs(36_000),
};

/// Plays a scene on one worker whose clock stands still while anybody has anything to do.
pub(crate) fn play(scene: impl AsyncFnOnce(House)) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async move { scene(House::new()).await });
}

/// Lets everybody finish what they can do now.
pub(crate) async fn breathe() {
    tokio::time::sleep(MS).await;
}
