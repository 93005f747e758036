//! redis-router in front of Redis under Sentinel. Kind: driver.

use super::{REDIS, Setup, Site};
use crate::{
    Result, place,
    redis::{Account, Cluster, MASTER},
};
use std::path::{Path, PathBuf};

/// How redis-router is configured.
#[derive(Debug, Clone)]
pub struct RedisRouterOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Its folder; see [`Setup::dir`].
    pub dir: Option<PathBuf>,
    /// The port of its listener for the master; none: a free one.
    pub port: Option<u16>,
    /// `workers`.
    pub workers: usize,
    /// The listener's `mode`: `shared` or `passthrough`.
    pub mode: &'static str,
    /// TOML that the table of the listener gets, as it is.
    pub listener: String,
    /// TOML that the table of the master gets, as it is.
    pub master: String,
    /// TOML behind all of that, as it is.
    pub extra: String,
    /// Added to its environment: any key, as in `("REDIS_ROUTER_HOLD__TIMEOUT", "1s")`.
    pub env: Vec<(&'static str, String)>,
}

impl RedisRouterOptions {
    /// One worker, shared connections.
    pub fn new(binary: &Path) -> Self {
        Self {
            binary: binary.into(),
            dir: None,
            port: None,
            workers: 1,
            mode: "shared",
            listener: String::new(),
            master: String::new(),
            extra: String::new(),
            env: Vec::new(),
        }
    }
}

impl Setup for RedisRouterOptions {
    type Cluster = Cluster;
    const NAME: &'static str = REDIS;

    fn binary(&self) -> &Path {
        &self.binary
    }

    fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn env(&self) -> &[(&'static str, String)] {
        &self.env
    }

    fn home(cluster: &Cluster) -> &Path {
        cluster.dir()
    }

    fn configure(&self, cluster: &Cluster, site: &Site<'_>) -> Result<String> {
        place::secret(&site.dir.join("app.password"), Account::APP.password)?;
        place::secret(&site.dir.join("sentinel.password"), Account::SENTINEL.password)?;
        Ok(config(self, cluster, site))
    }
}

fn config(options: &RedisRouterOptions, cluster: &Cluster, site: &Site<'_>) -> String {
    let Site { dir, addr, admin } = site;
    let RedisRouterOptions { workers, mode, listener, master, extra, .. } = options;
    let sentinels: Vec<String> = cluster.sentinels().iter().map(|s| s.addr().to_string()).collect();
    let (dir, user) = (dir.display(), Account::APP.user);
    let guarded = cluster.sentinels().iter().any(|sentinel| sentinel.who().is_some());
    let login =
        if guarded { format!("sentinel_password_file = \"{dir}/sentinel.password\"") } else { String::new() };
    format!(
        r#"workers = {workers}
state_dir = "{dir}/state"
[admin]
listen = "{admin}"
[[listeners]]
listen = "{addr}"
role = "primary"
mode = "{mode}"
{listener}
[[masters]]
name = "{MASTER}"
sentinels = {sentinels:?}
user = "{user}"
password_file = "{dir}/app.password"
{login}
{master}
{extra}"#
    )
}
