//! One measured cell: pgbench against one address, and what it cost there.
//!
//! Only a window in the middle counts. It opens when every client has had its first transaction and closes
//! before any of them ends, so that logins, forks and pools that fill are nobody's cost per operation. pgbench logs each
//! transaction with its end in microseconds; those that end in the window are the operations. Kind: driver.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::error::{Context, Error, Result};
use crate::measure::{CpuTime, ProcessSet};
use crate::pg::Account;
use crate::process::{Process, Spec};
use crate::progress::say;
use crate::report::Sample;

const PROGRAM: &str = "/usr/lib/postgresql/15/bin/pgbench";
/// 10 x 100 000 accounts: some 150 MB, which the servers keep in memory.
const SCALE: &str = "10";
/// Between the last client's first transaction and the window.
const SETTLE: Duration = Duration::from_millis(200);
/// A subject that serves some clients not at all is measured as it is.
const WARM_TIMEOUT: Duration = Duration::from_secs(15);
const TOLD: &str = "told";
const LOG: &str = "log";
const INIT_TIMEOUT: Duration = Duration::from_secs(120);
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
    command(primary).args(["-i", "-q", "-s", SCALE]).output(INIT_TIMEOUT).map(drop)
}

/// Runs the job and measures its window. A pgbench that fails gives a sample with errors and without operations.
pub(super) fn measure(job: &Job, payers: &Payers) -> Result<Sample> {
    let dir = tempfile::tempdir().context("pgbench's folder")?;
    let mut pgbench = Running::start(job, dir.path())?;
    let starved = match pgbench.wait_until_warm(job) {
        Ok(starved) => starved,
        Err(e) => {
            say(e);
            return Ok(Sample { errors: job.clients as f64, ..Sample::default() });
        }
    };
    std::thread::sleep(SETTLE);
    let opened = Look::at(payers);
    std::thread::sleep(job.window);
    let closed = Look::at(payers);
    let resident = payers.subject.resident_kib();
    let errors = starved + pgbench.end()?;
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

fn command(addr: SocketAddr) -> Spec {
    let Account { user, password, database } = Account::BENCH;
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    Spec::new(PROGRAM)
        .env("PGPASSWORD", password.unwrap_or_default())
        .env("PGDATABASE", database)
        .env("PGSSLMODE", "disable")
        .args(["-h", &host, "-p", &port, "-U", user])
}

/// A pgbench that is running; dropping it kills it.
struct Running {
    process: Process,
    /// Its logs and what it had to say.
    dir: PathBuf,
}

impl Running {
    fn start(job: &Job, dir: &Path) -> Result<Self> {
        let (clients, log) = (job.clients.to_string(), dir.join(LOG));
        let threads = if job.clients == 1 { "1" } else { "2" };
        let spec = command(job.addr)
            .args(["-n", "-S", "-M", job.protocol, "-c", &clients, "-j", threads, "-T", FOR_EVER])
            .args(["-l", "--log-prefix", &log.to_string_lossy()])
            .log(dir.join(TOLD));
        Ok(Self { process: Process::spawn(&spec)?, dir: dir.to_path_buf() })
    }

    /// Waits until every client has finished a transaction. Then all connections have been made, the subject's pool is
    /// full, and nobody prepares statements any more (which pgbench does for one client after the other).
    /// Gives the number of clients that have finished none after a long time.
    fn wait_until_warm(&mut self, job: &Job) -> Result<usize> {
        let end = Instant::now() + WARM_TIMEOUT;
        let mut logs = Logs::in_folder(&self.dir);
        loop {
            let missing = job.clients.saturating_sub(logs.clients_seen()?);
            if missing == 0 || Instant::now() > end {
                return Ok(missing);
            }
            if !self.process.alive() {
                return Err(Error::new(self.told()?));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn told(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join(TOLD))?)
    }

    /// Lets it finish and flush its log. Gives the number of clients that had to give up.
    fn end(&mut self) -> Result<usize> {
        self.process.signal(Signal::ALARM)?;
        let status = self.process.wait(END_TIMEOUT)?;
        let told = self.told()?;
        let aborted = told.lines().filter(|line| line.contains("aborted in command")).count();
        Ok(if status.is_some_and(|s| s.success()) { aborted } else { aborted.max(1) })
    }
}

/// The latencies of the transactions that ended between two moments, from all threads' logs.
fn latencies_between(dir: &Path, from: u128, to: u128) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    for file in log_files(dir)? {
        for line in BufReader::new(File::open(file)?).lines() {
            latencies
                .extend(parse_log(&line?).filter(|(ended, _)| (from..to).contains(ended)).map(|(_, us)| us));
        }
    }
    Ok(latencies)
}

fn log_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    Ok(files
        .filter(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with(LOG)))
        .collect())
}

/// The threads' logs while they grow.
struct Logs {
    dir: PathBuf,
    /// How far each was read, to the end of a line.
    read: HashMap<PathBuf, u64>,
    clients: HashSet<u32>,
}

impl Logs {
    fn in_folder(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), read: HashMap::new(), clients: HashSet::new() }
    }

    /// How many clients have logged a transaction so far.
    fn clients_seen(&mut self) -> Result<usize> {
        for path in log_files(&self.dir)? {
            let from = self.read.entry(path.clone()).or_default();
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(*from))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *from += whole as u64;
            let client = |line: &str| line.split(' ').next()?.parse::<u32>().ok();
            self.clients.extend(text[..whole].lines().filter_map(client));
        }
        Ok(self.clients.len())
    }
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
