//! What an operator may tell pg-router. Every key has a default that serves the reference deployment, a unit where it
//! has one, and a reason to be turned. Kind: pure.

use std::path::PathBuf;
use std::time::Duration;

use proxy_core::config::{Invalid, Secret, Settings, Size, duration, optional_duration};
use proxy_core::error::Error;
use proxy_core::net::{Addr, SocketOptions};
use proxy_core::tls::{ClientTlsSettings, ServerTlsSettings};
use proxy_core::upstream::Policy;
use proxy_core::upstream::pool::Role;
use serde::{Deserialize, Serialize};

use crate::session::Mode;

/// The whole configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that carry sessions; 0 = as many as there are processors.
    pub workers: usize,
    /// Where the last epoch is kept, so that a restarted router can't be captured by a returned old primary.
    pub state_dir: PathBuf,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// The servers.
    pub cluster: Cluster,
    /// Their connections.
    pub pool: Pool,
    /// What happens while there is no primary.
    pub hold: Hold,
    /// Who may come in.
    pub users: Users,
    /// How we log in to the servers for them.
    pub server_users: Vec<ServerUser>,
    /// Encryption towards clients.
    pub client_tls: Option<ServerTlsSettings>,
    /// Refuse clients that don't encrypt.
    pub client_tls_required: bool,
    /// Encryption towards servers.
    pub server_tls: Option<ClientTlsSettings>,
    /// What every TCP connection gets, on both sides.
    pub sockets: SocketOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 0,
            state_dir: PathBuf::from("/var/lib/pg-router"),
            listeners: vec![Listener::default()],
            cluster: Cluster::default(),
            pool: Pool::default(),
            hold: Hold::default(),
            users: Users::default(),
            server_users: Vec::new(),
            client_tls: None,
            client_tls_required: false,
            server_tls: None,
            sockets: SocketOptions::default(),
        }
    }
}

/// One address for clients.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// `host:port`, or `unix:/path/.s.PGSQL.6432`.
    pub listen: Addr,
    /// Who answers: the primary, or any standby that follows it.
    pub role: Role,
    /// When a server connection is given back.
    pub mode: Mode,
    /// Clients at the same time; one more is refused with 53300.
    pub max_connections: usize,
    /// Of these, from one IP address.
    pub max_per_address: Option<std::num::NonZeroUsize>,
    /// Networks from which a PROXY protocol header is believed.
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// How long a client may take to log in.
    #[serde(with = "duration")]
    pub login_timeout: Duration,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            listen: Addr::Tcp { host: "0.0.0.0".to_owned(), port: 6432 },
            role: Role::Primary,
            mode: Mode::Transaction,
            max_connections: 10_000,
            max_per_address: None,
            proxy_protocol_from: Vec::new(),
            login_timeout: Duration::from_secs(15), // PgBouncer's query_wait is longer, PostgreSQL's is 60 s
        }
    }
}

/// The servers and how they are watched.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Where to begin; more are learned from the confirmed primary's `repmgr.nodes`.
    pub nodes: Vec<Addr>,
    /// The user that watches; it must be allowed to read the `repmgr` schema, and needs `pg_monitor`.
    pub monitor_user: String,
    /// The database that has the `repmgr` schema.
    pub monitor_database: String,
    /// Its password.
    pub monitor_password: Option<Secret>,
    /// Between two looks at a node while all is well.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    /// Between two looks while something is wrong.
    #[serde(with = "duration")]
    pub suspect_interval: Duration,
    /// A node that does not answer for so long is not seen.
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    /// A standby that is further behind gets no reads; no limit if absent.
    #[serde(with = "optional_duration")]
    pub max_lag: Option<Duration>,
    /// How long writes are held while a server of a higher timeline stands unconfirmed beside a living primary; then
    /// the old one stays.
    #[serde(with = "duration")]
    pub contest_timeout: Duration,
    /// How long a primary that was lost and came back alone, with no other node to speak for or against it, must have
    /// stood there before it is believed: it looks exactly like one that was replaced behind our back.
    #[serde(with = "duration")]
    pub lone_timeout: Duration,
    /// How one of several standbys is picked.
    pub balance: Policy,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            monitor_user: "repmgr".to_owned(),
            monitor_database: "repmgr".to_owned(),
            monitor_password: None,
            probe_interval: Duration::from_millis(250),
            suspect_interval: Duration::from_millis(20),
            probe_timeout: Duration::from_secs(1),
            max_lag: None,
            contest_timeout: Duration::from_secs(5),
            lone_timeout: Duration::from_secs(30),
            balance: Policy::LeastInFlight,
        }
    }
}

/// Server connections, per user and database.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// At most so many, over all workers.
    pub size: usize,
    /// Kept open on each worker once there was one client.
    pub min: usize,
    /// How long a request waits for one while there is a primary.
    #[serde(with = "duration")]
    pub wait_timeout: Duration,
    /// An idle one is closed after this.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Each is closed at this age (up to a tenth earlier), so that memory and plans of a backend don't grow old.
    #[serde(with = "duration")]
    pub max_lifetime: Duration,
    /// How long opening one may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Combinations of user, database and start-up options that may have a pool; each may open `size` connections.
    pub max_pools: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            size: 20,
            min: 0,
            wait_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
            max_pools: 1000,
        }
    }
}

/// Clients that wait while there is no primary.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hold {
    /// How long. repmgr's own defaults promote after a minute, Bitnami's after 15 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How many.
    pub max_clients: usize,
    /// How much their requests may occupy.
    pub max_bytes: Size,
    /// Over how long they are let go again.
    #[serde(with = "duration")]
    pub release_spread: Duration,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(90),
            max_clients: 10_000,
            max_bytes: Size::new(64 << 20),
            release_spread: Duration::from_millis(20),
        }
    }
}

/// Who may come in.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// A `userlist.txt` as PgBouncer has it: `"name" "SCRAM-SHA-256$…"` (from `pg_authid`), or a plain password.
    pub file: Option<PathBuf>,
}

/// How we log in to the servers for a user.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerUser {
    /// The client's user name.
    pub name: String,
    /// The server's user name, where it is another.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    pub password: Secret,
}

impl Settings for Config {
    fn check(&self) -> Result<(), Invalid> {
        if self.cluster.nodes.is_empty() {
            return Err(Invalid::new(
                "cluster.nodes",
                "no server is named; write [\"db1:5432\", \"db2:5432\"]",
            ));
        }
        if self.listeners.is_empty() {
            return Err(Invalid::new("listeners", "there is no address for clients; write [[listeners]]"));
        }
        if self.pool.size == 0 {
            return Err(Invalid::new(
                "pool.size",
                "a pool without connections serves nobody; write 1 or more",
            ));
        }
        if self.pool.min > self.pool.size {
            return Err(Invalid::new("pool.min", "more than pool.size; write at most that"));
        }
        if self.client_tls_required && self.client_tls.is_none() {
            return Err(Invalid::new(
                "client_tls_required",
                "needs a certificate; write [client_tls], or leave it out",
            ));
        }
        self.check_tls()
    }

    fn files(&self) -> Vec<PathBuf> {
        let clients = self.client_tls.iter().flat_map(ServerTlsSettings::files);
        let servers = self.server_tls.iter().flat_map(ClientTlsSettings::files);
        self.users.file.iter().cloned().chain(clients).chain(servers).collect()
    }
}

impl Config {
    /// The settings of each TLS table go together. Their files are read at the start.
    fn check_tls(&self) -> Result<(), Invalid> {
        let wrong = |key| move |error: Error| Invalid::new(key, error.to_string());
        self.client_tls.as_ref().map(|tls| tls.config(&[])).transpose().map_err(wrong("client_tls"))?;
        self.server_tls.as_ref().map(|tls| tls.config(&[])).transpose().map_err(wrong("server_tls"))?;
        Ok(())
    }
}
