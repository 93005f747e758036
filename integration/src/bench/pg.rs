//! `cargo stack bench pg`: select-only pgbench through everything that can stand before PostgreSQL.
//!
//! Each cell gets a freshly started subject: its memory is that of the case, and no case inherits another's pools.
//! Kind: driver.

use std::path::PathBuf;
use std::time::Duration;

use super::plan::{self, Menu, Plan};
use super::verdict::{Bound, Table, Verdict};
use super::{Options, pgbench, write_json};
use crate::error::{Error, Result};
use crate::peers::{self, Direct, Haproxy, Pgbouncer, Pgpool, PoolMode, Subject};
use crate::pg::{Cluster, ClusterOptions};
use crate::progress::say;
use crate::report::{Bench, Sample};
use crate::router::{self, PgRouterOptions, Profile, Router};
use crate::{debian, measure};

const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];
const CLIENTS: [usize; 4] = [1, 16, 64, 256];
const SUBJECTS: [&str; 5] = ["direct", "pg-router", "pgbouncer", "pgpool", "haproxy"];
/// Measured only when named.
const EXTRAS: [&str; 1] = ["pgpool-relay"];
const QUICK_CASES: [&str; 2] = ["simple-64", "extended-64"];
/// Server connections of a pool in transaction mode.
const POOL: usize = 20;
/// 12 cases x 5 subjects x 5 rounds = 300 cells; with starting, connecting and settling a cell takes about twice its
/// window, and a whole bench has 20 minutes.
const WINDOW: Duration = Duration::from_millis(2200);
const QUICK_WINDOW: Duration = Duration::from_millis(1000);

/// One row of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    protocol: &'static str,
    clients: usize,
}

/// Runs the whole bench and reports.
pub fn run(options: &Options) -> Result<()> {
    let plan = plan(options)?;
    let window = if options.quick { QUICK_WINDOW } else { WINDOW };
    debian::ensure(debian::PG)?;
    debian::ensure(peers::PACKAGES)?;
    let router = router_binary(&plan, options)?;
    let bed = Bed::make(router)?;
    let rows = plan.measure(|subject, case| bed.cell(subject, case, window))?;
    let bench = Bench { suite: "pg".into(), machine: measure::machine(), rows };
    println!("{}\n{}", bench.machine, bench.table());
    verdicts(&bench).iter().for_each(|verdict| println!("{verdict}"));
    write_json(options.json.as_deref(), &bench)?;
    bed.cluster.stop()
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        PROTOCOLS.into_iter().flat_map(|protocol| CLIENTS.map(|clients| Self { protocol, clients }))
    }

    /// A prepared statement lives in one server connection, so there each client has its own.
    fn pool(self) -> (PoolMode, usize) {
        if self.protocol == "prepared" {
            (PoolMode::Session, self.clients)
        } else {
            (PoolMode::Transaction, POOL)
        }
    }
}

impl plan::Case for Case {
    fn name(&self) -> String {
        format!("{}-{}", self.protocol, self.clients)
    }
}

fn plan(options: &Options) -> Result<Plan<Case>> {
    let cases = Case::all().collect();
    Plan::of(options, Menu { cases, quick: &QUICK_CASES, subjects: &SUBJECTS, extras: &EXTRAS })
}

fn router_binary(plan: &Plan<Case>, options: &Options) -> Result<Option<PathBuf>> {
    match &options.router {
        Some(given) => Ok(Some(given.clone())),
        None if plan.has(&["pg-router"]) => router::build(router::PG, Profile::Release).map(Some),
        None => Ok(None),
    }
}

/// The servers, and what is needed to put something in front of them.
struct Bed {
    cluster: Cluster,
    router: Option<PathBuf>,
}

impl Bed {
    fn make(router: Option<PathBuf>) -> Result<Self> {
        say("starting PostgreSQL and filling pgbench's tables");
        let options = ClusterOptions { repmgrd: None, max_connections: 600, ..ClusterOptions::default() };
        let cluster = Cluster::start(&options)?;
        pgbench::create_tables(cluster.primary()?.addr())?;
        cluster.primary()?.sql("bench", "vacuum analyze")?;
        cluster.primary()?.sql("bench", "checkpoint")?;
        Ok(Self { cluster, router })
    }

    fn subject(&self, name: &str, case: Case) -> Result<Box<dyn Subject>> {
        let primary = self.cluster.node(1).addr();
        let (mode, size) = case.pool();
        Ok(match name {
            "direct" => Box::new(Direct::to(primary)),
            "pgbouncer" => Box::new(Pgbouncer::start(primary, mode, size)?),
            "pgpool" => Box::new(Pgpool::following(&self.cluster, case.clients)?),
            "pgpool-relay" => Box::new(Pgpool::relay(primary, case.clients)?),
            "haproxy" => Box::new(Haproxy::relay(primary)?),
            _ => Box::new(self.router(mode, size)?),
        })
    }

    fn router(&self, mode: PoolMode, pool_size: usize) -> Result<Router> {
        let binary = self.router.as_ref().ok_or_else(|| Error::new("pg-router was not built"))?;
        let mut options = PgRouterOptions::new(binary);
        (options.own.mode, options.own.pool_size) = (mode.word(), pool_size);
        Router::start(&self.cluster, &options)
    }

    fn cell(&self, name: &str, case: Case, window: Duration) -> Result<Sample> {
        let subject = self.subject(name, case)?;
        let payers =
            pgbench::Payers { subject: subject.processes(), servers: peers::server_processes(&self.cluster) };
        let job =
            pgbench::Job { protocol: case.protocol, clients: case.clients, addr: subject.addr(), window };
        pgbench::measure(&job, &payers)
    }
}

/// What the first issue demands, where its cases were measured.
fn verdicts(bench: &Bench) -> Vec<Verdict> {
    let table = Table(bench);
    let cpu = |case: &&str| {
        let figure = |round: &Sample| round.cpu_us_per_op;
        table.ratio("CPU", figure, case, ["pg-router", "pgbouncer"], Bound::AtMost(1.1))
    };
    let rate = |round: &Sample| round.ops_per_s;
    let rate = table.ratio("throughput", rate, "simple-64", ["pg-router", "pgpool"], Bound::AtLeast(2.0));
    QUICK_CASES.iter().filter_map(cpu).chain(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(quick: bool, only: &[&str]) -> Options {
        let only = only.iter().map(ToString::to_string).collect();
        Options { rounds: 5, quick, json: None, router: None, only, subjects: Vec::new() }
    }

    #[track_caller]
    fn check(options: &Options, cases: usize, first: &str) {
        let plan = plan(options).unwrap();
        let names: Vec<String> = plan.cases.iter().map(plan::Case::name).collect();
        assert_eq!((names.len(), names[0].as_str()), (cases, first));
    }

    #[test]
    fn a_plan_holds_what_was_asked_for() {
        check(&options(false, &[]), 12, "simple-1");
        check(&options(true, &[]), 2, "simple-64");
        check(&options(false, &["prepared-256"]), 1, "prepared-256");
    }
}
