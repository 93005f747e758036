//! One measured cell: pgbench against one address, and what it cost there.
//!
//! Only a window in the middle counts. It opens when every connection has been made and used for a while and closes
//! before any of them ends, so that logins, forks and pools that fill are nobody's cost per operation. pgbench logs each
//! transaction with its end in microseconds; those that end in the window are the operations. Kind: driver.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Context, Error, Result};
use crate::measure::{CpuTime, ProcessSet};
use crate::pg::Account;
use crate::report::Sample;

const PROGRAM: &str = "/usr/lib/postgresql/15/bin/pgbench";
/// 10 x 100 000 accounts: some 150 MB, which the servers keep in memory.
const SCALE: &str = "10";
/// Pools fill at the first queries, a connection at a time; this is enough for twenty logins.
const SETTLE: Duration = Duration::from_millis(400);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any window: pgbench is told to end by the signal that it would have sent itself.
const FOR_EVER: &str = "600";

/// What pgbench is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) protocol: &'static str,
    pub(super) clients: usize,
    pub(super) addr: SocketAddr,
    pub(super) window: Duration,
}

/// Whom the CPU time belongs to.
#[derive(Clone, Debug)]
pub(super) struct Payers {
    pub(super) subject: ProcessSet,
    pub(super) servers: ProcessSet,
}

/// Makes pgbench's tables, through no proxy.
pub(super) fn create_tables(primary: SocketAddr) -> Result<()> {
    let output = command(primary).args(["-i", "-q", "-s", SCALE]).output().context(PROGRAM)?;
    if output.status.success() { Ok(()) } else { Err(Error::new(String::from_utf8_lossy(&output.stderr))) }
}

/// Runs the job and measures its window. A pgbench that fails gives a sample with errors and without operations.
pub(super) fn measure(job: &Job, payers: &Payers) -> Result<Sample> {
    let dir = tempfile::tempdir().context("pgbench's folder")?;
    let mut pgbench = Running::start(job, dir.path())?;
    let Ok(()) = pgbench.wait_until_connected(job.clients) else {
        return Ok(Sample { errors: job.clients as f64, ..Sample::default() });
    };
    std::thread::sleep(SETTLE);
    let opened = Look::at(payers);
    std::thread::sleep(job.window);
    let closed = Look::at(payers);
    let resident = payers.subject.resident_kib();
    let errors = pgbench.end()?;
    let latencies = latencies_between(dir.path(), opened.at, closed.at)?;
    Ok(sample(latencies, errors, resident, &opened, &closed))
}

/// The CPU times at one moment, and the moment as pgbench's log tells it.
struct Look {
    at: u128,
    subject: CpuTime,
    servers: CpuTime,
}

impl Look {
    fn at(payers: &Payers) -> Self {
        let before = epoch_micros();
        let (subject, servers) = (payers.subject.cpu_time(), payers.servers.cpu_time());
        Self { at: u128::midpoint(before, epoch_micros()), subject, servers }
    }
}

fn epoch_micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

fn sample(mut latencies: Vec<u64>, errors: usize, resident: u64, opened: &Look, closed: &Look) -> Sample {
    latencies.sort_unstable();
    let seconds = (closed.at - opened.at) as f64 / 1e6;
    let per_op = |spent: Duration| spent.as_secs_f64() * 1e6 / latencies.len().max(1) as f64;
    let subject = closed.subject.since(opened.subject);
    Sample {
        ops_per_s: latencies.len() as f64 / seconds,
        cpu_us_per_op: per_op(subject),
        all_cpu_us_per_op: per_op(subject + closed.servers.since(opened.servers)),
        p50_us: percentile(&latencies, 50),
        p99_us: percentile(&latencies, 99),
        rss_kib: resident as f64,
        errors: errors as f64,
    }
}

/// The nearest rank.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default() as f64
}

fn command(addr: SocketAddr) -> Command {
    let Account { user, password, database } = Account::BENCH;
    let mut command = Command::new(PROGRAM);
    command
        .env("PGPASSWORD", password.unwrap_or_default())
        .env("PGSSLMODE", "disable")
        .args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string(), "-U", user])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // The database comes last on the command line, but libpq takes it from here as well.
    command.env("PGDATABASE", database);
    command
}

/// A pgbench that is running; dropping it kills it.
struct Running {
    child: Child,
    errors: std::path::PathBuf,
}

impl Running {
    fn start(job: &Job, dir: &Path) -> Result<Self> {
        let errors = dir.join("stderr");
        let threads = if job.clients == 1 { "1" } else { "2" };
        let child = command(job.addr)
            .args([
                "-n",
                "-S",
                "-M",
                job.protocol,
                "-c",
                &job.clients.to_string(),
                "-j",
                threads,
                "-T",
                FOR_EVER,
            ])
            .args(["-l", "--log-prefix"])
            .arg(dir.join("log"))
            .stderr(File::create(&errors)?)
            .spawn()
            .context(PROGRAM)?;
        Ok(Self { child, errors })
    }

    /// pgbench opens its connections one after the other before it starts: when it has as many sockets as clients, the
    /// last login is under way.
    fn wait_until_connected(&mut self, clients: usize) -> Result<()> {
        let end = Instant::now() + CONNECT_TIMEOUT;
        while self.sockets() < clients {
            if self.child.try_wait()?.is_some() || Instant::now() > end {
                return Err(Error::new(fs::read_to_string(&self.errors)?));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn sockets(&self) -> usize {
        let Ok(fds) = fs::read_dir(format!("/proc/{}/fd", self.child.id())) else { return 0 };
        let is_socket =
            |path: &Path| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        fds.flatten().filter(|fd| is_socket(&fd.path())).count()
    }

    /// Lets it finish and flush its log. Gives the number of clients that had to give up.
    fn end(&mut self) -> Result<usize> {
        let _ = kill_process(Pid::from_child(&self.child), Signal::ALARM);
        let status = self.wait()?;
        let told = fs::read_to_string(&self.errors)?;
        let aborted = told.lines().filter(|line| line.contains("aborted in command")).count();
        Ok(if status.is_some_and(|s| s.success()) { aborted } else { aborted.max(1) })
    }

    fn wait(&mut self) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + END_TIMEOUT;
        loop {
            match self.child.try_wait()? {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                status => return Ok(status),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The latencies of the transactions that ended between two moments, from all threads' logs.
fn latencies_between(dir: &Path, from: u128, to: u128) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(dir)?.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("log."))
    {
        for line in BufReader::new(File::open(entry.path())?).lines() {
            let Some((ended, latency)) = parse_log(&line?) else { continue };
            if (from..to).contains(&ended) {
                latencies.push(latency);
            }
        }
    }
    Ok(latencies)
}

/// The end and the latency, both in microseconds, of a line
/// `client_id transaction_no time script_no time_epoch time_us`, see pgbench's documentation, "Per-Transaction Logging".
fn parse_log(line: &str) -> Option<(u128, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let latency = fields.next()?.parse().ok()?;
    let seconds: u128 = fields.nth(1)?.parse().ok()?;
    let micros: u128 = fields.next()?.parse().ok()?;
    Some((seconds * 1_000_000 + micros, latency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(u128, u64)>) {
        assert_eq!(parse_log(line), expected, "{line}");
    }

    #[test]
    fn a_log_line_gives_end_and_latency() {
        check("0 199 2241 0 1175850568 995598", Some((1_175_850_568_995_598, 2241)));
        check("0 199 failed 0 1175850568 995598", None);
        check("0 199 22", None);
        check("", None);
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        assert_eq!(percentile(&[], 50), 0.0);
        assert_eq!(percentile(&[7], 99), 7.0);
        assert_eq!(percentile(&[1, 2, 3, 4], 50), 2.0);
        assert_eq!(percentile(&[1, 2, 3, 4], 99), 4.0);
    }
}
