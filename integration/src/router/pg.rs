//! pg-router in front of PostgreSQL. Kind: driver.

use super::{Kind, PG, Router, Site};
use crate::{
    Result,
    pg::{Account, Cluster},
    place,
};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// What only pg-router knows.
#[derive(Debug, Clone)]
pub struct PgRouter {
    /// The listener's `mode`: `transaction` or `session`.
    pub mode: &'static str,
    /// `pool.size`.
    pub pool_size: usize,
    /// What it gets as `cluster.nodes`; empty: all nodes. Put relays or fewer nodes here.
    pub nodes: Vec<String>,
}

/// What PgBouncer gets in the benches, too.
impl Default for PgRouter {
    fn default() -> Self {
        Self { mode: "transaction", pool_size: 20, nodes: Vec::new() }
    }
}

impl Kind for PgRouter {
    type Cluster = Cluster;
    const NAME: &'static str = PG;

    fn home(cluster: &Cluster) -> Option<PathBuf> {
        Some(cluster.dir().into())
    }

    fn configure(&self, cluster: &Cluster, site: &Site<'_>) -> Result<String> {
        secrets(site.dir, cluster)?;
        Ok(self.config(cluster, site))
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

impl PgRouter {
    fn config(&self, cluster: &Cluster, site: &Site<'_>) -> String {
        let (dir, addr, Self { mode, pool_size, .. }) = (site.dir.display(), site.addr, self);
        let all: Vec<String> = cluster.nodes().iter().map(|node| node.addr().to_string()).collect();
        let nodes = if self.nodes.is_empty() { &all } else { &self.nodes };
        let mut text = format!(
            r#"state_dir = "{dir}/state"
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
        text
    }
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
