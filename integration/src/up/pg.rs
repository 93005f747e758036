//! PostgreSQL with pg-router in front. Kind: driver.

use super::{port_is_free, stop};
use crate::{
    Result,
    pg::{Account, Cluster, ClusterOptions, Node},
    progress::say,
    router::{self, PgRouterOptions, Profile, Router},
};
use std::{net::SocketAddr, path::Path};

/// The ports that a person expects; where one is taken, any free one.
const NODES: u16 = 5501;
const ROUTER: u16 = 6432;

/// What runs.
pub(super) struct Stage {
    router: Option<Router>,
    cluster: Cluster,
}

/// Brings it up below `root`.
pub(super) fn start(root: &Path, with_router: bool) -> Result<Stage> {
    let binary = with_router.then(|| router::build(router::PG, Profile::Fast)).transpose()?;
    let cluster = start_cluster(root)?;
    let router = binary.map(|binary| start_router(&cluster, root, &binary)).transpose()?;
    Ok(Stage { router, cluster })
}

impl Stage {
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The router; without one the server that is first at the start.
    pub(super) fn addr(&self) -> SocketAddr {
        self.router.as_ref().map_or_else(|| self.cluster.node(1).addr(), Router::addr)
    }

    pub(super) fn stop(self) -> Result<()> {
        let stopped = stop(self.router);
        self.cluster.stop().and(stopped)
    }

    pub(super) fn usage(&self) -> String {
        let nodes: String = self.cluster.nodes().iter().map(|node| place_of(node)).collect();
        let n1 = self.cluster.node(1);
        let pid = n1.data().join("postmaster.pid");
        format!(
            "{}{nodes}\nTalk to n1 itself:\n    {}\nKill the primary, from another terminal:\n    \
             kill -9 $(head -n 1 {})\n\n",
            self.router.as_ref().map(through).unwrap_or_default(),
            psql(n1.addr()),
            pid.display(),
        )
    }
}

fn start_cluster(root: &Path) -> Result<Cluster> {
    say("starting PostgreSQL: one primary, two standbys, repmgrd on each");
    let free = (0..3).all(|i| port_is_free(NODES + i));
    let cluster = Cluster::start(&ClusterOptions {
        data: Some(root.into()),
        dir: Some(root.join("up")),
        base_port: free.then_some(NODES),
        sync_standby: true,
        ..ClusterOptions::default()
    })?;
    say("the cluster is whole");
    Ok(cluster)
}

fn start_router(cluster: &Cluster, root: &Path, binary: &Path) -> Result<Router> {
    say("starting pg-router");
    let port = port_is_free(ROUTER).then_some(ROUTER);
    let dir = Some(root.join("up").join("pg-router"));
    let router = Router::start(cluster, &PgRouterOptions { port, dir, ..PgRouterOptions::new(binary) })?;
    say("pg-router is ready");
    Ok(router)
}

fn place_of(node: &Node) -> String {
    format!("    n{}         {}   log {}\n", node.id(), node.addr(), node.log().display())
}

fn through(router: &Router) -> String {
    let (addr, admin, log) = (router.addr(), router.admin(), router.log().display());
    format!(
        "Talk to the primary, whoever it is, through pg-router:\n    {psql}\nKeep this running while the primary dies:\n    \
         echo 'select now(), inet_server_port() \\watch 0.2' | {psql}\n\n    \
         pg-router  {addr}   log {log}\n    status     http://{admin}/status\n",
        psql = psql(addr)
    )
}

fn psql(addr: SocketAddr) -> String {
    let Account { user, password, database } = Account::BENCH;
    let (ip, port, password) = (addr.ip(), addr.port(), password.unwrap_or_default());
    format!("PGPASSWORD={password} psql -h {ip} -p {port} -U {user} {database}")
}
