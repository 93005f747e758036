//! Redis under Sentinel with redis-router in front. Kind: driver.

use super::{port_is_free, stop};
use crate::{
    Result,
    progress::say,
    redis::{Account, Cluster, ClusterOptions, Node, Sentinel},
    router::{self, Profile, RedisRouterOptions, Router},
};
use std::{net::SocketAddr, path::Path};

/// The ports that a person expects; where one is taken, any free one.
const NODES: u16 = 6401;
const SENTINELS: u16 = 26401;
const ROUTER: u16 = 6379;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) router: bool,
    pub(super) sentinels: usize,
}

/// What runs.
pub(super) struct Stage {
    router: Option<Router>,
    cluster: Cluster,
}

/// Brings it up below `root`.
pub(super) fn start(root: &Path, options: &Options) -> Result<Stage> {
    let binary = options.router.then(|| router::build(router::REDIS, Profile::Fast)).transpose()?;
    let cluster = start_cluster(root, options.sentinels)?;
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
        let nodes: String = self.cluster.nodes().iter().map(place_of).collect();
        let sentinels: String = self.cluster.sentinels().iter().map(place_of_sentinel).collect();
        let r1 = self.cluster.node(1);
        format!(
            "{}{nodes}{sentinels}\nTalk to r1 itself:\n    {}\nKill the master, from another terminal:\n    kill -9 {}\n\n",
            self.router.as_ref().map(through).unwrap_or_default(),
            cli(r1.addr()),
            r1.pid().unwrap_or_default(),
        )
    }
}

fn start_cluster(root: &Path, sentinels: usize) -> Result<Cluster> {
    say(format_args!("starting Redis: one master, two replicas, {sentinels} Sentinels"));
    let free = (0..3).all(|i| port_is_free(NODES + i)) && (0..9).all(|i| port_is_free(SENTINELS + i));
    let cluster = Cluster::start(&ClusterOptions {
        sentinels,
        dir: Some(root.join("up-redis")),
        base_ports: free.then_some((NODES, SENTINELS)),
        ..ClusterOptions::default()
    })?;
    say("the Sentinels know one another");
    Ok(cluster)
}

fn start_router(cluster: &Cluster, root: &Path, binary: &Path) -> Result<Router> {
    say("starting redis-router");
    let port = port_is_free(ROUTER).then_some(ROUTER);
    let dir = Some(root.join("up-redis").join("redis-router"));
    let router =
        Router::start(cluster, &RedisRouterOptions { port, dir, ..RedisRouterOptions::new(binary) })?;
    say("redis-router is ready");
    Ok(router)
}

fn place_of(node: &Node) -> String {
    format!("    {}         {}   log {}\n", node.name(), node.addr(), node.log().display())
}

fn place_of_sentinel(sentinel: &Sentinel) -> String {
    format!("    {}         {}   log {}\n", sentinel.name(), sentinel.addr(), sentinel.log().display())
}

fn through(router: &Router) -> String {
    let (addr, admin, log) = (router.addr(), router.admin(), router.log().display());
    format!(
        "Talk to the master, whoever it is, through redis-router:\n    {cli}\nKeep this running while the master dies:\n    \
         {cli} -r -1 -i 0.2 INCR visits\n\n    redis-router {addr}   log {log}\n    status       http://{admin}/status\n",
        cli = cli(addr)
    )
}

fn cli(addr: SocketAddr) -> String {
    let Account { user, password } = Account::APP;
    let (ip, port) = (addr.ip(), addr.port());
    format!("REDISCLI_AUTH={password} redis-cli -h {ip} -p {port} --user {user}")
}
