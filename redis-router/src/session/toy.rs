//! A worker with its clients and a toy Redis, on one thread whose clock stands still while anybody has anything to do.
//! Kind: driver.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proxy_core::config::Size;
use proxy_core::drain::Drain;
use proxy_core::link::Link;
use proxy_core::metrics::Registry as Metrics;
use proxy_core::net::{Addr, SocketOptions, Stream};
use proxy_core::tasks;
use proxy_core::upstream::permits::Permits;
use proxy_core::upstream::{Cluster, Endpoint, Hold, HoldLimits, HoldMetrics, Rules, Topology};
use proxy_core::worker::{Floor, Surroundings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::registry::{Address, Registry};
use super::{House, Session, Terms, Visitor};
use crate::config::{Config, Listener};
use crate::metrics::Tally;
use crate::observe;
use crate::server::{Dial, Identity};
use crate::site::{Common, Site};
use crate::topology::{Access, Account, Barrier, fake};
use crate::wire::build::{put_bulk, put_request};
use crate::wire::{Args, Framed, Limits, RequestFramer};

/// How long a request may wait for a master.
pub(super) const HOLD: Duration = Duration::from_secs(3);

/// How much of what was asked for by a shared connection a client may leave unread.
const OUTPUT: u64 = 64 << 20;

/// Whatever can be said now is said by then.
const SOON: Duration = Duration::from_millis(10);

/// Longer than anybody waits for anything. The clock is the test's: it costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis that calls itself a master, and says what the test wants.
pub(super) struct Redis {
    endpoint: Arc<Endpoint>,
    /// What it answers to whatever is no login; nothing: to each as ever.
    pub(super) says: Cell<Option<&'static str>>,
    /// What it was sent, but for logins and canaries.
    heard: RefCell<Vec<String>>,
    /// Its connections end when this changes.
    cut: watch::Sender<()>,
    /// Whether it reads what it is sent.
    pub(super) listens: watch::Sender<bool>,
}

impl Redis {
    fn open(dir: &tempfile::TempDir) -> Rc<Self> {
        let path = dir.path().join("redis");
        let listener = UnixListener::bind(&path).unwrap();
        let rules = Arc::new(Rules::default());
        let endpoint = Endpoint::new(Addr::Unix(path), 1, rules, std::time::Instant::now());
        let redis = Rc::new(Self {
            endpoint: Arc::new(endpoint),
            says: Cell::new(None),
            heard: RefCell::default(),
            cut: watch::Sender::default(),
            listens: watch::Sender::new(true),
        });
        let host = redis.clone();
        tasks::spawn_session(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks::spawn_session(host.clone().serve(stream));
            }
        });
        redis
    }

    /// Reads on while its answers wait to be read, as Redis does.
    async fn serve(self: Rc<Self>, mut stream: UnixStream) {
        let (mut cut, mut listens) = (self.cut.subscribe(), self.listens.subscribe());
        let (mut framer, mut unread, mut unsaid) = (RequestFramer::default(), Vec::new(), BytesMut::new());
        let (mut reader, mut writer) = stream.split();
        loop {
            while let Ok(Framed::Whole(span)) = framer.next(&unread, &Limits::default()) {
                unsaid.extend_from_slice(&self.answer(&unread[..span.len]));
                unread.drain(..span.len);
            }
            let read = async {
                let _ = listens.wait_for(|listens| *listens).await;
                reader.read_buf(&mut unread).await
            };
            tokio::select! {
                read = read => if !matches!(read, Ok(1..)) { return },
                wrote = writer.write_buf(&mut unsaid), if !unsaid.is_empty() => if wrote.is_err() { return },
                _ = cut.changed() => return,
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let words: Vec<_> = Args::new(request).map(String::from_utf8_lossy).collect();
        let mut out = Vec::new();
        match &*words[0] {
            "HELLO" => put_request(&mut out, &[b"version", b"7.0.15", b"id", b"7", b"role", b"master"]),
            "ECHO" => put_bulk(&mut out, words[1].as_bytes()),
            "AUTH" | "SELECT" => out.extend_from_slice(b"+OK\r\n"),
            _ => {
                self.heard.borrow_mut().push(words.join(" "));
                out.extend_from_slice(self.says.get().unwrap_or("+OK\r\n").as_bytes());
            }
        }
        out
    }

    /// What it was sent so far.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }
}

/// Everything around the clients.
pub(super) struct Stage {
    pub(super) redis: Rc<Redis>,
    pub(super) site: Rc<Site>,
    floor: Rc<Floor>,
    guests: Arc<Registry>,
    terms: Arc<Terms>,
    news: watch::Sender<Arc<Topology>>,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let redis = Redis::open(&dir);
        let news = watch::Sender::new(topology(0, None));
        let around = Surroundings { drain: Drain::new(), topology: news.subscribe() };
        let floor = Floor::open(0, around, Arc::default());
        let limits = HoldLimits { timeout: HOLD, ..HoldLimits::default() };
        let common = Common {
            master: "m".to_owned(),
            topology: news.subscribe(),
            hold: Arc::new(Hold::new(limits, HoldMetrics::new(&Metrics::new("test", "0")))),
            permits: Permits::new(8),
            barrier: Barrier::default(),
        };
        let access = Access::new(Account::default(), None, SocketOptions::default(), PATIENCE);
        let dial = Dial {
            access: Arc::new(access),
            watcher: fake::handle(),
            scripts: Rc::default(),
            scratch: floor.scratch.clone(),
        };
        let keys = observe::KeyStyle::default();
        let observed = observe::Limits { slow_micros: 0, big_bytes: 0, entries: 0, one_in: 0, keys };
        let tally = Rc::new(Tally::new(&observed));
        let site = Site::open(Arc::new(common), Rc::new(dial), tally, floor.clone());
        let identity = Arc::new(Identity::default());
        let mut config = Config::default();
        config.limits.output = Size::new(OUTPUT);
        let terms = Arc::new(Terms::new(&Listener::default(), &config, identity));
        Self { redis, site, floor, guests: Registry::new(), terms, news, _dir: dir }
    }

    /// The Redis is the master.
    pub(super) async fn crown(&self) {
        self.publish(Some(&self.redis.endpoint)).await;
    }

    /// The Redis is cut off, and nobody is the master.
    pub(super) async fn dethrone(&self) {
        self.publish(None).await;
        self.redis.cut.send_replace(());
        breathe().await;
    }

    async fn publish(&self, primary: Option<&Arc<Endpoint>>) {
        let revision = self.news.borrow().revision + 1;
        self.news.send_replace(topology(revision, primary));
        breathe().await;
    }

    /// A client comes in.
    pub(super) fn client(&self) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let address = || Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 1)));
        let visitor = Visitor { peer: address(), local: address() };
        let house = House { floor: &self.floor, guests: &self.guests, tally: &self.site.tally };
        let link = Link::new(Stream::Unix(ours), b"");
        let session = Session::new(link, visitor, &house, self.site.clone(), self.terms.clone());
        tasks::spawn_session(async move {
            Box::new(session).run().await;
        });
        Client(theirs)
    }
}

/// A client's end.
pub(super) struct Client(UnixStream);

impl Client {
    /// Sends these lines, each a command, and lets everybody see them.
    pub(super) async fn says(&mut self, lines: &[&str]) {
        let mut out = Vec::new();
        for line in lines {
            let words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
            put_request(&mut out, &words);
        }
        timeout(PATIENCE, self.0.write_all(&out)).await.expect("it is listened to").unwrap();
        breathe().await;
    }

    /// Sends these bytes as they are.
    pub(super) async fn blurts(&mut self, bytes: &str) {
        timeout(PATIENCE, self.0.write_all(bytes.as_bytes())).await.expect("it is listened to").unwrap();
        breathe().await;
    }

    /// What it hears until its connection ends.
    pub(super) async fn hears_to_the_end(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut heard)).await;
        read.expect("an end, in time").unwrap();
        heard
    }

    /// It hears so many bytes.
    pub(super) async fn hears_bytes(&mut self, count: usize) {
        let mut heard = vec![0; count];
        let read = timeout(PATIENCE, self.0.read_exact(&mut heard)).await;
        read.expect("all of it, in time").unwrap();
    }

    /// It hears what else comes now, whatever that is.
    pub(super) async fn hears_the_rest(&mut self) {
        let mut heard = vec![0; 1 << 20];
        while timeout(SOON, self.0.read(&mut heard)).await.is_ok_and(|read| matches!(read, Ok(1..))) {}
    }

    /// It says no more, and may still hear.
    pub(super) async fn falls_silent(&mut self) {
        self.0.shutdown().await.unwrap();
        breathe().await;
    }

    /// The next thing it hears begins like this, however long that takes.
    pub(super) async fn hears(&mut self, beginning: &str) {
        assert!(self.hears_either(beginning, beginning).await);
    }

    /// Whether the next thing it hears begins like the first of these; else it begins like the second.
    pub(super) async fn hears_either(&mut self, this: &str, that: &str) -> bool {
        let mut heard = vec![0; 4096];
        let read = timeout(PATIENCE, self.0.read(&mut heard)).await;
        let n = read.unwrap_or_else(|_| panic!("nothing instead of {this:?}")).unwrap();
        let text = String::from_utf8_lossy(&heard[..n]);
        assert!(text.starts_with(this) || text.starts_with(that), "{text:?} instead of {this:?}");
        text.starts_with(this)
    }

    /// It says so, and hears this.
    pub(super) async fn asks(&mut self, line: &str, beginning: &str) {
        self.says(&[line]).await;
        self.hears(beginning).await;
    }

    /// Its connection ends, and it hears nothing before.
    pub(super) async fn is_cut(&mut self) {
        let mut heard = Vec::new();
        let cut = timeout(PATIENCE, self.0.read_to_end(&mut heard)).await;
        assert!(cut.is_ok(), "it lives on");
        assert_eq!(String::from_utf8_lossy(&heard), "");
    }
}

fn topology(revision: u64, primary: Option<&Arc<Endpoint>>) -> Arc<Topology> {
    Arc::new(Topology {
        epoch: revision,
        lineage: "m".to_owned(),
        primary: primary.cloned(),
        replicas: Arc::new(Cluster::new("replicas", [])),
        fenced: false,
        since: std::time::Instant::now(),
        revision,
    })
}

/// Plays a scene.
pub(super) fn play(scene: impl AsyncFnOnce(Stage)) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async { scene(Stage::open()).await });
}

/// Lets everybody finish what they can do now.
async fn breathe() {
    sleep(Duration::from_millis(1)).await;
}
