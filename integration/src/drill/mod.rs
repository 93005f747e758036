//! `cargo stack drill`: hurt the real servers under a real load, and count what the clients noticed. Kind: wiring.

mod cuts;
mod facts;
mod http_crash;
mod http_overload;
mod http_reload;
mod http_rolling;
mod http_shop;
mod pg_crash;
mod pg_old_primary_returns;
mod pg_partition;
mod pg_switchover;
mod purchase;
mod redis_celery;
mod redis_crash;
mod redis_hang;
mod redis_old_master_returns;
mod redis_partition;
mod redis_scene;
mod redis_soak;
mod redis_stale_sentinel;
mod redis_switchover;
mod scene;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use redis_soak::{Soak, run as soak};

use crate::bench::write_json;
use crate::error::{Error, Result};
use crate::progress::say;
use crate::report::{Drill, Figures};
use crate::router::{self, Profile};
use crate::{debian, front, peers};

/// Hurt the real servers under load and count what the clients notice.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    drill: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// kill -9 of the primary's postmaster; repmgrd promotes
    PgCrash(Options),
    /// A planned switchover by repmgr
    PgSwitchover(Options),
    /// The router cut off from the living primary, then the primary cut off from its standbys
    PgPartition(Options),
    /// After a failover the old primary is started again by hand, as a second primary
    PgOldPrimaryReturns(Options),
    /// A planned switchover by `redis-router switchover`; for a peer by SENTINEL FAILOVER
    RedisSwitchover(Options),
    /// kill -9 of the master; Sentinel promotes
    RedisCrash(Options),
    /// SIGSTOP of the master, which goes on after Sentinel has promoted
    RedisHang(Options),
    /// After a failover the old master is started again, and takes writes until Sentinel demotes it
    RedisOldMasterReturns(Options),
    /// A Sentinel that slept through a failover wakes up, and is the only one
    RedisStaleSentinel(Options),
    /// Ten thousand Celery tasks across two switchovers and a crash
    RedisCelery(Options),
    /// The router cut off from the living master, then the master cut off from its replicas
    RedisPartition(Options),
    /// Three times as many visitors as the application can serve, some slow, some with money in hand
    HttpOverload(Options),
    /// Replicas of real Pretix replaced one by one under load
    HttpRolling(Options),
    /// kill -9 of a replica of real Pretix
    HttpCrash(Options),
    /// The configuration read anew again and again under load
    HttpReload(Options),
    /// Two purchases in a real browser through all three routers, the second while primary and master are killed
    Purchase(Options),
}

/// What every drill takes.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// Runs, each on a fresh cluster [default: as many as the drill needs, most often 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// A first look in under a minute: one run, our router only
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take this router instead of building one
    #[arg(long, value_name = "FILE")]
    router: Option<PathBuf>,
    /// Only these subjects
    #[arg(long, value_name = "SUBJECT,...", value_delimiter = ',')]
    subjects: Vec<String>,
}

/// One run of a drill: who is drilled, and for how long.
#[derive(Clone, Debug)]
struct Run {
    subject: &'static str,
    /// Our router's binary, where it is the subject.
    router: PathBuf,
    /// How many statements a client sends before it logs in anew; none: it never does.
    session_length: Option<u64>,
    quick: bool,
}

/// A drill as data: its name, who can take it, and how one run of it goes.
struct Script {
    name: &'static str,
    cast: &'static Cast,
    /// The figures in the order in which they are read.
    order: &'static [&'static str],
    /// See [`Run::session_length`].
    session_length: Option<u64>,
    /// How many runs it takes unless somebody wants more or fewer.
    runs: u32,
    play: fn(&Run) -> Result<Figures>,
    /// What the figures mean here, printed below them.
    remark: &'static str,
}

/// Who can take a drill, and what that needs.
struct Cast {
    /// Our router, one of the subjects.
    router: &'static str,
    subjects: &'static [&'static str],
    /// What the servers need of Debian, and what the peers do.
    packages: &'static [&'static [&'static str]],
}

/// pg-router and the two peers that follow a failover.
const PG: Cast = Cast {
    router: router::PG,
    subjects: &[router::PG, "haproxy", "pgpool"],
    packages: &[debian::PG, peers::PACKAGES],
};

/// redis-router and the peer that it replaces.
const REDIS: Cast = Cast {
    router: router::REDIS,
    subjects: &[router::REDIS, "haproxy"],
    packages: &[debian::REDIS, peers::PACKAGES],
};

/// http-lb and the two peers that it replaces.
const HTTP: Cast = Cast {
    router: router::HTTP,
    subjects: &[router::HTTP, front::NGINX, front::HAPROXY],
    packages: &[debian::HTTP, front::PACKAGES],
};

/// The same, in front of real Pretix with all that it needs.
const PRETIX: Cast = Cast { packages: &[debian::PG, debian::REDIS, debian::HTTP, front::PACKAGES], ..HTTP };

/// Runs the drill that was asked for.
pub fn run(args: &Args) -> Result<()> {
    match &args.drill {
        Kind::PgCrash(options) => perform(&pg_crash::SCRIPT, options),
        Kind::PgSwitchover(options) => perform(&pg_switchover::SCRIPT, options),
        Kind::PgPartition(options) => perform(&pg_partition::SCRIPT, options),
        Kind::PgOldPrimaryReturns(options) => perform(&pg_old_primary_returns::SCRIPT, options),
        Kind::RedisSwitchover(options) => perform(&redis_switchover::SCRIPT, options),
        Kind::RedisCrash(options) => perform(&redis_crash::SCRIPT, options),
        Kind::RedisHang(options) => perform(&redis_hang::SCRIPT, options),
        Kind::RedisOldMasterReturns(options) => perform(&redis_old_master_returns::SCRIPT, options),
        Kind::RedisStaleSentinel(options) => perform(&redis_stale_sentinel::SCRIPT, options),
        Kind::RedisCelery(options) => perform(&redis_celery::SCRIPT, options),
        Kind::HttpOverload(options) => perform(&http_overload::SCRIPT, options),
        Kind::HttpRolling(options) => perform(&http_rolling::SCRIPT, options),
        Kind::HttpCrash(options) => perform(&http_crash::SCRIPT, options),
        Kind::HttpReload(options) => perform(&http_reload::SCRIPT, options),
        Kind::Purchase(options) => perform(&purchase::SCRIPT, options),
        Kind::RedisPartition(options) => perform(&redis_partition::SCRIPT, options),
    }
}

fn perform(script: &Script, options: &Options) -> Result<()> {
    let subjects = subjects(script, options)?;
    debian::ensure(&script.cast.packages.concat())?;
    let router = match &options.router {
        Some(given) => given.clone(),
        None if subjects.iter().any(|subject| subject.starts_with(script.cast.router)) => {
            router::build(script.cast.router, Profile::Release)?
        }
        None => PathBuf::new(),
    };
    let report = play_all(script, options, &subjects, &router)?;
    println!("{}", report.table(script.cast.router, script.order));
    println!("{}", script.remark);
    write_json(options.json.as_deref(), &report)
}

/// The subjects take turns within a run.
fn play_all(
    script: &Script,
    options: &Options,
    subjects: &[&'static str],
    router: &std::path::Path,
) -> Result<Drill> {
    let mut report = Drill::named(script.name);
    let runs = options.runs.unwrap_or(if options.quick { 1 } else { script.runs });
    for number in 1..=runs {
        for &subject in subjects {
            say(format_args!("{} run {number}/{runs}: {subject}", script.name));
            let run = Run {
                subject,
                router: router.to_path_buf(),
                session_length: script.session_length,
                quick: options.quick,
            };
            let figures = (script.play)(&run)?;
            say(facts::summary(subject, &figures, script.order));
            if subject == script.cast.router {
                report.ours.push(figures);
            } else {
                report.peers.entry(subject.to_string()).or_default().push(figures);
            }
        }
    }
    Ok(report)
}

fn subjects(script: &Script, options: &Options) -> Result<Vec<&'static str>> {
    if let Some(name) = options.subjects.iter().find(|name| !script.cast.subjects.contains(&name.as_str())) {
        let known = script.cast.subjects.join(", ");
        return Err(Error::usage(format!("{} has no subject {name}; there are: {known}", script.name)));
    }
    let chosen = |name: &str| match options.subjects.as_slice() {
        [] => !options.quick || name == script.cast.router,
        named => named.iter().any(|n| n == name),
    };
    Ok(script.cast.subjects.iter().copied().filter(|name| chosen(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(quick: bool, named: &[&str], expected: &[&str]) {
        let subjects_named = named.iter().map(ToString::to_string).collect();
        let options = Options { runs: None, quick, json: None, router: None, subjects: subjects_named };
        assert_eq!(subjects(&pg_crash::SCRIPT, &options).unwrap_or_default(), expected);
    }

    #[test]
    fn a_quick_look_is_at_our_router_alone() {
        check(false, &[], &["pg-router", "haproxy", "pgpool"]);
        check(true, &[], &["pg-router"]);
        check(true, &["haproxy"], &["haproxy"]);
        check(false, &["nginx"], &[]);
    }
}
