//! The configuration is read anew again and again under load. Kind: driver.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cast, HTTP, Run, Script};
use crate::crowd::{Crowd, Errand, Manner, Plan, Request};
use crate::error::{Context, Error, Result};
use crate::front::{self, Application, Front};
use crate::http;
use crate::open_loop::{Client, Load, Outcome, Pace, Talk};
use crate::peers::Subject;
use crate::report::Figures;
use crate::router;
use crate::upstream::Upstream;
use crate::wait::eventually;

pub(super) const SCRIPT: Script = Script {
    name: "http-reload",
    cast: &Cast { subjects: &[router::HTTP, front::NGINX], ..HTTP },
    order: &["failed_requests", "kept_connections_closed", "reloads", "requests"],
    session_length: None,
    runs: 3,
    play,
    remark: "SIGHUP with a changed configuration, several times a second, under 200 visitors and 1000 requests on 32 kept \
             connections per second. A connection that is closed while nobody waits on it is no failed request, one that answers after five \
             seconds or not at all is.",
};

const LENGTH: Duration = Duration::from_secs(20);
const QUICK_LENGTH: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(300);
const VISITORS: f64 = 200.0;
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
const KEPT: usize = 32;
const KEPT_PER_S: f64 = 1000.0;

fn play(run: &Run) -> Result<Figures> {
    let dir = tempfile::tempdir()?;
    let length = if run.quick { QUICK_LENGTH } else { LENGTH };
    let app = Upstream::start(false)?;
    let home = dir.path().join("front");
    let application = Application::Orders;
    let front = Front { application, dir: Some(home.clone()), ..Front::before(vec![app.addr()]) };
    let mut front = front.start(run.subject, &run.router)?;
    let mut kept = Client::connect(&load(front.addr()))?;
    let crowd = Crowd::start(plan(front.addr()))?;
    let (outcome, reloads) = std::thread::scope(|scope| {
        let kept = scope.spawn(|| kept.run(Duration::ZERO, length));
        let reloads = reload(front.as_mut(), &home, length);
        (kept.join().unwrap_or_else(|_| Err(Error::new("the load client panicked"))), reloads)
    });
    let (outcome, reloads, visits) = (outcome?, reloads?, crowd.finish()?);
    if let Some(admin) = front.admin() {
        took_effect(admin, reloads)?;
    }
    let failed = visits.iter().filter(|visit| !visit.served()).count() as u64;
    let Outcome { errors, closed_idle, answered, .. } = outcome;
    let failed = failed + (errors - closed_idle) + outcome.slower_than(PATIENCE);
    Ok(Figures::from([
        ("failed_requests".into(), failed as f64),
        ("kept_connections_closed".into(), errors as f64),
        ("reloads".into(), f64::from(reloads)),
        ("requests".into(), (visits.len() as u64 + answered) as f64),
    ]))
}

/// Each reload was one: a router that ignores them, or refuses the file, fails nobody either.
fn took_effect(admin: SocketAddr, reloads: u32) -> Result<()> {
    eventually(PATIENCE, "the reloads", || {
        let (_, text) = http::get(admin, "/metrics").map_err(|e| e.to_string())?;
        let count =
            |result| http::metric(&text, &format!("http_lb_config_reloads_total{{result=\"{result}\"}}"));
        let (ok, refused) = (count("ok"), count("refused"));
        let all = ok >= f64::from(reloads) && refused == 0.0;
        if all { Ok(()) } else { Err(format!("{ok} of {reloads} were made, {refused} refused")) }
    })
}

/// Reloads until the time is over; says how often.
fn reload(front: &mut dyn Subject, home: &Path, length: Duration) -> Result<u32> {
    let (begun, mut reloads) = (Instant::now(), 0);
    let ours = home.join(front.name()).with_extension("toml");
    while begun.elapsed() < length {
        std::thread::sleep(PAUSE);
        if front.admin().is_some() {
            change(&ours, reloads)?;
        }
        front.reload()?;
        reloads += 1;
    }
    Ok(reloads)
}

/// A reload of what is the same might be none: the patience of the queue changes to and fro.
fn change(file: &Path, number: u32) -> Result<()> {
    let text = std::fs::read_to_string(file).context(file.display())?;
    let (from, to) = if number.is_multiple_of(2) { ("\"5s\"", "\"6s\"") } else { ("\"6s\"", "\"5s\"") };
    if !text.contains(from) {
        return Err(Error::new(format!("{} has no {from} to change", file.display())));
    }
    std::fs::write(file, text.replace(from, to)).context(file.display())
}

fn load(addr: SocketAddr) -> Load {
    let request = format!("GET /kept HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let (talk, pace) = (Talk::Http { request }, Pace::Open(KEPT_PER_S));
    Load { addr, tls: None, connections: KEPT, pipeline: 1, talk, pace }
}

fn plan(addr: SocketAddr) -> Plan {
    let request = Arc::new(move |_| Request::get(addr, "/new", ""));
    let errands = vec![Errand { name: "visit", share: 1.0, request, manner: Manner::Usual }];
    Plan { addr, per_second: VISITORS, patience: PATIENCE, errands }
}
