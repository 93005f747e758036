//! The stage of a drill: a fresh cluster, a subject before it, a load on the subject, and a watcher beside them.
//! Kind: driver.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Run;
use super::facts::{FAILED_STATEMENTS, Facts, Trail};
use crate::direct::Watcher;
use crate::error::{Error, Result};
use crate::load::{self, Load, LoadOptions};
use crate::peers::{Haproxy, Pgpool, Subject};
use crate::pg::{Cluster, ClusterOptions, Node};
use crate::progress::say;
use crate::router::{self, PgRouterOptions, Router};

/// Pgpool-II refuses a client beyond its children: twice as many as a drill has clients.
const PGPOOL_CHILDREN: usize = 64;

/// repmgrd needs some two seconds; a cut network takes longer to be noticed.
const PROMOTION_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a load may need after the promotion before it counts as lost for good.
const RESUME_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// Everything that a drill plays with. Fields are dropped in this order: clients, subject, servers.
pub(super) struct Scene<C = Cluster> {
    pub(super) load: Option<Load>,
    pub(super) subject: Option<Box<dyn Subject>>,
    pub(super) watcher: Watcher,
    pub(super) cluster: C,
    /// Where our router keeps what outlives it.
    pub(super) folder: PathBuf,
    /// What our router calls its counters.
    pub(super) counters: Counters,
    pub(super) quick: bool,
}

/// The counters of a router that a drill reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) held: &'static str,
    pub(super) replayed: &'static str,
}

const COUNTERS: Counters = Counters { held: "pg_router_held_total", replayed: "pg_router_replayed_total" };

/// What happened to the primary, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blow {
    pub(super) struck: Instant,
    pub(super) victim: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aftermath {
    pub(super) held_since: Option<Instant>,
    pub(super) promoted: Instant,
}

impl Scene {
    /// A cluster whose first primary acknowledges nothing that no standby holds, and the load on it, warmed up.
    pub(super) fn set(run: &Run, options: ClusterOptions) -> Result<Self> {
        let cluster = Cluster::start(&ClusterOptions { sync_standby: true, ..options })?;
        load::create_tables(cluster.node(1))?;
        let folder = cluster.dir().join(router::PG);
        let subject = subject(run, &cluster, &folder)?;
        let watcher = Watcher::start(&cluster)?;
        let load = Load::start(LoadOptions {
            session_length: run.session_length,
            ..LoadOptions::new(subject.conninfo())
        })?;
        let (load, subject) = (Some(load), Some(subject));
        let scene = Self { load, subject, watcher, cluster, folder, counters: COUNTERS, quick: run.quick };
        scene.go_on(2);
        Ok(scene)
    }

    /// Ends the load and gathers what was seen.
    pub(super) fn facts(&mut self, blow: Blow, aftermath: Aftermath) -> Result<Facts> {
        let seen = self.end()?;
        let primary = self.cluster.primary()?;
        let (present, trail) = (load::ids_on(primary)?, Trail::Timeline(timeline(primary)?));
        Ok(seen.facts(blow, aftermath, present, trail, FAILED_STATEMENTS))
    }

    /// Stops clients, subject and servers, in this order.
    pub(super) fn close(self) -> Result<()> {
        let Self { load, subject, watcher, cluster, .. } = self;
        drop((load, subject, watcher));
        cluster.stop()
    }
}

/// What the clients and the subject knew at the end.
pub(super) struct Seen {
    ended: Instant,
    tally: load::tally::Tally,
    held: f64,
    replayed: f64,
}

impl Seen {
    pub(super) fn facts(
        self,
        blow: Blow,
        aftermath: Aftermath,
        present: HashSet<i64>,
        trail: Trail,
        failed: &'static str,
    ) -> Facts {
        let Self { ended, tally, held, replayed } = self;
        let (struck, Aftermath { held_since, promoted }) = (blow.struck, aftermath);
        Facts { struck, held_since, promoted, ended, tally, present, trail, failed, held, replayed }
    }
}

impl<C> Scene<C> {
    /// Lets the load run; half as long in a quick look.
    pub(super) fn go_on(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        std::thread::sleep(if self.quick { time / 2 } else { time });
    }

    pub(super) fn load(&self) -> Result<&Load> {
        self.load.as_ref().ok_or_else(|| Error::new("the load has ended"))
    }

    pub(super) fn counter(&self, name: &str) -> f64 {
        self.subject.as_ref().map_or(0.0, |subject| subject.counter(name))
    }

    /// Waits for somebody to be held, for the promotion and for the first write after it.
    pub(super) fn watch(&self, blow: Blow) -> Result<Aftermath> {
        let held_before = self.counter(self.counters.held);
        let mut held_since = None;
        let promoted = loop {
            if held_since.is_none() && self.counter(self.counters.held) > held_before {
                held_since = Some(Instant::now());
            }
            if let Some(change) = self.watcher.promoted(blow.struck, blow.victim) {
                break change.at;
            }
            if blow.struck.elapsed() > PROMOTION_TIMEOUT {
                return Err(Error::new(format!("no standby was promoted within {PROMOTION_TIMEOUT:?}")));
            }
            std::thread::sleep(POLL);
        };
        if !self.load()?.acked_after(promoted, RESUME_TIMEOUT) {
            say(format_args!("no write was acknowledged within {RESUME_TIMEOUT:?} of the promotion"));
        }
        Ok(Aftermath { held_since, promoted })
    }

    /// Ends the load.
    pub(super) fn end(&mut self) -> Result<Seen> {
        let ended = Instant::now();
        let load = self.load.take().ok_or_else(|| Error::new("the load has ended"))?;
        let tally = load.stop()?;
        tell_failures(&tally);
        let (held, replayed) = (self.counter(self.counters.held), self.counter(self.counters.replayed));
        Ok(Seen { ended, tally, held, replayed })
    }
}

/// The timeline on which a primary writes, as the eight hex digits of its WAL files' names.
pub(super) fn timeline(primary: &Node) -> Result<String> {
    let answer = primary.sql("bench", "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")?;
    Ok(answer.trim().to_string())
}

fn subject(run: &Run, cluster: &Cluster, folder: &Path) -> Result<Box<dyn Subject>> {
    Ok(match run.subject {
        router::PG => Box::new(Router::start(cluster, &router_options(&run.router, Some(folder)))?),
        "haproxy" => Box::new(Haproxy::following(cluster)?),
        _ => Box::new(Pgpool::following(cluster, PGPOOL_CHILDREN)?),
    })
}

/// Our router in transaction mode, with a folder of its own or one that another router left.
pub(super) fn router_options(binary: &Path, dir: Option<&Path>) -> PgRouterOptions {
    PgRouterOptions { dir: dir.map(Path::to_path_buf), ..PgRouterOptions::new(binary) }
}

/// Says what the clients were told, most frequent first: a figure alone explains nothing.
pub(super) fn tell_failures(tally: &load::tally::Tally) {
    let mut failures: Vec<(&str, usize)> = tally.failures().into_iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (text, count) in failures.into_iter().take(5) {
        say(format_args!("  {count} x {text}"));
    }
    for text in tally.wrong_answers().take(5) {
        say(format_args!("  wrong: {text}"));
    }
}
