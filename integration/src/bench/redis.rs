//! `cargo stack bench redis`: GET and SET through everything that can stand before Redis.
//!
//! A cell has two halves. redis-benchmark asks as fast as it is answered: throughput and CPU per operation. Then the
//! open-loop client offers every subject the same load, 70 % of what HAProxy served at most in that case: latency. A
//! single client's latency is taken without any load beside it. Each cell gets a freshly started subject. Kind: driver.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::plan::{Case as _, Menu, Plan};
use super::redis_benchmark::{Job, KEY, Payers};
use super::redis_cases::{Case, Kind, PASSTHROUGH, ROUTER};
use super::{Options, redis_bars, redis_benchmark, write_json};
use crate::debian;
use crate::error::{Error, Result};
use crate::measure;
use crate::open_loop::{Client, Load, Outcome, Pace, Talk};
use crate::peers::{self, Direct, HaproxyRedis, Subject, Twemproxy};
use crate::progress::say;
use crate::redis::{Account, Cluster, ClusterOptions, Node};
use crate::report::{Bench, Sample};
use crate::router::{self, Profile, RedisRouterOptions, Router};

const SUBJECTS: [&str; 5] = ["direct", "haproxy", "twemproxy", ROUTER, PASSTHROUGH];
const QUICK_CASES: [&str; 3] = ["get-1", "get-50", "get-50-p16"];

/// 24 cases x 5 subjects x 5 rounds = 600 cells, and a whole bench has 20 minutes; those with 5000 clients take 6 s each.
const WINDOW: Duration = Duration::from_millis(600);
/// Of the latency that every case has beside its throughput.
const SHORT_WINDOW: Duration = Duration::from_millis(450);
/// For a case that is about latency alone.
const LONG_WINDOW: Duration = Duration::from_millis(1500);
const WARM: Duration = Duration::from_millis(100);
/// A load client that is so late itself, in microseconds, measures the machine and not the subject.
const LATE_US: u64 = 2000;
/// Of HAProxy's maximum.
const OFFERED: f64 = 0.7;

/// The value that the reader of big values reads.
const BIG_KEY: &str = "big";
const BIG: usize = 10 * 1024 * 1024;
/// How many of them it reads: the same through all, or whoever serves it faster would serve the others worse.
const BIG_PER_S: f64 = 10.0;

/// Runs the whole bench and reports.
pub fn run(options: &Options) -> Result<()> {
    let cases = Case::all();
    let plan = Plan::of(options, Menu { cases, quick: &QUICK_CASES, subjects: &SUBJECTS, extras: &[] })?;
    debian::ensure(debian::REDIS)?;
    debian::ensure(peers::REDIS_PACKAGES)?;
    let bed = Bed::make(router_binary(&plan, options)?)?;
    let rows = plan.measure(|subject, case| bed.cell(subject, case))?;
    let bench = Bench { suite: "redis".into(), machine: measure::machine(), rows };
    println!("{}\n{}", bench.machine, bench.table());
    redis_bars::verdicts(&bench).iter().for_each(|verdict| println!("{verdict}"));
    write_json(options.json.as_deref(), &bench)?;
    bed.cluster.stop()
}

fn router_binary(plan: &Plan<Case>, options: &Options) -> Result<Option<PathBuf>> {
    match &options.router {
        Some(given) => Ok(Some(given.clone())),
        None if plan.has(&[ROUTER, PASSTHROUGH]) => router::build(router::REDIS, Profile::Release).map(Some),
        None => Ok(None),
    }
}

/// The server, and what is needed to put something in front of it.
struct Bed {
    cluster: Cluster,
    router: Option<PathBuf>,
    /// What is offered in a case, once HAProxy has been asked.
    offered: RefCell<HashMap<String, f64>>,
}

impl Bed {
    /// One server without replicas, so that a SET costs what a SET costs.
    fn make(router: Option<PathBuf>) -> Result<Self> {
        say("starting Redis");
        let options = ClusterOptions { nodes: 1, sentinels: 1, tls: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(&options)?;
        cluster.node(1).call(&["SET", BIG_KEY, &"x".repeat(BIG)])?;
        Ok(Self { cluster, router, offered: RefCell::default() })
    }

    fn server(&self) -> &Node {
        self.cluster.node(1)
    }

    fn subject(&self, name: &str, case: Case) -> Result<Box<dyn Subject>> {
        let server = self.server().addr();
        let encrypted = self.server().tls_addr().filter(|_| case.tls);
        Ok(match (name, encrypted) {
            ("direct", encrypted) => Box::new(Direct::to(encrypted.unwrap_or(server))),
            ("haproxy", None) => Box::new(HaproxyRedis::relay(server)?),
            ("haproxy", Some(_)) => Box::new(HaproxyRedis::relay_tls(server, self.cluster.dir())?),
            ("twemproxy", _) => Box::new(Twemproxy::before(server)?),
            (PASSTHROUGH, _) => Box::new(self.router("passthrough", case.tls)?),
            _ => Box::new(self.router("shared", case.tls)?),
        })
    }

    fn router(&self, mode: &'static str, tls: bool) -> Result<Router> {
        let binary = self.router.as_ref().ok_or_else(|| Error::new("redis-router was not built"))?;
        let keys = self.cluster.dir().display();
        let mut options = RedisRouterOptions::new(binary);
        options.own.mode = mode;
        if tls {
            options.own.listener = "tls = true".into();
            options.extra =
                format!("[client_tls]\ncertificate = \"{keys}/server.crt\"\nkey = \"{keys}/server.key\"\n");
        }
        Router::start(&self.cluster, &options)
    }

    fn cell(&self, name: &str, case: Case) -> Result<Sample> {
        self.server().call(&["SET", KEY, &"x".repeat(case.size)])?;
        let subject = self.subject(name, case)?;
        // Whoever can't serve a case has errors there, and the others their figures all the same.
        Ok(self.measure(subject.as_ref(), case).unwrap_or_else(|e| {
            say(format_args!("{name}, {}: {e}", case.name()));
            Sample { errors: case.clients.max(1) as f64, ..Sample::default() }
        }))
    }

    fn measure(&self, subject: &dyn Subject, case: Case) -> Result<Sample> {
        match case.kind {
            Kind::Full => {
                let saturated = self.saturate(subject, case)?;
                let pace = self.pace(case)?;
                Ok(with_latency(saturated, &self.offer(subject.addr(), case, pace)?))
            }
            Kind::Fixed => self.alone(subject.addr(), case, self.pace(case)?),
            Kind::Alone => self.alone(subject.addr(), case, Pace::Closed),
            Kind::BesideBig => self.beside_big(subject.addr(), case),
            Kind::Idle => self.idle(subject, case),
        }
    }

    /// As fast as it is answered.
    fn saturate(&self, subject: &dyn Subject, case: Case) -> Result<Sample> {
        let ca = self.cluster.ca();
        let job = Job {
            addr: subject.addr(),
            tls: case.tls.then_some(ca.as_path()),
            verb: case.verb,
            clients: case.clients,
            pipeline: case.pipeline,
            size: case.size,
            window: WINDOW,
        };
        redis_benchmark::measure(&job, &Payers { subject: subject.processes(), server: self.server() })
    }

    /// The load of a case, the same for all: found once, by asking HAProxy.
    fn pace(&self, case: Case) -> Result<Pace> {
        if case.clients == 1 {
            return Ok(Pace::Closed);
        }
        let key = Case { kind: Kind::Full, ..case }.name();
        if let Some(&offered) = self.offered.borrow().get(&key) {
            return Ok(Pace::Open(offered));
        }
        let haproxy = self.subject("haproxy", case)?;
        let most = self.saturate(haproxy.as_ref(), case)?.ops_per_s;
        say(format_args!("{key}: {:.0} per second are offered to all", most * OFFERED));
        self.offered.borrow_mut().insert(key, most * OFFERED);
        Ok(Pace::Open(most * OFFERED))
    }

    fn load(&self, addr: SocketAddr, case: Case, pace: Pace) -> Load {
        Load {
            addr,
            tls: case.tls.then(|| self.cluster.ca()),
            connections: case.clients,
            pipeline: case.pipeline,
            talk: talk(case, KEY, case.size),
            pace,
        }
    }

    fn offer(&self, addr: SocketAddr, case: Case, pace: Pace) -> Result<Outcome> {
        let window = if case.kind == Kind::Full { SHORT_WINDOW } else { LONG_WINDOW };
        let outcome = Client::connect(&self.load(addr, case, pace))?.run(WARM, window)?;
        let late = outcome.lag.value_at_quantile(0.99);
        if late > LATE_US {
            say(format_args!(
                "{}: the load client itself was {late} us late (p99): too busy a machine",
                case.name()
            ));
        }
        Ok(outcome)
    }

    fn alone(&self, addr: SocketAddr, case: Case, pace: Pace) -> Result<Sample> {
        Ok(with_latency(Sample::default(), &self.offer(addr, case, pace)?))
    }

    /// Small values beside one reader of big ones. They are asked for as fast as they are answered: of a load offered at a
    /// fixed rate Redis itself, asked directly, keeps more than a hundredth waiting while it copies 10 MiB (p99 forty times
    /// as long), and what a router adds would be lost in that.
    fn beside_big(&self, addr: SocketAddr, case: Case) -> Result<Sample> {
        let small = self.load(addr, case, Pace::Closed);
        let pace = Pace::Open(BIG_PER_S);
        let big = Load { connections: 1, talk: talk(case, BIG_KEY, BIG), pace, ..small.clone() };
        let (mut small, mut big) = (Client::connect(&small)?, Client::connect(&big)?);
        let (heard, read) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| big.run(Duration::ZERO, WARM + LONG_WINDOW));
            let heard = small.run(WARM, LONG_WINDOW);
            (heard, reader.join().unwrap_or_else(|_| Err(Error::new("the reader of big values panicked"))))
        });
        let (heard, read) = (heard?, read?);
        let errors = read.errors as f64 + f64::from(u8::from(is_starved(&read)));
        Ok(with_latency(Sample { errors, ..Sample::default() }, &heard))
    }

    /// Clients that have logged in, and then say nothing.
    fn idle(&self, subject: &dyn Subject, case: Case) -> Result<Sample> {
        let clients = Client::connect(&self.load(subject.addr(), case, Pace::Closed))?;
        std::thread::sleep(WARM);
        let resident = subject.processes().resident_kib();
        drop(clients);
        Ok(Sample { rss_kib: resident as f64, ..Sample::default() })
    }
}

/// Whoever lets the reader of big values wait serves the others well for nothing.
fn is_starved(reader: &Outcome) -> bool {
    (reader.answered as f64) < 0.8 * reader.latency.len() as f64
}

fn talk(case: Case, key: &str, size: usize) -> Talk {
    let password = Some(Account::DEFAULT.password);
    Talk::Redis { password, verb: case.verb, key: key.into(), size }
}

fn with_latency(sample: Sample, outcome: &Outcome) -> Sample {
    let ops_per_s = if sample.ops_per_s > 0.0 { sample.ops_per_s } else { outcome.per_second() };
    Sample {
        ops_per_s,
        p50_us: outcome.percentile(50.0),
        p99_us: outcome.percentile(99.0),
        errors: sample.errors + outcome.errors as f64,
        ..sample
    }
}
