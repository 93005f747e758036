//! redis-router in front of Redis under Sentinel. Kind: driver.

use super::{Kind, REDIS, Site};
use crate::{
    Result, place,
    redis::{Account, Cluster, MASTER},
};
use std::path::PathBuf;

/// What only redis-router knows.
#[derive(Debug, Clone)]
pub struct RedisRouter {
    /// The listener's `mode`: `shared` or `passthrough`.
    pub mode: &'static str,
    /// TOML that the table of the listener gets, as it is.
    pub listener: String,
    /// TOML that the table of the master gets, as it is.
    pub master: String,
}

impl Default for RedisRouter {
    fn default() -> Self {
        Self { mode: "shared", listener: String::new(), master: String::new() }
    }
}

impl Kind for RedisRouter {
    type Cluster = Cluster;
    const NAME: &'static str = REDIS;

    fn home(cluster: &Cluster) -> Option<PathBuf> {
        Some(cluster.dir().into())
    }

    fn configure(&self, cluster: &Cluster, site: &Site<'_>) -> Result<String> {
        place::secret(&site.dir.join("app.password"), Account::APP.password)?;
        place::secret(&site.dir.join("sentinel.password"), Account::SENTINEL.password)?;
        Ok(self.config(cluster, site))
    }
}

impl RedisRouter {
    fn config(&self, cluster: &Cluster, site: &Site<'_>) -> String {
        let Self { mode, listener, master } = self;
        let sentinels: Vec<String> = cluster.sentinels().iter().map(|s| s.addr().to_string()).collect();
        let (dir, addr, user) = (site.dir.display(), site.addr, Account::APP.user);
        let guarded = cluster.sentinels().iter().any(|sentinel| sentinel.who().is_some());
        let login = if guarded {
            format!("sentinel_password_file = \"{dir}/sentinel.password\"")
        } else {
            String::new()
        };
        format!(
            r#"state_dir = "{dir}/state"
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
"#
        )
    }
}
