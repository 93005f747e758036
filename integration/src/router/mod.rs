//! One of our routers in front of its cluster: built, configured as its users would, started, watched. What only one
//! of them knows is its [`Kind`]. Kind: driver.

mod http;
mod pg;
mod redis;

use crate::{
    Context, Error, Result, debian, http as client, place,
    process::{Process, Spec, free_port},
    progress::say,
    wait::{eventually, tail},
};
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

pub use http::HttpLb;
pub use pg::PgRouter;
pub use redis::RedisRouter;

/// How http-lb is run.
pub type HttpLbOptions = Options<HttpLb>;
/// How pg-router is run.
pub type PgRouterOptions = Options<PgRouter>;
/// How redis-router is run.
pub type RedisRouterOptions = Options<RedisRouter>;

/// Fat LTO on a busy machine of two cores, from nothing.
const BUILD: Duration = Duration::from_secs(1500);

/// The router in front of PostgreSQL.
pub const PG: &str = "pg-router";
/// The router in front of Redis.
pub const REDIS: &str = "redis-router";
/// The load balancer in front of Pretix.
pub const HTTP: &str = "http-lb";
/// All three.
pub const ALL: [&str; 3] = [PG, REDIS, HTTP];

/// How a router is compiled.
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

/// Builds one of our routers and returns the path of the binary.
pub fn build(router: &str, profile: Profile) -> Result<PathBuf> {
    let name = profile.name();
    if router == HTTP {
        debian::ensure(debian::BUILD)?;
    }
    say(format_args!("building {router} ({name})"));
    place::cargo("build")?.args(["--quiet", "--profile", name, "-p", router]).output(BUILD)?;
    Ok(place::target()?.join(name).join(router))
}

/// The binary for tests: the one that `stack test` built, or, in a test run by hand, built now; once per process.
pub fn binary(router: &'static str) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(router) {
        return Ok(path.clone());
    }
    let given = std::env::var_os(variable(router));
    let path = given.map_or_else(|| build(router, Profile::Fast), |path| Ok(path.into()))?;
    built.insert(router, path.clone());
    Ok(path)
}

/// The variable that names a router's binary to the tests that `stack test` starts: `STACK_PG_ROUTER`.
pub fn variable(router: &str) -> String {
    format!("STACK_{}", router.to_uppercase().replace('-', "_"))
}

/// What is one router's own: its name, what it stands in front of, its configuration.
pub trait Kind: Clone + Default {
    /// What it routes to.
    type Cluster;
    /// The name of its binary.
    const NAME: &'static str;
    /// The folder below which a router without one of its own gets one; none: it gets a temporary one.
    fn home(cluster: &Self::Cluster) -> Option<PathBuf>;
    /// Writes its secrets and returns what it has to be told beside where it lives and listens.
    fn configure(&self, cluster: &Self::Cluster, site: &Site<'_>) -> Result<String>;
}

/// How a router is run, whichever it is.
#[derive(Debug, Clone)]
pub struct Options<K> {
    /// The binary.
    pub binary: PathBuf,
    /// Its folder (config, secrets, state, log), which may hold the state of an earlier life; none: one below the
    /// cluster's folder, which goes with the cluster.
    pub dir: Option<PathBuf>,
    /// The port of its first listener; none: a free one.
    pub port: Option<u16>,
    /// `workers`.
    pub workers: usize,
    /// TOML behind all of the configuration, as it is.
    pub extra: String,
    /// Added to its environment: any key, as in `("PG_ROUTER_POOL__WAIT_TIMEOUT", "1s")`.
    pub env: Vec<(&'static str, String)>,
    /// What only this router knows.
    pub own: K,
}

impl<K: Kind> Options<K> {
    /// One worker, as its peers get in the benches, and the router's own defaults.
    pub fn new(binary: &Path) -> Self {
        Self {
            binary: binary.into(),
            dir: None,
            port: None,
            workers: 1,
            extra: String::new(),
            env: Vec::new(),
            own: K::default(),
        }
    }

    /// The whole of its configuration: tables come behind what belongs to none.
    fn configure(&self, cluster: &K::Cluster, site: &Site<'_>) -> Result<String> {
        let Self { workers, extra, .. } = self;
        let own = self.own.configure(cluster, site)?;
        Ok(format!("workers = {workers}\n{own}\n[admin]\nlisten = \"{}\"\n{extra}", site.admin))
    }
}

/// Where a router lives and listens.
#[derive(Debug)]
pub struct Site<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Its first listener.
    pub addr: SocketAddr,
    /// Its admin endpoint.
    pub admin: SocketAddr,
}

/// A running router; dropping it kills it.
#[derive(Debug)]
pub struct Router {
    name: &'static str,
    process: Process,
    addr: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    /// Removed when it has ended: fields are dropped in this order.
    _home: Option<TempDir>,
}

impl Router {
    /// Writes its files, starts it and waits until it is ready.
    pub fn start<K: Kind>(cluster: &K::Cluster, options: &Options<K>) -> Result<Self> {
        let mut router = Self::launch(cluster, options)?;
        router.ready()?;
        Ok(router)
    }

    /// The same without waiting: for a router that can't be ready yet.
    pub fn launch<K: Kind>(cluster: &K::Cluster, options: &Options<K>) -> Result<Self> {
        let (dir, home) = Self::settle::<K>(cluster, options)?;
        fs::create_dir_all(dir.join("state")).context(dir.display())?;
        let addr = local(options.port.unwrap_or_else(free_port));
        let admin = local(free_port());
        let config = options.configure(cluster, &Site { dir: &dir, addr, admin })?;
        let file = dir.join(K::NAME).with_extension("toml");
        place::secret(&file, &config)?;
        let log = dir.join(K::NAME).with_extension("log");
        let args = ["--config".into(), file.to_string_lossy().into_owned()];
        let spec = Spec::new(options.binary.to_string_lossy()).args(args).log(&log);
        let spec = options.env.iter().fold(spec, |spec, (key, value)| spec.env(key, value));
        Ok(Self { name: K::NAME, process: Process::spawn(&spec)?, addr, admin, log, _home: home })
    }

    /// Its folder, and who removes it if nobody else does.
    fn settle<K: Kind>(cluster: &K::Cluster, options: &Options<K>) -> Result<(PathBuf, Option<TempDir>)> {
        if let Some(dir) = &options.dir {
            return Ok((dir.clone(), None));
        }
        if let Some(home) = K::home(cluster) {
            return Ok((home.join(format!("{}-{}", K::NAME, free_port())), None));
        }
        let home = tempfile::Builder::new().prefix(&format!("stack-{}-", K::NAME)).tempdir()?;
        Ok((home.path().into(), Some(home)))
    }

    /// Waits for `/readyz`.
    pub fn ready(&mut self) -> Result<()> {
        let Self { name, admin, log, process, .. } = self;
        let ready = eventually(Duration::from_secs(15), &format!("{name}'s /readyz"), || {
            match client::get(*admin, "/readyz") {
                Ok((200, _)) => Ok(true),
                _ if !process.alive() => Ok(false),
                Ok((status, body)) => Err(format!("{status} {body}")),
                Err(e) => Err(e.to_string()),
            }
        });
        match ready {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(format!("{name} ended\n{}", tail(log)))),
            Err(e) => Err(Error::new(format!("{e}\n{}", tail(log)))),
        }
    }

    /// The name of its binary.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its first listener: where clients of the primary connect.
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

    /// The value of a metric, summed over its labels; 0 when it isn't there yet.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = client::get(self.admin, "/metrics")?;
        Ok(client::metric(&text, name))
    }

    /// Its folder: `pg-router.toml`, `state`, …
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
