//! The watcher against servers that speak the protocol and say what they are told to say. Kind: driver.

use std::time::Instant as Clock;

use proxy_core::config::Secret;
use proxy_core::drain::Drain;
use proxy_core::net::SocketOptions;
use proxy_core::upstream::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use serde_json::Value;

use super::*;
use crate::topology::reply::{Reply, decode_reply, put_command};
use crate::topology::{Access, Account, AddressMap, AllowList, Fence, Pace};

const LIMIT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "open sesame";

/// What a server says; each change ends its connections, as a promotion does.
type Say = Arc<dyn Fn(&[&str]) -> Vec<u8> + Send + Sync>;

struct Server {
    addr: Addr,
    say: watch::Sender<Say>,
    /// Messages for subscribers.
    tell: tokio::sync::broadcast::Sender<Vec<u8>>,
}

impl Server {
    async fn start(say: Say) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = Addr::from(listener.local_addr().unwrap());
        let (say, (tell, _)) = (watch::Sender::new(say), tokio::sync::broadcast::channel(16));
        let (changes, told) = (say.subscribe(), tell.clone());
        tasks::spawn("fake server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks::spawn("fake session", serve(stream, changes.clone(), told.subscribe()));
            }
        });
        Self { addr, say, tell }
    }

    fn publish(&self, channel: &str, payload: &str) {
        let mut message = Vec::new();
        put_command(&mut message, &["pmessage", "*", channel, payload]);
        self.tell.send(message).unwrap();
    }
}

async fn serve(
    mut stream: TcpStream,
    mut say: watch::Receiver<Say>,
    mut told: tokio::sync::broadcast::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    say.mark_unchanged();
    let (mut unread, mut subscribed) = (Vec::new(), false);
    loop {
        while let Some((request, used)) = decode_reply(&unread).unwrap() {
            unread.drain(..used);
            let words = request.list().unwrap();
            let words: Vec<&str> = words.iter().filter_map(Reply::text).collect();
            subscribed |= words[0] == "PSUBSCRIBE";
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

/// A Redis node: a master, or a replica of that address.
fn redis(of: Option<&Addr>) -> Say {
    let role = match of {
        None => "role:master\r\nmaster_replid:a\r\n".to_owned(),
        Some(Addr::Tcp { host, port }) => format!(
            "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\nmaster_link_status:up\r\nmaster_replid:a\r\n"
        ),
        Some(Addr::Unix(_)) => panic!("Redis replicates over TCP"),
    };
    Arc::new(move |words| match words {
        ["AUTH", "watcher", PASSWORD] => b"+OK\r\n".to_vec(),
        ["INFO", "replication"] => bulk(&role),
        ["INFO", _] => bulk("loading:0\r\n"),
        _ => b"-NOPERM no\r\n".to_vec(),
    })
}

fn sentinel(master: &Addr, epoch: &str, replicas: &[&Addr]) -> Say {
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
        ["SENTINEL", "MASTER", "m"] => {
            list(&["ip", &host, "port", &port, "flags", "master", "config-epoch", &epoch])
        }
        ["SENTINEL", "SLAVES", "m"] => slaves.clone(),
        ["SENTINEL", "SENTINELS", "m"] => b"*0\r\n".to_vec(),
        ["PSUBSCRIBE", "*"] => b"*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n".to_vec(),
        _ => b"-ERR what\r\n".to_vec(),
    })
}

/// A master, its replica, and a Sentinel that names them.
struct Scene {
    master: Server,
    replica: Server,
    sentinel: Server,
    publisher: Arc<Publisher>,
    handle: Handle,
    drain: Drain,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn start(allowed: &str) -> Self {
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
    async fn told(&self, says: impl Fn(&Value) -> bool) {
        let until = async {
            while !says(&self.handle.status()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, until).await.unwrap_or_else(|_| panic!("{:#}", self.handle.status()));
    }

    async fn published(&self, expected: Option<&Addr>) -> Arc<Topology> {
        let mut topologies = self.publisher.subscribe();
        let found = topologies.wait_for(|topology| topology.primary.as_ref().map(|p| p.addr()) == expected);
        let found = tokio::time::timeout(LIMIT, found).await;
        Arc::clone(&found.unwrap_or_else(|_| panic!("{:#}", self.handle.status())).unwrap())
    }
}

/// Everybody is asked every ten seconds: what is noticed sooner is noticed by other means.
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
            calm: Duration::from_secs(10),
            suspect: Duration::from_millis(5),
            patience: Duration::from_secs(5),
        },
        fence: Fence { enabled: true, after: Duration::from_secs(60) },
        regress_after: Duration::from_secs(60),
        max_lag: None,
    }
}

#[tokio::test]
async fn a_promotion_is_followed_by_what_the_connections_tell_alone() {
    let scene = Scene::start("127.0.0.0/8").await;
    let topology = scene.published(Some(&scene.master.addr)).await;
    assert_eq!((topology.epoch, topology.lineage.as_str()), (4, "m"));
    scene.told(|status| status["nodes"][1]["role"] == "replica").await;

    let Addr::Tcp { host, port } = &scene.replica.addr else { panic!() };
    scene.sentinel.publish("+new-epoch", "5");
    scene.sentinel.publish("+try-failover", "master m 127.0.0.1 1");
    scene.sentinel.publish("+selected-slave", &format!("slave x {host} {port} @ m 127.0.0.1 1"));
    scene.told(|status| status["candidate"]["epoch"] == 5).await;
    scene.replica.say.send_replace(redis(None));
    assert_eq!(scene.published(Some(&scene.replica.addr)).await.epoch, 5);
    let status = scene.handle.status();
    assert_eq!(status["switches"][0]["to"], scene.replica.addr.to_string());
    assert!(status["switches"][0]["evidence"][1].as_str().unwrap().contains("in epoch 5"), "{status:#}");

    scene.sentinel.publish("-failover-abort-slave-timeout", "master m 127.0.0.1 1");
    assert_eq!(scene.published(Some(&scene.master.addr)).await.epoch, 4);
    scene.drain.terminate();
}

#[tokio::test]
async fn any_event_and_any_lost_connection_make_it_look_again() {
    let scene = Scene::start("127.0.0.1").await;
    scene.published(Some(&scene.master.addr)).await;
    scene.master.say.send_replace(redis(Some(&scene.replica.addr)));
    assert!(scene.published(None).await.fenced, "it calls itself a replica");
    scene.replica.say.send_replace(redis(None));
    scene.sentinel.say.send_replace(sentinel(&scene.replica.addr, "7", &[&scene.master.addr]));
    assert_eq!(scene.published(Some(&scene.replica.addr)).await.epoch, 7);
    scene.drain.terminate();
}

#[tokio::test]
async fn traffic_that_suspects_makes_it_look_again() {
    let scene = Scene::start("localhost").await;
    scene.told(|status| status["sentinels"][0]["lost"] == "address not allowed").await;
    assert_eq!(
        scene.handle.status()["nodes"],
        serde_json::json!([]),
        "nobody hears from us, least of all a password"
    );
    scene.drain.terminate();

    let scene = Scene::start("127.0.0.1").await;
    let topology = scene.published(Some(&scene.master.addr)).await;
    let primary = topology.primary.clone().unwrap();
    let before = scene.handle.status()["nodes"][0]["seen_ms_ago"].as_u64().unwrap();
    scene.handle.suspect(&primary);
    scene.told(|status| status["nodes"][0]["seen_ms_ago"].as_u64().is_some_and(|ms| ms <= before + 50)).await;
    scene.drain.terminate();
}
