//! pg-router in front of PostgreSQL. Kind: driver.

use super::{PG, Router, Setup, Site};
use crate::{
    Result,
    pg::{Account, Cluster},
    place,
};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// How pg-router is configured.
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

impl Setup for RouterOptions {
    type Cluster = Cluster;
    const NAME: &'static str = PG;

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
        secrets(site.dir, cluster)?;
        Ok(config(site, cluster, self))
    }
}

impl Router {
    /// A connection string through pg-router.
    pub fn conninfo(&self, who: Account) -> String {
        who.conninfo(self.addr.ip(), self.addr.port())
    }
}

/// The accounts that clients use, each with a server password of its own.
const CLIENTS: &[Account] = &[Account::BENCH, Account::PRETIX, Account::MD5];

fn config(site: &Site<'_>, cluster: &Cluster, options: &RouterOptions) -> String {
    let (dir, addr, admin) = (site.dir.display(), site.addr, site.admin);
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
