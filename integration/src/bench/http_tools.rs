//! One measured cell of the HTTP bench: wrk over HTTP/1.1 or h2load over HTTP/2, and what it cost.
//!
//! The tools count what was answered from their first request to their last, and the kernel the CPU over the same time:
//! what 64 connections cost to open is less than a hundredth of a second of requests. Kind: driver.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::http_cases::What;
use crate::error::{Context, Error, Result};
use crate::measure::ProcessSet;
use crate::process::{Process, Spec};
use crate::report::Sample;
use crate::wait::tail;

/// Beyond the time that a tool was given: 4000 connections are opened first.
const PATIENCE: Duration = Duration::from_secs(20);

/// A form as a small shop sends it.
const FORM: usize = 200;

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Wrk,
    H2load,
}

/// What it is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) tool: Tool,
    pub(super) addr: SocketAddr,
    pub(super) tls: bool,
    pub(super) what: What,
    pub(super) clients: usize,
    pub(super) window: Duration,
}

/// Whom the CPU time belongs to.
pub(super) struct Payers {
    pub(super) subject: ProcessSet,
    pub(super) upstream: ProcessSet,
}

/// wrk tells bytes in three digits: 2.90 GB may be half a hundredth more.
const ROUNDED: f64 = 0.995;

/// Runs the job.
pub(super) fn measure(job: &Job, payers: &Payers) -> Result<Sample> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("told");
    let spec = job.command(dir.path())?.log(&log);
    let before = (payers.subject.cpu_time(), payers.upstream.cpu_time());
    let mut program = Process::spawn(&spec)?;
    std::thread::sleep(job.window.mul_f64(0.8));
    let resident = payers.subject.resident_kib();
    if program.wait(job.window + PATIENCE)?.is_none() {
        return Err(Error::new(format!("{:?} has no end\n{}", job.tool, tail(&log))));
    }
    let subject = payers.subject.cpu_time().since(before.0);
    let all = subject + payers.upstream.cpu_time().since(before.1);
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let told = match job.tool {
        Tool::Wrk => wrk(&text),
        Tool::H2load => h2load(&text),
    };
    let told = told.ok_or_else(|| Error::new(format!("{:?} says no figures\n{text}", job.tool)))?;
    if told.bytes < told.answers * job.what.least() as f64 * ROUNDED {
        return Err(Error::new(format!("{:.0} answers in {:.0} bytes are none", told.answers, told.bytes)));
    }
    let per_op = |spent: Duration| spent.as_secs_f64() * 1e6 / told.answers.max(1.0);
    Ok(Sample {
        ops_per_s: told.answers / told.seconds,
        cpu_us_per_op: per_op(subject),
        all_cpu_us_per_op: per_op(all),
        rss_kib: resident as f64,
        errors: told.errors,
        ..Sample::default()
    })
}

impl Job {
    fn command(&self, dir: &Path) -> Result<Spec> {
        let scheme = if self.tls { "https" } else { "http" };
        let urls: Vec<String> =
            self.what.paths().iter().map(|path| format!("{scheme}://{}{path}", self.addr)).collect();
        let (clients, seconds) = (self.clients.to_string(), self.window.as_secs().max(1).to_string());
        Ok(match self.tool {
            Tool::Wrk => {
                let spec = Spec::new("wrk").args(["-t", "1", "-c", &clients, "-d", &format!("{seconds}s")]);
                let spec = if self.what == What::Post { spec.args(["-s", &script(dir)?]) } else { spec };
                spec.args(["--timeout", "10s"]).args(urls)
            }
            // Warm-up would be CPU without answers.
            Tool::H2load => {
                Spec::new("h2load").args(["-t", "1", "-c", &clients, "-m", "1", "-D", &seconds]).args(urls)
            }
        })
    }
}

/// What makes wrk send a form.
fn script(dir: &Path) -> Result<String> {
    let path = dir.join("post.lua");
    let mut text = String::from("wrk.method = \"POST\"\n");
    let _ = writeln!(text, "wrk.headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"");
    let _ = writeln!(text, "wrk.body = \"item_1=1&name={}\"", "x".repeat(FORM - 14));
    std::fs::write(&path, text).context(path.display())?;
    Ok(path.display().to_string())
}

/// What a tool counted.
#[derive(Debug, PartialEq)]
struct Told {
    answers: f64,
    seconds: f64,
    errors: f64,
    /// Of all answers, bodies at least.
    bytes: f64,
}

/// `12345 requests in 1.00s, 2.00MB read`, and complaints if there are any.
fn wrk(text: &str) -> Option<Told> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let (answers, rest) = line.trim().split_once(" requests in ")?;
    let (seconds, read) = rest.split_once(", ")?;
    let (seconds, bytes) = (time(seconds)?, bytes(read.strip_suffix(" read")?)?);
    let complaint = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        Some(line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>())
    };
    let (refused, broken) = (complaint("Non-2xx or 3xx responses:"), complaint("Socket errors:"));
    let errors = refused.unwrap_or_default() + broken.unwrap_or_default();
    let answers = answers.parse::<f64>().ok()? - refused.unwrap_or_default();
    Some(Told { answers, seconds, errors, bytes })
}

/// `finished in 1.00s, …` and `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout`.
fn h2load(text: &str) -> Option<Told> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let line = text.lines().find(|line| line.starts_with("requests: "))?;
    let count = |word: &str| -> Option<f64> {
        let part = line.trim_start_matches("requests: ").split(", ").find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    let traffic = text.lines().find(|line| line.starts_with("traffic: "))?;
    let data = traffic.rsplit_once('(')?.1.split_once(')')?.0;
    // What was on its way at the end of a timed run is neither: only what failed is a failure.
    Some(Told {
        answers: count(" succeeded")?,
        seconds: time(seconds.split(',').next()?)?,
        errors: count(" failed")?,
        bytes: data.parse().ok()?,
    })
}

/// `512.00B`, `2.00MB`: wrk's kilo is 1024.
fn bytes(text: &str) -> Option<f64> {
    let units = [("KB", 10), ("MB", 20), ("GB", 30), ("TB", 40), ("B", 0)];
    let (unit, shift) = units.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * f64::from(2_u32).powi(shift))
}

/// `1.00s`, `998.12ms`, `1.00m`.
fn time(text: &str) -> Option<f64> {
    let (unit, factor) = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Thread Stats   Avg\n  \
                    12345 requests in 998.00ms, 2.00MB read\n  Socket errors: connect 0, read 3, write 0, timeout 1\n  \
                    Non-2xx or 3xx responses: 45\nRequests/sec:  12345.00\n";
        assert_eq!(
            wrk(text),
            Some(Told { answers: 12300.0, seconds: 0.998, errors: 49.0, bytes: 2_097_152.0 })
        );
        assert_eq!(wrk("unable to connect"), None);
    }

    #[test]
    fn h2load_is_understood() {
        let text = "finished in 1.00s, 20000.00 req/s, 1.0MB/s\nrequests: 20064 total, 20064 started, 20000 done, \
                    19990 succeeded, 10 failed, 0 errored, 0 timeout\n\
                    traffic: 1.02MB (1070592) total, 128.00KB (131072) headers (space savings 0.00%), 768.00KB \
                    (786432) data\n";
        let told = Told { answers: 19990.0, seconds: 1.0, errors: 10.0, bytes: 786_432.0 };
        assert_eq!(h2load(text), Some(told));
    }
}
