//! `stack up`: the real stack in the foreground, until Ctrl-C. Kind: driver.

use crate::{
    Context, Error, Result, debian,
    direct::{Change, Seen, Watcher},
    pg::{Account, Cluster, ClusterOptions, Node},
    place::{self, Owner},
    progress::say,
    router::{self, Profile, Router, RouterOptions},
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// The ports that a person expects; where one is taken, any free one.
const NODES: u16 = 5501;
const ROUTER: u16 = 6432;

/// Options of `stack up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for data and logs [default: target/stack, or one in /var/tmp where the user postgres can't enter that]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Leave a part out
    #[arg(long, value_enum, value_name = "PART")]
    without: Vec<Part>,
}

/// A part of the stack that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Our router in front of PostgreSQL
    PgRouter,
}

/// Brings everything up, says how to use it, and tears it down again after SIGINT or SIGTERM. What kills this process
/// otherwise brings the servers down as well.
pub fn run(args: &Args) -> Result<()> {
    debian::ensure(debian::PG)?;
    let root = place::data(args.data.as_deref(), &Owner::of_servers()?)?;
    let _alone = lock(&root)?;
    let binary = if args.without.contains(&Part::PgRouter) {
        None
    } else {
        Some(router::build(router::PG, Profile::Fast)?)
    };
    let cluster = start_cluster(&root)?;
    let router = binary.map(|binary| start_router(&cluster, &root, &binary)).transpose()?;
    println!("{}", usage(&cluster, router.as_ref()));
    stay(&cluster)?;
    say("stopping");
    let stopped = router.map(Router::stop).transpose();
    cluster.stop()?;
    stopped.map(drop)
}

/// Two of us in one folder would sweep each other away.
fn lock(root: &Path) -> Result<File> {
    let path = root.join("up.lock");
    let file = File::create(&path).context(path.display())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Error::usage(format!("another `stack up` runs in {}; give this one --data", root.display()))
    })?;
    Ok(file)
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
    let router = Router::start(cluster, &RouterOptions { port, dir, ..RouterOptions::new(binary) })?;
    say("pg-router is ready");
    Ok(router)
}

fn port_is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn usage(cluster: &Cluster, router: Option<&Router>) -> String {
    let nodes: String = cluster.nodes().iter().map(|node| place_of(node)).collect();
    let n1 = cluster.node(1);
    let pid = n1.data().join("postmaster.pid");
    format!(
        "\n{}{nodes}\nTalk to n1 itself:\n    {}\nKill the primary, from another terminal:\n    \
         kill -9 $(head -n 1 {})\n\nCtrl-C stops everything.\n",
        router.map(through).unwrap_or_default(),
        psql(n1.addr()),
        pid.display(),
    )
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

/// Says what the nodes turn into, until a signal comes.
fn stay(cluster: &Cluster) -> Result<()> {
    let watcher = Watcher::start(cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = int.recv() => Ok(()),
            _ = term.recv() => Ok(()),
            () = report(&watcher) => Ok(()),
        }
    })
}

async fn report(watcher: &Watcher) {
    let mut told = 0;
    loop {
        let changes = watcher.changes();
        changes[told..].iter().for_each(|change| say(news(change)));
        told = changes.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn news(change: &Change) -> String {
    let what = match change.seen {
        Seen::Down => "is down",
        Seen::Standby => "is a standby",
        Seen::Primary => "is primary",
    };
    format!("n{} {what}", change.node)
}
