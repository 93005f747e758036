//! What an operator may tell redis-router. Every key has a default that serves the reference deployment, a unit where
//! it has one, and a reason to be turned. Kind: pure.

use std::path::PathBuf;
use std::time::Duration;

use proxy_core::config::{Invalid, Secret, Settings, Size, duration, optional_duration};
use proxy_core::error::Error;
use proxy_core::net::{Addr, SocketOptions};
use proxy_core::tls::{ClientTlsSettings, ServerTlsSettings};
use proxy_core::upstream::pool::Role;
use serde::{Deserialize, Serialize};

use crate::observe::KeyStyle;
use crate::topology::{AddressMap, AllowList};

/// The whole configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that carry clients; 0 = as many as there are processors. Fewer share more.
    pub workers: usize,
    /// Where the last epoch is kept, so that a restarted router can't be captured by a returned old master.
    pub state_dir: PathBuf,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// The masters, as Sentinel names them.
    pub masters: Vec<Master>,
    /// Who may come in; if nobody is named, clients' own logins are passed on to Redis.
    pub users: Vec<User>,
    /// What happens while there is no master.
    pub hold: Hold,
    /// What one client may take.
    pub limits: Limits,
    /// Connections for one client each: blocking commands, transactions, subscriptions.
    pub pool: Pool,
    /// What is noted about commands.
    pub observe: Observe,
    /// Encryption towards clients.
    pub client_tls: Option<ServerTlsSettings>,
    /// What every TCP connection gets, on both sides.
    pub sockets: SocketOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 1,
            state_dir: PathBuf::from("/var/lib/redis-router"),
            listeners: vec![Listener::default()],
            masters: Vec::new(),
            users: Vec::new(),
            hold: Hold::default(),
            limits: Limits::default(),
            pool: Pool::default(),
            observe: Observe::default(),
            client_tls: None,
            sockets: SocketOptions::default(),
        }
    }
}

/// One address for clients.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// `host:port`, or `unix:/path`.
    pub listen: Addr,
    /// Which of the masters; the first if it is empty.
    pub master: String,
    /// Who answers: the master, or its replicas.
    pub role: Role,
    /// Whether clients share connections to the server.
    pub mode: Mode,
    /// Refuses writes.
    pub read_only: bool,
    /// Commands that are refused, beside those that never make sense through a router.
    pub deny: Vec<String>,
    /// Whether the text protocol of telnet is understood.
    pub inline_commands: bool,
    /// Clients at the same time.
    pub max_connections: usize,
    /// Of these, from one IP address.
    pub max_per_address: Option<std::num::NonZeroUsize>,
    /// Networks from which a PROXY protocol header is believed.
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// Whether `[client_tls]` holds here.
    pub tls: bool,
    /// How long a client may take to log in, where it must.
    #[serde(with = "duration")]
    pub login_timeout: Duration,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            listen: Addr::Tcp { host: "0.0.0.0".to_owned(), port: 6379 },
            master: String::new(),
            role: Role::Primary,
            mode: Mode::Shared,
            read_only: false,
            deny: Vec::new(),
            inline_commands: true,
            max_connections: 10_000, // Redis' own maxclients
            max_per_address: None,
            proxy_protocol_from: Vec::new(),
            tls: false,
            login_timeout: Duration::from_secs(10),
        }
    }
}

/// How clients reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Many share a connection; each has one of its own only while it must.
    Shared,
    /// Each has its own, byte for byte; it is cut when the master changes.
    Passthrough,
}

/// A master and its Sentinels.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Master {
    /// As the Sentinels call it.
    pub name: String,
    /// Where to begin; more are learned from them.
    pub sentinels: Vec<Addr>,
    /// As whom the router itself logs in to Redis: to look, and for clients that `[[users]]` lets in.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// As whom it logs in to the Sentinels.
    pub sentinel_user: Option<String>,
    /// Its password there.
    pub sentinel_password: Option<Secret>,
    /// Redis addresses that Sentinels may name; all if it is empty. Who can publish to a Sentinel could else lead us
    /// anywhere.
    pub allowed: AllowList,
    /// How an address that Sentinels name is reached from here (NAT, Docker).
    pub address_map: AddressMap,
    /// Between two looks at each Sentinel and server while all is well.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    /// Between two looks at a replica that is being promoted.
    #[serde(with = "duration")]
    pub suspect_interval: Duration,
    /// How long an answer may take.
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    /// A replica that is further behind gets no reads; no limit if absent.
    #[serde(with = "optional_duration")]
    pub max_lag: Option<Duration>,
    /// When writes are given up for want of anybody who speaks for the master.
    pub fence: Fence,
    /// For how long all Sentinels must agree on a master of an older epoch before it is believed: they were set up anew.
    #[serde(with = "duration")]
    pub regress_timeout: Duration,
    /// Encryption towards Redis.
    pub redis_tls: Option<ClientTlsSettings>,
    /// Encryption towards the Sentinels.
    pub sentinel_tls: Option<ClientTlsSettings>,
}

impl Default for Master {
    fn default() -> Self {
        Self {
            name: "mymaster".to_owned(),
            sentinels: Vec::new(),
            user: None,
            password: None,
            sentinel_user: None,
            sentinel_password: None,
            allowed: AllowList::default(),
            address_map: AddressMap::default(),
            probe_interval: Duration::from_secs(1),
            suspect_interval: Duration::from_millis(10),
            probe_timeout: Duration::from_millis(500),
            max_lag: None,
            fence: Fence::default(),
            regress_timeout: Duration::from_secs(30),
            redis_tls: None,
            sentinel_tls: None,
        }
    }
}

/// Self-fencing: a master with which the router is alone may have been replaced behind its back.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fence {
    /// Whether to do it.
    pub enabled: bool,
    /// How long no Sentinel and no replica may be in sight before.
    #[serde(with = "duration")]
    pub after: Duration,
}

impl Default for Fence {
    fn default() -> Self {
        Self { enabled: true, after: Duration::from_secs(2) }
    }
}

/// Somebody who may come in, as the router itself checks it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name in `AUTH name password`; `default` for `AUTH password`.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Clients that wait while there is no master.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hold {
    /// How long.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How many commands.
    pub max_commands: usize,
    /// How much they may occupy.
    pub max_bytes: Size,
}

impl Default for Hold {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), max_commands: 100_000, max_bytes: Size::new(64 << 20) }
    }
}

/// What one client may take.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Commands that it may have under way; beyond, it is not read.
    pub pipeline: u32,
    /// Bytes of replies that it may leave unread before it is cut.
    pub output: Size,
    /// Bytes of one argument.
    pub argument: Size,
    /// Arguments of one command.
    pub arguments: u32,
    /// A command of more bytes gets a connection of its own, as does a client whose replies are larger.
    pub large: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pipeline: 4096,
            output: Size::new(256 << 20), // `pipeline` replies that are just not large
            argument: Size::new(512 << 20), // Redis' proto-max-bulk-len
            arguments: 1 << 20,
            large: Size::new(64 << 10),
        }
    }
}

/// Connections for one client each.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// At most so many per master, over all workers.
    pub size: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { size: 8000 } // below Redis' maxclients of 10 000
    }
}

/// What is noted about commands.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observe {
    /// Commands that take longer are noted in `/status`.
    #[serde(with = "duration")]
    pub slow: Duration,
    /// How many of them.
    pub slow_entries: usize,
    /// One of so many keys is counted for the most used ones; 0: none.
    pub sample_keys: u32,
    /// How keys are shown, which may hold what not everybody should read.
    pub keys: KeyStyle,
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            slow: Duration::from_millis(10),
            slow_entries: 128,
            sample_keys: 100,
            keys: KeyStyle::default(),
        }
    }
}

impl Settings for Config {
    fn check(&self) -> Result<(), Invalid> {
        if self.masters.is_empty() {
            let text =
                "no master is named; write [[masters]] with sentinels = [\"host:26379\"], or give --sentinel";
            return Err(Invalid::new("masters", text));
        }
        for master in &self.masters {
            self.check_master(master)?;
        }
        if self.listeners.is_empty() {
            return Err(Invalid::new("listeners", "there is no address for clients; write [[listeners]]"));
        }
        for listener in &self.listeners {
            self.check_listener(listener)?;
        }
        if self.pool.size == 0 {
            return Err(Invalid::new(
                "pool.size",
                "a pool without connections serves nobody; write 1 or more",
            ));
        }
        self.check_tls()
    }

    fn files(&self) -> Vec<PathBuf> {
        let clients = self.client_tls.iter().flat_map(ServerTlsSettings::files);
        let servers = self.masters.iter().flat_map(|master| [&master.redis_tls, &master.sentinel_tls]);
        clients.chain(servers.flatten().flat_map(ClientTlsSettings::files)).collect()
    }
}

impl Config {
    /// The master of that name; an empty name is the first.
    pub fn master(&self, name: &str) -> Option<usize> {
        let named = |master: &Master| name.is_empty() || master.name == name;
        self.masters.iter().position(named)
    }

    fn check_master(&self, master: &Master) -> Result<(), Invalid> {
        if master.sentinels.is_empty() {
            let text = format!("{:?} has no Sentinels; write sentinels = [\"host:26379\"]", master.name);
            return Err(Invalid::new("masters.sentinels", text));
        }
        // The name becomes a folder of the state directory and a word of Sentinel's commands.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if master.name.is_empty() || master.name.starts_with('.') || !master.name.chars().all(plain) {
            let text =
                format!("{:?} can be no Sentinel master's name; use letters, digits, - _ .", master.name);
            return Err(Invalid::new("masters.name", text));
        }
        if self.masters.iter().filter(|other| other.name == master.name).count() > 1 {
            return Err(Invalid::new("masters.name", format!("{:?} stands there twice", master.name)));
        }
        Ok(())
    }

    fn check_listener(&self, listener: &Listener) -> Result<(), Invalid> {
        if self.master(&listener.master).is_none() {
            let text = format!("{:?} is none of [[masters]]; write the name of one", listener.master);
            return Err(Invalid::new("listeners.master", text));
        }
        if listener.tls && self.client_tls.is_none() {
            return Err(Invalid::new("listeners.tls", "needs a certificate; write [client_tls]"));
        }
        let inspects = listener.read_only || !listener.deny.is_empty();
        if listener.mode == Mode::Passthrough && inspects {
            let text =
                "a passthrough listener does not look at commands; take mode = \"shared\" to refuse some";
            return Err(Invalid::new("listeners.mode", text));
        }
        Ok(())
    }

    /// The settings of each TLS table go together. Their files are read at the start.
    fn check_tls(&self) -> Result<(), Invalid> {
        let wrong = |key| move |error: Error| Invalid::new(key, error.to_string());
        self.client_tls.as_ref().map(|tls| tls.config(&[])).transpose().map_err(wrong("client_tls"))?;
        for master in &self.masters {
            let redis = master.redis_tls.as_ref().map(|tls| tls.config(&[]));
            redis.transpose().map_err(wrong("masters.redis_tls"))?;
            let sentinel = master.sentinel_tls.as_ref().map(|tls| tls.config(&[]));
            sentinel.transpose().map_err(wrong("masters.sentinel_tls"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Config {
        let sentinels = vec!["s1:26379".parse().unwrap()];
        let mut config =
            Config { masters: vec![Master { sentinels, ..Master::default() }], ..Config::default() };
        change(&mut config);
        config
    }

    #[track_caller]
    fn check(config: &Config, expected: Option<&str>) {
        let text = config.check().err().map(|invalid| format!("{invalid:?}"));
        match (expected, &text) {
            (Some(expected), Some(text)) => assert!(text.contains(expected), "{text}"),
            (expected, text) => assert_eq!(text.as_deref(), expected),
        }
    }

    #[test]
    fn one_sentinel_is_all_it_needs() {
        check(&with(|_| {}), None);
    }

    #[test]
    fn what_can_t_work_is_named() {
        check(&with(|config| config.masters.clear()), Some("no master is named"));
        check(&with(|config| config.masters[0].sentinels.clear()), Some("has no Sentinels"));
        check(
            &with(|config| config.masters[0].name = "../x".into()),
            Some("can be no Sentinel master's name"),
        );
        check(&with(|config| config.masters.push(config.masters[0].clone())), Some("twice"));
        check(&with(|config| config.listeners[0].master = "other".into()), Some("none of [[masters]]"));
        check(&with(|config| config.listeners[0].tls = true), Some("certificate"));
        check(&with(|config| config.pool.size = 0), Some("pool.size"));
        let refuses = |config: &mut Config| {
            config.listeners[0].mode = Mode::Passthrough;
            config.listeners[0].read_only = true;
        };
        check(&with(refuses), Some("does not look at commands"));
    }
}
