//! Three times as many visitors as the application can serve, some of them slow, one in five with money in hand.
//! Kind: driver.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{HTTP, Run, Script};
use crate::crowd::{Crowd, End, Errand, Manner, Plan, Request, Visit};
use crate::error::Result;
use crate::front::{Application, Front};
use crate::gunicorn::Gunicorn;
use crate::progress::say;
use crate::report::Figures;
use crate::{http, router};

pub(super) const SCRIPT: Script = Script {
    name: "http-overload",
    cast: &HTTP,
    order: &ORDER,
    session_length: None,
    runs: 1,
    play,
    remark: "Four sync workers that need 50 ms for anything; capacity is what four clients get from them directly. Then \
             three times as many come, whether or not the others were served: one in five to pay, one in fifty slow. \
             goodput_share: answers within 8 s, of the capacity. checkout_p99_ms: who was not served counts as 8 s. \
             shed: told to come again, by 503 with Retry-After. resets: cut off without a whole answer. \
             HAProxy knows the number of workers and who pays; NGINX is as Pretix's image has it, and can know neither.",
};

const ORDER: [&str; 12] = [
    "goodput_share",
    "checkout_p99_ms",
    "resets",
    "capacity_per_s",
    "offered_per_s",
    "served_per_s",
    "checkouts_not_served",
    "browsing_served",
    "shed",
    "gave_up",
    "other_errors",
    "slow_served",
];

const WORKERS: usize = 4;
const TIMES: f64 = 3.0;
/// A page that takes longer is closed.
const PATIENCE: Duration = Duration::from_secs(8);
const LENGTH: Duration = Duration::from_secs(120);
const QUICK_LENGTH: Duration = Duration::from_secs(25);
/// Until queues are as long as they get.
const WARM: Duration = Duration::from_secs(10);
const CAPACITY: Duration = Duration::from_secs(12);
const QUICK_CAPACITY: Duration = Duration::from_secs(5);

/// The errands, by their places.
const BROWSE: usize = 0;
const CHECKOUT: usize = 1;
const SLOW: [usize; 2] = [2, 3];

fn play(run: &Run) -> Result<Figures> {
    let dir = tempfile::tempdir()?;
    let app = Gunicorn::start("orders_app", WORKERS, dir.path(), &[])?;
    let (measure, length) = if run.quick { (QUICK_CAPACITY, QUICK_LENGTH) } else { (CAPACITY, LENGTH) };
    let capacity = capacity(app.addr(), measure);
    say(format_args!(
        "{capacity:.1} per second are all that {WORKERS} workers serve; {:.1} come",
        capacity * TIMES
    ));
    let front = front(app.addr(), dir.path()).start(run.subject, &run.router)?;
    let crowd = Crowd::start(plan(front.addr(), capacity * TIMES))?;
    std::thread::sleep(length);
    let until = crowd.elapsed();
    let visits = crowd.finish()?;
    drop(front);
    app.stop()?;
    Ok(figures(&visits, capacity, until))
}

fn front(app: SocketAddr, dir: &Path) -> Front {
    let dir = Some(dir.join(router::HTTP));
    Front { slots: Some(WORKERS), application: Application::Orders, dir, ..Front::before(vec![app]) }
}

/// What as many clients as there are workers get, each asking again when it was answered.
fn capacity(app: SocketAddr, time: Duration) -> f64 {
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let ok = http::get(app, "/").is_ok_and(|(status, _)| status == 200);
                    served.fetch_add(u64::from(ok), Relaxed);
                }
            });
        }
        std::thread::sleep(time / 10); // a worker's first request is its slowest
        let before = served.load(Relaxed);
        std::thread::sleep(time);
        let during = served.load(Relaxed) - before;
        stop.store(true, Relaxed);
        during as f64 / time.as_secs_f64()
    })
}

fn plan(addr: SocketAddr, per_second: f64) -> Plan {
    let errand = |name, share, manner, request: fn(SocketAddr) -> Request| Errand {
        name,
        share,
        request: Arc::new(move |_| request(addr)),
        manner,
    };
    let (pause, pieces, piece) = (Duration::from_millis(500), 8, 64 * 1024);
    let errands = vec![
        errand("browse", 0.78, Manner::Usual, |addr| Request::get(addr, "/browse", "")),
        errand("checkout", 0.20, Manner::Usual, |addr| form(addr, "/checkout", 300)),
        errand("slow upload", 0.01, Manner::SlowUpload { pieces, pause }, |addr| form(addr, "/browse", 8192)),
        errand("slow read", 0.01, Manner::SlowRead { piece, pause }, |addr| Request::get(addr, "/big", "")),
    ];
    Plan { addr, per_second, patience: PATIENCE, errands }
}

fn form(addr: SocketAddr, path: &str, size: usize) -> Request {
    Request::post(addr, path, "", "application/x-www-form-urlencoded", "x".repeat(size))
}

/// What came in the middle of the run, and what was answered in it.
fn figures(visits: &[Visit], capacity: f64, until: Duration) -> Figures {
    let middle = |moment: Duration| (WARM..until).contains(&moment);
    let seconds = (until - WARM).as_secs_f64();
    let came: Vec<&Visit> = visits.iter().filter(|visit| middle(visit.came)).collect();
    let served =
        visits.iter().filter(|visit| visit.served() && middle(visit.gone())).count() as f64 / seconds;
    let count = |wanted: &dyn Fn(&Visit) -> bool| came.iter().filter(|visit| wanted(visit)).count() as f64;
    let shed = |visit: &Visit| matches!(visit.end, End::Answered { status: 503, retry_after: true });
    let wrong = |visit: &Visit| matches!(visit.end, End::Answered { .. }) && !visit.served() && !shed(visit);
    let checkout = |visit: &Visit| visit.errand == CHECKOUT;
    let figures = [
        ("goodput_share", served / capacity),
        ("checkout_p99_ms", p99(came.iter().filter(|visit| checkout(visit)).map(|visit| waited(visit)))),
        ("resets", count(&|visit| visit.end == End::Cut)),
        ("capacity_per_s", capacity),
        ("offered_per_s", came.len() as f64 / seconds),
        ("served_per_s", served),
        ("checkouts_not_served", count(&|visit| checkout(visit) && !visit.served())),
        ("browsing_served", count(&|visit| visit.errand == BROWSE && visit.served())),
        ("shed", count(&shed)),
        ("gave_up", count(&|visit| visit.end == End::GaveUp)),
        ("other_errors", count(&wrong)),
        ("slow_served", count(&|visit| SLOW.contains(&visit.errand) && visit.served())),
    ];
    figures.into_iter().map(|(name, value)| (name.into(), (value * 1000.0).round() / 1000.0)).collect()
}

/// Who is not served has waited in vain.
fn waited(visit: &Visit) -> Duration {
    if visit.served() { visit.took } else { PATIENCE }
}

fn p99(times: impl Iterator<Item = Duration>) -> f64 {
    let mut sorted: Vec<Duration> = times.collect();
    sorted.sort_unstable();
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(errand: usize, came: u64, took: u64, end: End) -> Visit {
        let (came, took) = (Duration::from_millis(came), Duration::from_millis(took));
        Visit { errand, id: 0, came, took, end }
    }

    const OK: End = End::Answered { status: 200, retry_after: false };
    const SHED: End = End::Answered { status: 503, retry_after: true };

    #[test]
    fn who_was_not_served_waited_in_vain() {
        let visits = [
            visit(CHECKOUT, 11_000, 100, OK),
            visit(CHECKOUT, 12_000, 1, SHED),
            visit(BROWSE, 12_000, 20, End::Cut),
            visit(BROWSE, 1_000, 20, End::Cut),
        ];
        let figures = figures(&visits, 2.0, Duration::from_secs(20));
        let expected = [("checkout_p99_ms", 8000.0), ("resets", 1.0), ("shed", 1.0), ("goodput_share", 0.05)];
        for (name, value) in expected {
            assert_eq!(figures[name], value, "{name}");
        }
    }

    #[test]
    fn the_99th_percentile_of_few_is_the_slowest() {
        assert_eq!(p99([5, 1, 3].into_iter().map(Duration::from_millis)), 5.0);
        assert_eq!(p99((1..=100).map(Duration::from_millis)), 99.0);
        assert_eq!(p99(std::iter::empty()), 0.0);
    }
}
