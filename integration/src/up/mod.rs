//! `stack up`: the real stack in the foreground, until Ctrl-C. Kind: driver.

mod pg;
mod pretix;
mod redis;

use crate::{
    Context, Error, Result, debian,
    direct::{Change, Seen, Watcher},
    place::{self, Owner},
    progress::say,
    router::Router,
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Options of `stack up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for data and logs [default: target/stack, or one in /var/tmp where the user postgres can't enter that]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Leave a part out; without a router its servers run all the same
    #[arg(long, value_enum, value_name = "PART")]
    without: Vec<Part>,
    /// How many Sentinels; with two of them nobody is promoted while one is down
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    sentinels: u8,
}

/// A part of the stack that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// PostgreSQL, and our router in front of it
    Postgres,
    /// Our router in front of PostgreSQL
    PgRouter,
    /// Redis, and our router in front of it
    Redis,
    /// Our router in front of Redis
    RedisRouter,
    /// Pretix, and http-lb in front of it; it goes with PostgreSQL or Redis, without which it can't be
    Pretix,
}

/// Brings everything up, says how to use it, and tears it down again after SIGINT or SIGTERM. What kills this process
/// otherwise brings the servers down as well.
pub fn run(args: &Args) -> Result<()> {
    let with = |part| !args.without.contains(&part);
    let root = place::data(args.data.as_deref(), &owner(with(Part::Postgres))?)?;
    let _alone = lock(&root)?;
    let redis = redis::Options { router: with(Part::RedisRouter), sentinels: args.sentinels.into() };
    let postgres = with(Part::Postgres).then(|| pg::start(&root, with(Part::PgRouter))).transpose()?;
    let redis = with(Part::Redis).then(|| redis::start(&root, &redis)).transpose()?;
    let shop = match (&postgres, &redis) {
        (Some(postgres), Some(redis)) if with(Part::Pretix) => {
            Some(pretix::start(&root, postgres.cluster().primary()?, postgres.addr(), redis.addr())?)
        }
        _ => None,
    };
    let parts = [
        postgres.as_ref().map(pg::Stage::usage),
        redis.as_ref().map(redis::Stage::usage),
        shop.as_ref().map(pretix::Stage::usage),
    ];
    println!("\n{}Ctrl-C stops everything.\n", parts.into_iter().flatten().collect::<String>());
    stay(&watchers(postgres.as_ref(), redis.as_ref())?)?;
    say("stopping");
    let stopped = [
        shop.map_or(Ok(()), pretix::Stage::stop),
        redis.map_or(Ok(()), redis::Stage::stop),
        postgres.map_or(Ok(()), pg::Stage::stop),
    ];
    stopped.into_iter().collect()
}

fn owner(with_postgres: bool) -> Result<Owner> {
    if !with_postgres {
        return Ok(Owner::ourselves());
    }
    debian::ensure(debian::PG)?;
    Owner::of_servers()
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

fn port_is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Stops a router if there is one.
fn stop(router: Option<Router>) -> Result<()> {
    router.map_or(Ok(()), |router| router.stop().map(drop))
}

/// Who watches what, and how its nodes are called.
fn watchers(
    postgres: Option<&pg::Stage>,
    redis: Option<&redis::Stage>,
) -> Result<Vec<(&'static str, Watcher)>> {
    let postgres = postgres.map(|stage| Ok(("n", Watcher::start(stage.cluster())?)));
    let redis = redis.map(|stage| Ok(("r", Watcher::start(stage.cluster())?)));
    postgres.into_iter().chain(redis).collect()
}

/// Says what the nodes turn into, until a signal comes.
fn stay(watchers: &[(&'static str, Watcher)]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = int.recv() => Ok(()),
            _ = term.recv() => Ok(()),
            () = report(watchers) => Ok(()),
        }
    })
}

async fn report(watchers: &[(&'static str, Watcher)]) {
    let mut told = vec![0; watchers.len()];
    loop {
        for ((letter, watcher), told) in watchers.iter().zip(&mut told) {
            let changes = watcher.changes();
            changes[*told..].iter().for_each(|change| say(news(letter, change)));
            *told = changes.len();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn news(letter: &str, change: &Change) -> String {
    let what = match (change.seen, letter) {
        (Seen::Down, _) => "is down",
        (Seen::Standby, "r") => "is a replica",
        (Seen::Standby, _) => "is a standby",
        (Seen::Primary, "r") => "is master",
        (Seen::Primary, _) => "is primary",
    };
    format!("{letter}{} {what}", change.node)
}
