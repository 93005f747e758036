//! `cargo stack soak redis`: a failover each minute, for as long as one likes, under a load whose every client checks
//! the order and the content of every answer. Kind: driver.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Run;
use super::facts::FAILED_COMMANDS;
use super::redis_scene::{add, fail_over, subject};
use crate::bench::write_json;
use crate::debian;
use crate::error::{Error, Result};
use crate::load::Load;
use crate::load::redis::{RedisLoad, ids_on};
use crate::load::tally::Tally;
use crate::progress::say;
use crate::redis::{Cluster, ClusterOptions};
use crate::report::{Drill, Figures};
use crate::router::{self, Profile};

/// Let the real servers fail over and over under a load that checks each answer.
#[derive(Debug, clap::Parser)]
pub struct Soak {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Redis: switchovers and crashes in turns, one each minute
    Redis(Options),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// How long
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Switchovers only: what was acknowledged must then be there
    #[arg(long)]
    planned: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take this router instead of building one
    #[arg(long, value_name = "FILE")]
    router: Option<PathBuf>,
    /// `haproxy` shows what the same does to its clients
    #[arg(long, default_value = router::REDIS, value_parser = [router::REDIS, "haproxy"])]
    subject: String,
}

const ORDER: [&str; 9] = [
    "wrong_answers",
    FAILED_COMMANDS,
    "unknown_outcome",
    "lost_acked_writes",
    "disconnected_clients",
    "missed_messages",
    "failovers",
    "writes",
    "blackout_ms",
];

const EACH: Duration = Duration::from_secs(60);
/// All that is written stays until the end: a pace that memory stands for twenty minutes.
const THINK: Duration = Duration::from_millis(25);

/// Runs the soak; wrong answers are an error.
pub fn run(args: &Soak) -> Result<()> {
    let What::Redis(options) = &args.what;
    debian::ensure(&super::REDIS.packages.concat())?;
    let run = prepare(options)?;
    let mut report = Drill::named("redis-soak");
    let figures = soak(&run, options)?;
    let wrong = figures.get("wrong_answers").copied().unwrap_or_default();
    if run.subject == router::REDIS {
        report.ours.push(figures);
    } else {
        report.peers.entry(run.subject.into()).or_default().push(figures);
    }
    println!("{}", report.table(router::REDIS, &ORDER));
    write_json(options.json.as_deref(), &report)?;
    if wrong > 0.0 { Err(Error::new(format!("{wrong} answers were wrong"))) } else { Ok(()) }
}

fn prepare(options: &Options) -> Result<Run> {
    let ours = options.subject == router::REDIS;
    let router = match &options.router {
        Some(given) => given.clone(),
        None if ours => router::build(router::REDIS, Profile::Release)?,
        None => PathBuf::new(),
    };
    let subject = if ours { router::REDIS } else { "haproxy" };
    Ok(Run { subject, router, session_length: None, quick: false })
}

fn soak(run: &Run, options: &Options) -> Result<Figures> {
    let cluster = Cluster::start(&ClusterOptions::default())?;
    let subject = subject(run, &cluster, &cluster.dir().join(router::REDIS))?;
    let load = Load::start(RedisLoad { think: THINK, ..RedisLoad::new(subject.addr()) })?;
    let begun = Instant::now();
    for minute in 1..=options.minutes {
        let crash = minute % 2 == 0 && !options.planned;
        fail_over(run, &cluster, subject.admin(), crash)?;
        let next = EACH * minute;
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
        say(format_args!(
            "minute {minute}: {} writes acknowledged, {} troubles",
            load.acked_writes(),
            load.troubles()
        ));
    }
    let tally = load.stop()?;
    super::scene::tell_failures(&tally);
    let mut figures = figures(&tally, &cluster)?;
    add(&mut figures, "failovers", options.minutes as usize);
    drop(subject);
    cluster.stop()?;
    Ok(figures)
}

fn figures(tally: &Tally, cluster: &Cluster) -> Result<Figures> {
    let present = ids_on(cluster.master()?)?;
    let mut figures = Figures::new();
    add(&mut figures, "wrong_answers", tally.wrong_answers().count());
    add(&mut figures, FAILED_COMMANDS, tally.failed());
    add(&mut figures, "unknown_outcome", tally.unknown());
    add(&mut figures, "lost_acked_writes", tally.lost(&present));
    add(&mut figures, "disconnected_clients", tally.disconnected_clients());
    add(&mut figures, "missed_messages", tally.missed_messages() as usize);
    add(&mut figures, "writes", tally.acked().count());
    add(&mut figures, "blackout_ms", tally.blackout().as_millis() as usize);
    Ok(figures)
}
