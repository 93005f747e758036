//! Our pg-router in front of a cluster: built, configured as its users would, started, watched. Kind: driver.

use crate::{
    Context, Error, Result, http,
    pg::{Account, Cluster, node::tail},
    place,
    process::{Process, Spec, free_port},
    progress::say,
    wait::eventually,
};
use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Fat LTO on a busy machine of two cores, from nothing.
const BUILD: Duration = Duration::from_secs(1500);

/// How the router is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For tests: quick to build.
    Fast,
    /// For measurements: what ships.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Release => "release",
        }
    }
}

/// Builds pg-router and returns the path of the binary.
pub fn build(profile: Profile) -> Result<PathBuf> {
    let name = profile.name();
    say(format_args!("building pg-router ({name})"));
    place::cargo("build")?.args(["--quiet", "--profile", name, "-p", "pg-router"]).output(BUILD)?;
    Ok(place::target()?.join(name).join("pg-router"))
}

/// The binary for tests: the one that `stack test` built, or, in a test run by hand, built now; once per process.
pub fn binary() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.is_none() {
        *built = Some(std::env::var_os(BINARY).map_or_else(|| build(Profile::Fast), |path| Ok(path.into()))?);
    }
    Ok(built.clone().unwrap_or_default())
}

/// Names the binary to the tests that `stack test` starts.
pub const BINARY: &str = "STACK_PG_ROUTER";

/// How the router is configured.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Its folder (config, secrets, state, log), which may hold the state of an earlier life; none: one below the
    /// cluster's folder, which goes with the cluster.
    pub dir: Option<PathBuf>,
    /// The port of its listener for the primary; none: a free one.
    pub port: Option<u16>,
    /// `workers`.
    pub workers: usize,
    /// The listener's `mode`: `transaction` or `session`.
    pub mode: &'static str,
    /// `pool.size`.
    pub pool_size: usize,
    /// What it gets as `cluster.nodes`; empty: all nodes. Put relays or fewer nodes here.
    pub nodes: Vec<String>,
    /// TOML appended to the configuration as it is.
    pub extra: String,
    /// Added to its environment: any key, as in `("PG_ROUTER_POOL__WAIT_TIMEOUT", "1s")`.
    pub env: Vec<(&'static str, String)>,
}

impl RouterOptions {
    /// One worker, transaction mode, a pool of 20: what PgBouncer gets in the benches, too.
    pub fn new(binary: &Path) -> Self {
        Self {
            binary: binary.into(),
            dir: None,
            port: None,
            workers: 1,
            mode: "transaction",
            pool_size: 20,
            nodes: Vec::new(),
            extra: String::new(),
            env: Vec::new(),
        }
    }
}

/// A running pg-router; dropping it kills it.
#[derive(Debug)]
pub struct Router {
    process: Process,
    addr: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

impl Router {
    /// Writes its files, starts it and waits until it is ready.
    pub fn start(cluster: &Cluster, options: &RouterOptions) -> Result<Self> {
        let mut router = Self::launch(cluster, options)?;
        router.ready()?;
        Ok(router)
    }

    /// The same without waiting: for a router that can't be ready yet.
    pub fn launch(cluster: &Cluster, options: &RouterOptions) -> Result<Self> {
        let dir =
            options.dir.clone().unwrap_or_else(|| cluster.dir().join(format!("pg-router-{}", free_port())));
        fs::create_dir_all(dir.join("state")).context(dir.display())?;
        let addr = local(options.port.unwrap_or_else(free_port));
        let admin = local(free_port());
        let config = config(&dir, addr, admin, cluster, options);
        place::secret(&dir.join("pg-router.toml"), &config)?;
        secrets(&dir, cluster)?;
        let log = dir.join("pg-router.log");
        let args = ["--config".into(), dir.join("pg-router.toml").to_string_lossy().into_owned()];
        let spec = Spec::new(options.binary.to_string_lossy()).args(args).log(&log);
        let spec = options.env.iter().fold(spec, |spec, (key, value)| spec.env(key, value));
        Ok(Self { process: Process::spawn(&spec)?, addr, admin, log })
    }

    /// Waits for `/readyz`.
    pub fn ready(&mut self) -> Result<()> {
        let ready = eventually(Duration::from_secs(15), "pg-router's /readyz", || {
            match http::get(self.admin, "/readyz") {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("{status} {body}")),
                Err(e) => Err(e.to_string()),
            }
        });
        ready.map_err(|e| Error::new(format!("{e}\n{}", tail(&self.log))))
    }

    /// Where clients of the primary connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its admin endpoint.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Is it alive?
    pub fn alive(&mut self) -> bool {
        self.process.alive()
    }

    /// A connection string through it.
    pub fn conninfo(&self, who: Account) -> String {
        who.conninfo(self.addr.ip(), self.addr.port())
    }

    /// The value of a metric, summed over its labels; 0 when it isn't there yet.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = http::get(self.admin, "/metrics")?;
        Ok(http::metric(&text, name))
    }

    /// Its folder: `pg-router.toml`, `userlist.txt`, `state`, …
    pub fn dir(&self) -> &Path {
        self.log.parent().unwrap_or(&self.log)
    }

    /// Sends `signal`.
    pub fn signal(&mut self, signal: rustix::process::Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// SIGTERM, then SIGKILL when it hasn't drained within 20 s; its exit code.
    pub fn stop(mut self) -> Result<Option<i32>> {
        self.process.stop(Duration::from_secs(20))
    }

    /// SIGKILL.
    pub fn kill_9(mut self) {
        self.process.kill_9();
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The accounts that clients use, each with a server password of its own.
const CLIENTS: &[Account] = &[Account::BENCH, Account::PRETIX, Account::MD5];

fn config(
    dir: &Path,
    addr: SocketAddr,
    admin: SocketAddr,
    cluster: &Cluster,
    options: &RouterOptions,
) -> String {
    let dir = dir.display();
    let all: Vec<String> = cluster.nodes().iter().map(|node| node.addr().to_string()).collect();
    let nodes = if options.nodes.is_empty() { &all } else { &options.nodes };
    let RouterOptions { workers, mode, pool_size, extra, .. } = options;
    let mut text = format!(
        r#"workers = {workers}
state_dir = "{dir}/state"
[admin]
listen = "{admin}"
[[listeners]]
listen = "{addr}"
role = "primary"
mode = "{mode}"
[cluster]
nodes = {nodes:?}
monitor_user = "repmgr"
monitor_database = "repmgr"
monitor_password_file = "{dir}/{}"
[pool]
size = {pool_size}
[users]
file = "{dir}/userlist.txt"
"#,
        password_file(Account::REPMGR)
    );
    for who in CLIENTS {
        let (name, file) = (who.user, password_file(*who));
        let _ = write!(text, "[[server_users]]\nname = \"{name}\"\npassword_file = \"{dir}/{file}\"\n");
    }
    text + extra
}

fn password_file(who: Account) -> String {
    format!("{}.password", who.user)
}

fn secrets(dir: &Path, cluster: &Cluster) -> Result<()> {
    place::secret(&dir.join("userlist.txt"), &userlist(cluster)?)?;
    CLIENTS
        .iter()
        .chain([&Account::REPMGR])
        .try_for_each(|who| place::secret(&dir.join(password_file(*who)), who.password.unwrap_or_default()))
}

/// What clients prove: the secrets as PostgreSQL keeps them, and for the md5 role, whose md5 secret is of no use to
/// SCRAM, the password itself.
fn userlist(cluster: &Cluster) -> Result<String> {
    let verifiers = "select string_agg(format('\"%s\" \"%s\"', rolname, rolpassword), E'\\n') from pg_authid \
                     where rolpassword like 'SCRAM%'";
    let (name, password) = (Account::MD5.user, Account::MD5.password.unwrap_or_default());
    Ok(format!("{}\n\"{name}\" \"{password}\"\n", cluster.primary()?.sql("repmgr", verifiers)?))
}
