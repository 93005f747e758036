//! The replicas of an application: where they are, how much each takes, who waits and for how long. Kind: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use proxy_core::config::{Secret, duration, optional_duration};
use proxy_core::net::{Addr, AddrError};
use proxy_core::tls::ClientTlsSettings;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::pattern::Key;

/// A named set of interchangeable replicas.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// Its replicas.
    pub upstreams: Vec<Upstream>,
    /// Requests that one replica works on at the same time: gunicorn's workers times threads. 0: no limit.
    pub slots: u32,
    /// Which replica is next.
    pub policy: Policy,
    /// By what `policy = "hash"` tells requests apart.
    pub hash: Key,
    /// Keeps a client with its replica.
    pub sticky: Option<Sticky>,
    /// Those who wait for a slot.
    pub queue: Queue,
    /// Asks each replica how it is; without it, it is only asked to accept a connection.
    pub check: Option<Check>,
    /// When traffic takes a replica out.
    pub ejection: Ejection,
    /// How long a replica that came up gets less than its share.
    #[serde(with = "duration")]
    pub slow_start: Duration,
    /// With no replica up, all are tried: a check that fails everywhere is no proof against any of them.
    pub panic_mode: bool,
    /// So do they where less than this share of the replicas is up, in percent.
    pub panic_below: u8,
    /// What is tried again, and where.
    pub retries: Retries,
    /// Connections that are kept for the next request.
    pub keepalive: Keepalive,
    /// How names are followed.
    pub resolution: Resolution,
    /// The `Host` that the replicas see; the client's own if absent.
    pub host: Option<String>,
    /// Encryption towards the replicas.
    pub tls: Option<ClientTlsSettings>,
    /// HTTP/2 towards the replicas.
    pub http2: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            upstreams: Vec::new(),
            slots: 0,
            policy: Policy::LeastInFlight,
            hash: Key::Address,
            sticky: None,
            queue: Queue::default(),
            check: None,
            ejection: Ejection::default(),
            slow_start: Duration::ZERO,
            panic_mode: true,
            panic_below: 0,
            retries: Retries::default(),
            keepalive: Keepalive::default(),
            resolution: Resolution::default(),
            host: None,
            tls: None,
            http2: false,
        }
    }
}

/// One replica, or a name that stands for several: `"host:8000"`, or a table with its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where.
    pub address: Target,
    /// Its share, beside the others'.
    pub weight: u16,
    /// Its slots, if they differ from the cluster's.
    pub slots: Option<u32>,
}

/// Where replicas are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `host:port`, or `unix:/path`: one replica; a name is resolved at each connect.
    One(Addr),
    /// `dns:host:port`: a replica at each address of the name (A, AAAA).
    Dns {
        /// The name.
        host: String,
        /// The port at each address.
        port: u16,
    },
    /// `srv:_http._tcp.name`: a replica at each host and port of the record (RFC 2782).
    Srv(String),
}

impl FromStr for Target {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if let Some(name) = text.strip_prefix("srv:") {
            // Checked as a host name; the port is only there to make it an address.
            return format!("{name}:0").parse::<Addr>().map(|addr| Self::Srv(addr.host().to_owned()));
        }
        let Some(rest) = text.strip_prefix("dns:") else { return text.parse().map(Self::One) };
        match rest.parse()? {
            Addr::Tcp { host, port } => Ok(Self::Dns { host, port }),
            unix @ Addr::Unix(_) => Ok(Self::One(unix)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(addr) => addr.fmt(f),
            Self::Dns { host, port } => write!(f, "dns:{host}:{port}"),
            Self::Srv(name) => write!(f, "srv:{name}"),
        }
    }
}

/// The table of an upstream, as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    address: String,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
}

const fn one() -> u16 {
    1
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UpstreamVisitor)
    }
}

struct UpstreamVisitor;

impl<'de> Visitor<'de> for UpstreamVisitor {
    type Value = Upstream;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"host:port\", \"unix:/path\", \"dns:host:port\", \"srv:name\" or a table with an address",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Upstream, E> {
        let address = text.parse().map_err(E::custom)?;
        Ok(Upstream { address, weight: one(), slots: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Upstream, A::Error> {
        let table = UpstreamTable::deserialize(MapAccessDeserializer::new(map))?;
        let address = table.address.parse().map_err(de::Error::custom)?;
        Ok(Upstream { address, weight: table.weight, slots: table.slots })
    }
}

impl Serialize for Upstream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = self.address.to_string();
        match (self.weight, self.slots) {
            (1, None) => serializer.serialize_str(&address),
            (weight, slots) => UpstreamTable { address, weight, slots }.serialize(serializer),
        }
    }
}

/// Which replica is next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The one with the least in flight for its weight.
    #[default]
    LeastInFlight,
    /// One after the other, interleaved, in exact proportion to the weights.
    RoundRobin,
    /// The better one of two at random, by what is in flight and how long its answers take.
    TwoChoices,
    /// The same one for the same `hash`, as far as it has room.
    Hash,
}

/// A cookie of ours that names the replica.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: String,
    /// How long it holds; as long as the browser is open if absent.
    #[serde(with = "optional_duration", default)]
    pub max_age: Option<Duration>,
    /// What the cookie's value is derived with, so that it does not tell the replica's address. Several balancers need
    /// the same one; if absent it is drawn at the start, and clients are spread anew after a restart.
    #[serde(default)]
    pub key: Option<Secret>,
}

/// Those who wait for a slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// How many; the next one hears 503.
    pub max: usize,
    /// How long.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Slots of the whole cluster that only the first class may take. They idle while nobody of that class asks, and the
    /// first class goes before all others anyhow: for many slots, and requests that must not wait for one to end.
    pub reserved: u32,
    /// At most so many of a class, by its name.
    pub max_of_class: BTreeMap<String, usize>,
    /// The share of the slots, in percent, that lower classes get while higher ones wait; 0 lets them starve.
    pub low_share_percent: u8,
    /// What the 503 tells as `Retry-After`, at least: it is longer where the queue is.
    #[serde(with = "duration")]
    pub retry_after: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max: 1000,
            timeout: Duration::from_secs(15),
            reserved: 0,
            max_of_class: BTreeMap::new(),
            low_share_percent: 5,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// The active check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// What is done.
    pub kind: CheckKind,
    /// What is asked for.
    pub path: String,
    /// The `Host` to ask for it: Django refuses hosts that it does not know.
    pub host: String,
    /// How it is asked for: `GET` or `HEAD`, most often.
    pub method: String,
    /// The statuses that are well.
    pub expect: Vec<u16>,
    /// What the answer must contain, within its first 64 KiB.
    pub contains: Option<String>,
    /// Between two checks of a replica.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// So many good ones in a row bring a replica up.
    pub rise: u16,
    /// So many bad ones in a row take it down.
    pub fall: u16,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Http,
            path: "/".to_owned(),
            host: "localhost".to_owned(),
            method: "GET".to_owned(),
            expect: vec![200],
            contains: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            rise: 1,
            fall: 3,
        }
    }
}

/// How a replica is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// A request, and its status.
    #[default]
    Http,
    /// A connection, and no more: it needs no worker of a synchronous server.
    Connect,
}

/// When traffic takes a replica out, until a check finds that it is well. Broken connections count, never a status; one
/// that can't be connected to is taken out at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// So many in a row; 0: never.
    pub failures: u16,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 3 }
    }
}

/// What is tried again: any request that provably was not sent; after that, idempotent ones (RFC 9110 9.2.2) whose
/// answer has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How often beyond the first time.
    pub attempts: u32,
    /// Beneath these paths a POST that carries `X-Idempotency-Key` counts as idempotent.
    pub idempotency_key: Vec<String>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 2, idempotency_key: Vec::new() }
    }
}

/// Connections that are kept for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keepalive {
    /// How many to each replica, per worker; 0: none.
    pub max_idle: usize,
    /// How long. Less than the replicas' own (gunicorn: 2 s), else they close what we are about to use.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { max_idle: 1024, idle_timeout: Duration::from_millis(1500) }
    }
}

/// How `dns:` and `srv:` names are followed. The last good answer is kept while the name service is away.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resolution {
    /// The longest time between two questions; a shorter lifetime of the answer wins.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long a question may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Name servers, as `address:port`; those of the machine if there is none.
    pub servers: Vec<std::net::SocketAddr>,
}

impl Default for Resolution {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(2), servers: Vec::new() }
    }
}
