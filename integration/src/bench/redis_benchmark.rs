//! One measured cell: redis-benchmark against one address, and what it cost there.
//!
//! Only a window in the middle counts, so that connections and logins are nobody's cost per operation. Redis itself says
//! how many commands it executed in it (`INFO commandstats`): the one count that is the same for every subject.
//! Kind: driver.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::measure::{CpuTime, ProcessSet};
use crate::open_loop::Verb;
use crate::process::{Process, Spec};
use crate::redis::{Account, Client, Node};
use crate::report::Sample;
use crate::wait::tail;

/// The key that redis-benchmark reads and writes unless it is told to vary it.
pub(super) const KEY: &str = "key:__rand_int__";

/// Between the first answers and the window.
const SETTLE: Duration = Duration::from_millis(100);
/// It rests 50 ms after every 64 connections that it opens: 4 s for 5000.
const WARM: Duration = Duration::from_secs(20);
/// More than any window can hold: it is killed before.
const FOR_EVER: &str = "2000000000";

/// What redis-benchmark is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) addr: SocketAddr,
    /// The authority's certificate, if clients are to encrypt.
    pub(super) tls: Option<&'a Path>,
    pub(super) verb: Verb,
    pub(super) clients: usize,
    pub(super) pipeline: usize,
    pub(super) size: usize,
    pub(super) window: Duration,
}

/// Whom the CPU time belongs to, and who counts.
pub(super) struct Payers<'a> {
    pub(super) subject: ProcessSet,
    pub(super) server: &'a Node,
}

/// Runs the job and measures its window. Latencies are left to the open-loop client.
pub(super) fn measure(job: &Job<'_>, payers: &Payers<'_>) -> Result<Sample> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("told");
    let mut counter = Counter::of(job.verb, payers)?;
    let before = counter.look()?.calls;
    let mut program = Process::spawn(&command(job).log(&log))?;
    let end = Instant::now() + WARM;
    while counter.look()?.calls < before + job.clients as u64 {
        if !program.alive() || Instant::now() > end {
            crate::progress::say(format_args!("redis-benchmark is not served: {}", tail(&log)));
            return Ok(Sample { errors: job.clients as f64, ..Sample::default() });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(SETTLE);
    let opened = counter.look()?;
    std::thread::sleep(job.window);
    let closed = counter.look()?;
    let alive = program.alive();
    let resident = payers.subject.resident_kib();
    Ok(Sample { rss_kib: resident as f64, errors: f64::from(u8::from(!alive)), ..sample(&opened, &closed) })
}

fn sample(opened: &Look, closed: &Look) -> Sample {
    let done = closed.calls.saturating_sub(opened.calls) as f64;
    let subject = closed.subject.since(opened.subject);
    let per_op = |spent: Duration| spent.as_secs_f64() * 1e6 / done.max(1.0);
    Sample {
        ops_per_s: done / closed.at.duration_since(opened.at).as_secs_f64(),
        cpu_us_per_op: per_op(subject),
        all_cpu_us_per_op: per_op(subject + closed.server.since(opened.server)),
        ..Sample::default()
    }
}

fn command(job: &Job<'_>) -> Spec {
    let (host, port) = (job.addr.ip().to_string(), job.addr.port().to_string());
    let number = |n: usize| n.to_string();
    let spec = Spec::new("redis-benchmark")
        .args(["-h", &host, "-p", &port, "-a", Account::DEFAULT.password])
        .args(["-c", &number(job.clients), "-P", &number(job.pipeline), "-d", &number(job.size)])
        .args(["-n", FOR_EVER, "-t", if job.verb == Verb::Get { "get" } else { "set" }]);
    match job.tls {
        Some(ca) => spec.args(["--tls", "--cacert", &ca.to_string_lossy()]),
        None => spec,
    }
}

/// The state of all counts at one moment.
struct Look {
    at: Instant,
    calls: u64,
    subject: CpuTime,
    server: CpuTime,
}

struct Counter<'a> {
    /// What precedes the number in the statistics of commands.
    mark: &'static str,
    client: Client,
    subject: &'a ProcessSet,
    server: ProcessSet,
}

impl<'a> Counter<'a> {
    fn of(verb: Verb, payers: &'a Payers<'_>) -> Result<Self> {
        let mark = if verb == Verb::Get { "cmdstat_get:calls=" } else { "cmdstat_set:calls=" };
        let server = ProcessSet::of(payers.server.pid());
        Ok(Self { mark, client: payers.server.client()?, subject: &payers.subject, server })
    }

    fn look(&mut self) -> Result<Look> {
        let told = self.client.call(&["INFO", "commandstats"])?;
        let at = Instant::now();
        let text = told.text().ok_or_else(|| Error::new("INFO is no text"))?;
        let (subject, server) = (self.subject.cpu_time(), self.server.cpu_time());
        Ok(Look { at, calls: calls(text, self.mark), subject, server })
    }
}

/// None executed yet is no line at all.
fn calls(stats: &str, mark: &str) -> u64 {
    let line = stats.lines().find_map(|line| line.strip_prefix(mark));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_the_line_of_the_command() {
        let stats = "# Commandstats\r\ncmdstat_getex:calls=7,usec=1\r\ncmdstat_get:calls=42,usec=9\r\n";
        assert_eq!(calls(stats, "cmdstat_get:calls="), 42);
        assert_eq!(calls(stats, "cmdstat_set:calls="), 0);
    }
}
