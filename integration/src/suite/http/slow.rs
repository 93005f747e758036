//! slowhttptest in each of its modes, while 16 ordinary clients are served: their p99 beside the one without an attack,
//! taken by turns. Kind: driver.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::report::Part;
use super::stage::{Stage, Wishes};
use crate::debian;
use crate::error::Result;
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
    let (rounds, window) = if quick { (1, Duration::from_secs(5)) } else { (5, Duration::from_secs(10)) };
    let addr = stage.router.addr();
    for (name, flags, path) in MODES {
        let mut ratios = Vec::new();
        for round in 1..=rounds {
            let before = ordinary(addr, window)?;
            let attack = Process::spawn(&attack(addr, flags, path, window))?;
            std::thread::sleep(RAMP);
            let during = ordinary(addr, window)?;
            drop(attack);
            ratios.push(during.percentile(99.0) / before.percentile(99.0));
            say(format_args!(
                "slow: {name} {round}/{rounds}: p99 {:.0} us, {:.0} us without",
                during.percentile(99.0),
                before.percentile(99.0)
            ));
            let errors = before.errors + during.errors;
            if errors > 0 {
                part.wrong(format!("{name}: {errors} ordinary requests failed"));
            }
            part.set(&format!("{name}_p99_us"), during.percentile(99.0));
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        part.set(&format!("{name}_ratio"), ratio);
        part.note(format!("{name}: ratios {ratios:.2?}"));
        if ratio > BAR {
            part.wrong(format!("{name}: p99 is {ratio:.2} times that without the attack"));
        }
    }
    part.set("peak_rss_kib", stage.memory("VmHWM")?);
    Ok(part.done())
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

/// It ends by itself, too. It polls its connections without a pause: on what nobody else wants of this machine, as real
/// attackers do on machines of their own.
fn attack(addr: SocketAddr, flags: &[&str], path: &str, window: Duration) -> Spec {
    let seconds = (window + RAMP + WARM).as_secs() + 5;
    Spec::new("chrt")
        .args(["--idle", "0", "slowhttptest"])
        .args(flags.iter().copied())
        .args([
            "-c",
            &ATTACKERS.to_string(),
            "-r",
            &ATTACKERS_A_SECOND.to_string(),
            "-l",
            &seconds.to_string(),
        ])
        .args(["-u", &format!("http://{addr}{path}"), "-p", "3"])
        .env("TERM", "dumb")
}
