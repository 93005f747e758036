//! slowhttptest in each of its modes, while 16 ordinary clients are served: their p99 beside the one without an attack,
//! taken by turns.
//!
//! slowhttptest polls its connections without a pause, a whole processor long. Real attackers bring their own, and a busy
//! neighbour costs the ordinary clients a third of their p99 by itself: so it gets what nobody else asks for
//! (`SCHED_IDLE`) of the one processor that all are on, attacked or not. It ends when all of its connections were closed:
//! it is begun again then, for as long as it is looked at. Kind: driver.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::report::Part;
use super::stage::{Stage, Wishes};
use crate::debian;
use crate::error::{Error, Result};
use crate::open_loop::{Client, Load, Outcome, Pace, Talk};
use crate::process::{Process, Spec};
use crate::progress::say;

/// The bar: p99 with an attack by p99 without.
const BAR: f64 = 1.2;

/// The ordinary clients, and how often they ask in all: a fraction of what gunicorn can do.
const CLIENTS: usize = 16;
const RATE: f64 = 150.0;

/// Bad connections, and how many of them are made in a second.
const ATTACKERS: u32 = 400;
const ATTACKERS_A_SECOND: u32 = 200;

/// All bad connections are there then, and what they asked for was answered as far as they take it.
const RAMP: Duration = Duration::from_secs(6);
const WARM: Duration = Duration::from_millis(500);

/// A mode: its name, its flags, what it asks for.
type Mode = (&'static str, &'static [&'static str], &'static str);

const MODES: [Mode; 4] = [
    ("slow_headers", &["-H", "-i", "2"], "/"),
    ("slow_body", &["-B", "-i", "2", "-s", "8192"], "/"),
    ("range", &["-R", "-t", "HEAD", "-a", "10", "-b", "3000"], "/static/large.bin"),
    ("slow_read", &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32"], "/bytes/1000000"),
];

/// See the module.
pub(super) fn run(binary: &Path, quick: bool) -> Result<Part> {
    debian::ensure(&["slowhttptest"])?;
    let mut part = Part::named("slow");
    let stage = Stage::start(binary, &Wishes { workers: 4, ..Wishes::default() })?;
    let (rounds, window) = if quick { (1, Duration::from_secs(5)) } else { (4, Duration::from_secs(8)) };
    let addr = stage.router.addr();
    let _place = Place::assign(&stage)?;
    for (name, flags, path) in MODES {
        let (mut without, mut with) = (histogram()?, histogram()?);
        let mut errors = 0;
        for round in 1..=rounds {
            let before = ordinary(addr, window)?;
            let attack = Process::spawn(&attack(addr, flags, path, window))?;
            std::thread::sleep(RAMP);
            let (standing, opened) = (stage.connections("active")?, stage.connections("total")?);
            let during = ordinary(addr, window)?;
            let attackers = standing + stage.connections("total")? - opened - CLIENTS as f64;
            drop(attack);
            if attackers < f64::from(ATTACKERS) {
                return Err(Error::new(format!("{name}: only {attackers} connections attacked")));
            }
            say(format_args!(
                "slow: {name} {round}/{rounds}: p99 {:.0} us, {:.0} us without",
                during.percentile(99.0),
                before.percentile(99.0)
            ));
            errors += before.errors + during.errors;
            without += before.latency;
            with += during.latency;
        }
        let [with, without] = [with, without].map(|all| all.value_at_quantile(0.99) as f64);
        part.set(&format!("{name}_p99_us"), with);
        part.set(&format!("{name}_p99_us_without"), without);
        part.set(&format!("{name}_ratio"), with / without);
        if errors > 0 {
            part.wrong(format!("{name}: {errors} ordinary requests failed"));
        }
        if with > BAR * without {
            part.wrong(format!("{name}: p99 is {:.2} times that without the attack", with / without));
        }
    }
    part.set("peak_rss_kib", stage.memory("VmHWM")?);
    Ok(part.done())
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new(3).map_err(|e| Error::new(e.to_string()))
}

/// http-lb, gunicorn and this thread, from which the clients are begun, on one processor; the thread goes back to where it
/// was in the end.
struct Place {
    before: CpuSet,
}

impl Place {
    /// Takes the last processor that we may use: the first has more of the machine's own work.
    fn assign(stage: &Stage) -> Result<Self> {
        let before = sched_getaffinity(None).map_err(std::io::Error::from)?;
        let usable = (0..CpuSet::MAX_CPU).rfind(|cpu| before.is_set(*cpu));
        let mut ours = CpuSet::new();
        ours.set(usable.ok_or_else(|| Error::new("no processor that we may use"))?);
        let mut pids = vec![stage.router.pid(), stage.application.pid()];
        while let Some(pid) = pids.pop() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let task = task?.path();
                let id = task.file_name().and_then(|name| Pid::from_raw(name.to_str()?.parse().ok()?));
                let id = id.ok_or_else(|| Error::new("a task without a number"))?;
                sched_setaffinity(Some(id), &ours).map_err(std::io::Error::from)?;
                let children = fs::read_to_string(task.join("children")).unwrap_or_default();
                pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        sched_setaffinity(None, &ours).map_err(std::io::Error::from)?;
        Ok(Self { before })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.before); // what follows is slower without it, not wrong
    }
}

fn ordinary(addr: SocketAddr, window: Duration) -> Result<Outcome> {
    let request = "GET /bytes/200 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string();
    let load = Load {
        addr,
        tls: None,
        connections: CLIENTS,
        pipeline: 1,
        talk: Talk::Http { request },
        pace: Pace::Open(RATE),
    };
    Client::connect(&load)?.run(WARM, window)
}

/// It ends by itself, too.
fn attack(addr: SocketAddr, flags: &[&str], path: &str, window: Duration) -> Spec {
    let seconds = (window + RAMP + WARM).as_secs() + 5;
    let again =
        format!("end=$((SECONDS + {seconds})); while [ $SECONDS -lt $end ]; do slowhttptest \"$@\"; done");
    Spec::new("chrt")
        .args(["--idle", "0", "bash", "-c", &again, "attack"])
        .args(flags.iter().copied())
        .args(["-c", &ATTACKERS.to_string(), "-r", &ATTACKERS_A_SECOND.to_string()])
        .args(["-l", &seconds.to_string(), "-u", &format!("http://{addr}{path}"), "-p", "3"])
        .env("TERM", "dumb")
}
