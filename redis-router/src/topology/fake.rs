//! Servers for tests: they speak the protocol and say what they are told to say. Kind: driver.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use proxy_core::config::Secret;
use proxy_core::drain::Drain;
use proxy_core::metrics::Registry;
use proxy_core::net::{Addr, SocketOptions};
use proxy_core::tasks;
use proxy_core::upstream::{Cluster, Publisher, State, Topology};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

use super::reply::{Reply, decode_reply, put_command};
use super::{Access, Account, AddressMap, AllowList, Fence, Handle, Pace, Settings, Watcher};

const LIMIT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "open sesame";

/// What a server says; each change ends its connections, as a promotion does.
pub(crate) type Say = Arc<dyn Fn(&[&str]) -> Vec<u8> + Send + Sync>;

pub(crate) struct Server {
    pub(crate) addr: Addr,
    pub(crate) say: watch::Sender<Say>,
    /// Messages for subscribers.
    tell: broadcast::Sender<Vec<u8>>,
    /// The commands that came.
    heard: watch::Sender<Vec<String>>,
}

impl Server {
    /// What has come so far is forgotten.
    fn forget(&self) {
        self.heard.send_replace(Vec::new());
    }

    /// Waits until such a command has come.
    pub(crate) async fn hears(&self, command: &str) {
        let mut heard = self.heard.subscribe();
        let came = heard.wait_for(|heard| heard.iter().any(|words| words.starts_with(command)));
        tokio::time::timeout(LIMIT, came).await.unwrap_or_else(|_| panic!("no {command}")).unwrap();
    }

    pub(crate) async fn start(say: Say) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = Addr::from(listener.local_addr().unwrap());
        let (say, (tell, _), heard) =
            (watch::Sender::new(say), broadcast::channel(16), watch::Sender::default());
        let (changes, told, noted) = (say.subscribe(), tell.clone(), heard.clone());
        tasks::spawn("fake server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks::spawn("fake session", serve(stream, changes.clone(), told.subscribe(), noted.clone()));
            }
        });
        Self { addr, say, tell, heard }
    }

    pub(crate) fn publish(&self, channel: &str, payload: &str) {
        let mut message = Vec::new();
        put_command(&mut message, &["pmessage", "*", channel, payload]);
        self.tell.send(message).unwrap();
    }
}

async fn serve(
    mut stream: TcpStream,
    mut say: watch::Receiver<Say>,
    mut told: broadcast::Receiver<Vec<u8>>,
    heard: watch::Sender<Vec<String>>,
) -> std::io::Result<()> {
    say.mark_unchanged();
    let (mut unread, mut subscribed) = (Vec::new(), false);
    loop {
        while let Some((request, used)) = decode_reply(&unread).unwrap() {
            unread.drain(..used);
            let words = request.list().unwrap();
            let words: Vec<&str> = words.iter().filter_map(Reply::text).collect();
            subscribed |= words[0] == "PSUBSCRIBE";
            heard.send_modify(|heard| heard.push(words.join(" ")));
            let answer = say.borrow()(&words);
            stream.write_all(&answer).await?;
        }
        tokio::select! {
            read = stream.read_buf(&mut unread) => if read? == 0 { return Ok(()) },
            message = told.recv() => if subscribed { stream.write_all(&message.unwrap()).await? },
            _ = say.changed() => return Ok(()),
        }
    }
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

fn list(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    put_command(&mut out, words);
    out
}

/// A Redis node at an offset of 100: a master, or a replica of that address.
pub(crate) fn redis(of: Option<&Addr>) -> Say {
    redis_at(of, 100)
}

pub(crate) fn redis_at(of: Option<&Addr>, offset: u64) -> Say {
    let role = match of {
        None => "role:master\r\nmaster_replid:a\r\n".to_owned(),
        Some(Addr::Tcp { host, port }) => format!(
            "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\nmaster_link_status:up\r\nmaster_replid:a\r\n"
        ),
        Some(Addr::Unix(_)) => panic!("Redis replicates over TCP"),
    };
    let role = format!("{role}master_repl_offset:{offset}\r\n");
    Arc::new(move |words| match words {
        ["AUTH", "watcher", PASSWORD] | ["CLIENT", "PAUSE", _, "WRITE"] | ["CLIENT", "UNPAUSE"] => {
            b"+OK\r\n".to_vec()
        }
        ["INFO", "replication"] => bulk(&role),
        ["INFO", _] => bulk("loading:0\r\n"),
        _ => b"-NOPERM no\r\n".to_vec(),
    })
}

pub(crate) fn sentinel(master: &Addr, epoch: &str, replicas: &[&Addr]) -> Say {
    let host_port = |addr: &Addr| {
        let text = addr.to_string();
        let (host, port) = text.rsplit_once(':').unwrap();
        (host.to_owned(), port.to_owned())
    };
    let (host, port) = host_port(master);
    let epoch = epoch.to_owned();
    let mut slaves = format!("*{}\r\n", replicas.len()).into_bytes();
    for replica in replicas {
        let (host, port) = host_port(replica);
        slaves.extend(list(&["ip", &host, "port", &port]));
    }
    Arc::new(move |words| match words {
        ["SENTINEL", "MYID"] => bulk("ab12"),
        ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"] => list(&[&host, &port]),
        ["SENTINEL", "MASTER", "m"] => list(&[
            "ip",
            &host,
            "port",
            &port,
            "flags",
            "master",
            "config-epoch",
            &epoch,
            "down-after-milliseconds",
            "900",
        ]),
        ["SENTINEL", "SLAVES", "m"] => slaves.clone(),
        ["SENTINEL", "FAILOVER", "m"] => b"+OK\r\n".to_vec(),
        ["SENTINEL", "SENTINELS", "m"] => b"*0\r\n".to_vec(),
        ["PSUBSCRIBE", "*"] => b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n".to_vec(),
        _ => b"-ERR what\r\n".to_vec(),
    })
}

/// A master, its replica, and a Sentinel that names them.
pub(crate) struct Scene {
    pub(crate) master: Server,
    pub(crate) replica: Server,
    pub(crate) sentinel: Server,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) handle: Handle,
    drain: Drain,
    _dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn start(allowed: &str) -> Self {
        let master = Server::start(redis(None)).await;
        let replica = Server::start(redis(Some(&master.addr))).await;
        let sentinel = Server::start(sentinel(&master.addr, "4", &[&replica.addr])).await;
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new("redis-router", "test");
        let replicas = Arc::new(Cluster::new("replicas", []));
        let state = State::open(dir.path(), &registry).unwrap();
        let publisher = Arc::new(Publisher::new(state, Arc::clone(&replicas), &registry, Clock::now()));
        let settings = settings(&sentinel.addr, allowed);
        let watcher = Watcher::new(settings, Arc::clone(&publisher), replicas, &registry);
        let (handle, drain) = (watcher.handle(), Drain::new());
        tasks::spawn("watcher", watcher.run(drain.watch()));
        Self { master, replica, sentinel, publisher, handle, drain, _dir: dir }
    }

    /// Waits until the status says so.
    pub(crate) async fn told(&self, says: impl Fn(&Value) -> bool) {
        let until = async {
            while !says(&self.handle.status()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, until).await.unwrap_or_else(|_| panic!("{:#}", self.handle.status()));
    }

    /// Waits until all is well and nobody has been asked for a while; then forgets what was asked.
    pub(crate) async fn quiet(&self) {
        let long_ago = |seen: &Value| seen["seen_ms_ago"].as_u64().is_some_and(|ms| ms >= 100);
        self.told(|status| {
            let settled = status["nodes"][1]["role"] == "replica" && status["suspect"] == false;
            let asked = [&status["sentinels"][0], &status["nodes"][0], &status["nodes"][1]];
            settled && asked.into_iter().all(long_ago)
        })
        .await;
        [&self.master, &self.replica, &self.sentinel].into_iter().for_each(Server::forget);
    }

    pub(crate) async fn published(&self, expected: Option<&Addr>) -> Arc<Topology> {
        let mut topologies = self.publisher.subscribe();
        let found = topologies.wait_for(|topology| topology.primary.as_ref().map(|p| p.addr()) == expected);
        let found = tokio::time::timeout(LIMIT, found).await;
        Arc::clone(&found.unwrap_or_else(|_| panic!("{:#}", self.handle.status())).unwrap())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.drain.terminate();
    }
}

/// The face of a watcher that looks at nobody, to be told what traffic meets.
pub(crate) fn handle() -> Handle {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new("redis-router", "test");
    let replicas = Arc::new(Cluster::new("replicas", []));
    let state = State::open(dir.path(), &registry).unwrap();
    let publisher = Arc::new(Publisher::new(state, Arc::clone(&replicas), &registry, Clock::now()));
    let nobody = "127.0.0.1:1".parse().unwrap();
    Watcher::new(settings(&nobody, "127.0.0.0/8"), publisher, replicas, &registry).handle()
}

/// Everybody is asked once a minute: what is noticed sooner is noticed by other means.
fn settings(sentinel: &Addr, allowed: &str) -> Settings {
    let account = Account { user: Some("watcher".into()), password: Some(Secret::new(PASSWORD)) };
    let access =
        |account| Arc::new(Access::new(account, None, SocketOptions::default(), Duration::from_secs(5)));
    Settings {
        master: "m".into(),
        sentinels: vec![sentinel.clone()],
        redis: access(account),
        sentinel: access(Account::default()),
        allowed: AllowList::from(vec![allowed.parse().unwrap()]),
        address_map: AddressMap::default(),
        pace: Pace {
            calm: Duration::from_secs(60),
            suspect: Duration::from_millis(5),
            patience: Duration::from_secs(5),
        },
        fence: Fence { enabled: true, after: Duration::from_secs(60) },
        regress_after: Duration::from_secs(60),
        max_lag: None,
    }
}
