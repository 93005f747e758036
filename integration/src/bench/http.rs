//! `cargo stack bench http`: pages, forms and files through everything that can stand before gunicorn.
//!
//! wrk and h2load ask as fast as they are answered: throughput and CPU per request. For latency the open-loop client
//! offers every subject the same load, 70 % of what the slower of NGINX and HAProxy serves at most. Each cell gets a
//! freshly started subject with one worker. Kind: driver.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::http_cases::{Case, FILES, Kind, What, file};
use super::http_tools::{self, Job, Payers, Tool};
use super::plan::{Case as _, Menu, Plan};
use super::{Options, http_bars, http_handshakes, write_json};
use crate::certificates::Authority;
use crate::error::{Context, Result};
use crate::front::{self, Files, Front, HAPROXY, NGINX, PINGORA};
use crate::open_loop::{Client, Load, Pace, Talk};
use crate::peers::Subject;
use crate::progress::say;
use crate::report::{Bench, Sample};
use crate::router::{self, HTTP, Profile};
use crate::upstream::Upstream;
use crate::{debian, measure};

const SUBJECTS: [&str; 4] = [HTTP, NGINX, HAPROXY, PINGORA];
const QUICK_CASES: [&str; 4] = ["proxy-get-64", "proxy-get-close-64", "static-4k-64", "h2-get-64"];
/// The load tools.
const TOOLS: &[&str] = &["wrk", "nghttp2-client"];

/// Whole seconds are all that wrk knows.
const WINDOW: Duration = Duration::from_secs(1);
/// For 4000 connections, whose opening costs, and for 10 MiB, of which a second holds few.
const LONG_WINDOW: Duration = Duration::from_secs(2);
const LATENCY_WINDOW: Duration = Duration::from_millis(1500);
const WARM: Duration = Duration::from_millis(200);
/// Of the slower one's maximum.
const OFFERED: f64 = 0.7;
/// A load client that is so late itself, in microseconds, measures the machine and not the subject.
const LATE_US: u64 = 2000;

/// Runs the whole bench and reports.
pub fn run(options: &Options) -> Result<()> {
    let cases = Case::all();
    let plan = Plan::of(options, Menu { cases, quick: &QUICK_CASES, subjects: &SUBJECTS, extras: &[] })?;
    debian::ensure(&[front::PACKAGES, TOOLS].concat())?;
    let bed = Bed::make(binaries(&plan, options)?)?;
    let rows = plan.measure(|subject, case| bed.cell(subject, case))?;
    let bench = Bench { suite: "http".into(), machine: measure::machine(), rows };
    println!("{}\n{}", bench.machine, bench.table());
    http_bars::verdicts(&bench).iter().for_each(|verdict| println!("{verdict}"));
    write_json(options.json.as_deref(), &bench)
}

/// What is built for it.
fn binaries(plan: &Plan<Case>, options: &Options) -> Result<HashMap<&'static str, PathBuf>> {
    let mut binaries = HashMap::new();
    if let Some(given) = &options.router {
        binaries.insert(HTTP, given.clone());
    } else if plan.has(&[HTTP]) {
        binaries.insert(HTTP, router::build(HTTP, Profile::Release)?);
    }
    if plan.has(&[PINGORA]) {
        binaries.insert(PINGORA, front::build_pingora()?);
    }
    Ok(binaries)
}

/// The application, its files, and what is needed to put something in front of them.
struct Bed {
    keeping: Upstream,
    closing: Upstream,
    /// Static files, and the key pair.
    dir: TempDir,
    binaries: HashMap<&'static str, PathBuf>,
    /// What is offered in a case, once the rivals have been asked.
    offered: RefCell<HashMap<&'static str, f64>>,
}

impl Bed {
    fn make(binaries: HashMap<&'static str, PathBuf>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stack-http-").tempdir()?;
        Authority::create()?.serve(dir.path())?;
        let files = dir.path().join("static");
        std::fs::create_dir(&files)?;
        for size in FILES {
            // Lines that no compression finds empty: nobody is asked to compress here.
            let text = "body { color: #123456; margin: 0 }\n".repeat(size / 35 + 1);
            std::fs::write(files.join(file(size)), &text[..size]).context(files.display())?;
        }
        let offered = RefCell::default();
        Ok(Self { keeping: Upstream::start(false)?, closing: Upstream::start(true)?, dir, binaries, offered })
    }

    fn upstream(&self, case: Case) -> &Upstream {
        if case.what == What::GetClose { &self.closing } else { &self.keeping }
    }

    fn subject(&self, name: &str, case: Case) -> Result<Box<dyn Subject>> {
        let files = Files { prefix: "/static/", root: self.dir.path().join("static") };
        let front = Front {
            files: vec![files],
            tls: case.tls.then(|| self.dir.path().into()),
            ..Front::before(vec![self.upstream(case).addr()])
        };
        front.start(name, self.binaries.get(name).map_or(&PathBuf::new(), |binary| binary))
    }

    /// Whoever can't serve a case has errors there, and the others their figures all the same.
    fn cell(&self, name: &str, case: Case) -> Result<Sample> {
        let measured = self.subject(name, case).and_then(|subject| self.measure(subject.as_ref(), case));
        Ok(measured.unwrap_or_else(|e| {
            say(format_args!("{name}, {}: {e}", case.name()));
            Sample { errors: case.clients.max(1) as f64, ..Sample::default() }
        }))
    }

    fn measure(&self, subject: &dyn Subject, case: Case) -> Result<Sample> {
        let payers = Payers { subject: subject.processes(), upstream: self.upstream(case).processes() };
        match case.kind {
            Kind::Http1 => self.saturate(Tool::Wrk, subject.addr(), case, &payers),
            Kind::Http2 => self.saturate(Tool::H2load, subject.addr(), case, &payers),
            Kind::Handshakes { resumed } => {
                http_handshakes::measure(subject.addr(), &self.authority(), resumed, WINDOW, &payers)
            }
            Kind::Fixed => self.offer(subject.addr(), case),
            Kind::Idle => self.idle(subject, case),
        }
    }

    fn saturate(&self, tool: Tool, addr: SocketAddr, case: Case, payers: &Payers) -> Result<Sample> {
        let long = case.clients > 1000 || matches!(case.what, What::File(size) if size > 1024 * 1024);
        let window = if long { LONG_WINDOW } else { WINDOW };
        let Case { tls, what, clients, .. } = case;
        http_tools::measure(&Job { tool, addr, tls, what, clients, window }, payers)
    }

    /// The load of a case, the same for all: found once, by asking the rivals for their most.
    fn pace(&self, case: Case) -> Result<f64> {
        if let Some(&offered) = self.offered.borrow().get(case.name) {
            return Ok(offered);
        }
        let most = |name: &&str| -> Result<f64> {
            let subject = self.subject(name, case)?;
            let payers = Payers { subject: subject.processes(), upstream: self.upstream(case).processes() };
            Ok(self.saturate(Tool::Wrk, subject.addr(), case, &payers)?.ops_per_s)
        };
        let all: Vec<f64> = case.rivals().iter().map(most).collect::<Result<_>>()?;
        let offered = all.into_iter().fold(f64::MAX, f64::min) * OFFERED;
        say(format_args!("{}: {offered:.0} per second are offered to all", case.name));
        self.offered.borrow_mut().insert(case.name, offered);
        Ok(offered)
    }

    fn offer(&self, addr: SocketAddr, case: Case) -> Result<Sample> {
        let load = self.load(addr, case, Pace::Open(self.pace(case)?));
        let outcome = Client::connect(&load)?.run(WARM, LATENCY_WINDOW)?;
        let late = outcome.lag.value_at_quantile(0.99);
        if late > LATE_US {
            say(format_args!(
                "{}: the load client itself was {late} us late (p99): too busy a machine",
                case.name
            ));
        }
        Ok(Sample {
            ops_per_s: outcome.per_second(),
            p50_us: outcome.percentile(50.0),
            p99_us: outcome.percentile(99.0),
            errors: outcome.errors as f64,
            ..Sample::default()
        })
    }

    /// Connections that have been served once, and then say nothing.
    fn idle(&self, subject: &dyn Subject, case: Case) -> Result<Sample> {
        // One for all: what the first connection of a process brings along is nobody's price per connection.
        drop(Client::connect(&self.load(subject.addr(), Case { clients: 1, ..case }, Pace::Closed))?);
        let clients = Client::connect(&self.load(subject.addr(), case, Pace::Closed))?;
        std::thread::sleep(WARM);
        let resident = subject.processes().resident_kib();
        drop(clients);
        Ok(Sample { rss_kib: resident as f64, ..Sample::default() })
    }

    fn load(&self, addr: SocketAddr, case: Case, pace: Pace) -> Load {
        let path = case.what.paths().swap_remove(0);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: */*\r\n\r\n");
        Load {
            addr,
            tls: case.tls.then(|| self.authority()),
            connections: case.clients,
            pipeline: 1,
            talk: Talk::Http { request },
            pace,
        }
    }

    fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_look_is_at_cases_that_there_are() {
        let names: Vec<String> = Case::all().iter().map(Case::name).collect();
        assert!(QUICK_CASES.iter().all(|quick| names.iter().any(|name| name == quick)));
    }
}
