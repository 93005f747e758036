//! The stage of the drills that hurt Pretix's replicas: the whole shop, visitors of all kinds, and what became of them.
//! Kind: driver.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Run;
use crate::crowd::{Crowd, End, Errand, Manner, Plan, Request, Visit};
use crate::error::{Error, Result};
use crate::front;
use crate::pretix::{SHOP, Seed};
use crate::progress::say;
use crate::report::Figures;
use crate::shop::Shop;

/// The figures that these drills report, in the order in which they are read.
pub(super) const ORDER: [&str; 8] = [
    "failed_requests",
    "unknown_posts",
    "unknown_posts_begun",
    "posts_begun_twice",
    "slowest_ms",
    "p99_ms",
    "requests",
    "seconds",
];

/// One replica on two cores, where another one starts meanwhile, has no more to give.
const PER_SECOND: f64 = 2.5;
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first page of a worker takes seconds.
const WARM: u64 = 12;

/// What precedes the number of a visitor who counts.
const MARK: &str = "visit";

/// The visitors who want a file.
const STATIC: &str = "static";

/// Visitors, as they are told apart afterwards.
const ERRANDS: [(&str, f64, Again); 5] = [
    ("shop", 0.4, Again::Always),
    (STATIC, 0.2, Again::Always),
    ("api", 0.1, Again::Always),
    ("order with a key", 0.15, Again::Always),
    ("order", 0.15, Again::Unsent),
];

/// When a request may be sent to another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// It is idempotent, or Pretix makes it so by its `X-Idempotency-Key`.
    Always,
    /// Only if it was never sent.
    Unsent,
}

/// A shop under load.
pub(super) struct Stage {
    pub(super) shop: Shop,
    crowd: Option<Crowd>,
    begun: Instant,
    _dir: TempDir,
}

impl Stage {
    /// The shop and its visitors, warmed up.
    pub(super) fn set(run: &Run) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stack-shop-").tempdir()?;
        let shop = Shop::open(run.subject, &run.router, dir.path())?;
        let (addr, seed) = (shop.front.addr(), shop.pretix.seed());
        let plan = |mark| plan(addr, seed, mark, front::serves_files(run.subject));
        warm_up(plan("warm-up"))?;
        let crowd = Some(Crowd::start(plan(MARK))?);
        Ok(Self { shop, crowd, begun: Instant::now(), _dir: dir })
    }

    /// Lets the visitors come and go.
    pub(super) fn go_on(&self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }

    /// Sends everybody home, closes, and counts.
    pub(super) fn figures(mut self) -> Result<Figures> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let visits = self.crowd.take().map(Crowd::finish).transpose()?.unwrap_or_default();
        let begun = self.shop.pretix.begun()?;
        self.shop.close()?;
        tell(&visits);
        witnessed(&visits, &begun)?;
        let mut figures = figures(&visits, &begun);
        figures.insert("seconds".into(), seconds.round());
        Ok(figures)
    }
}

/// Every worker has shown a page before anything counts.
fn warm_up(plan: Plan) -> Result<()> {
    let crowd = Crowd::start(plan)?;
    while crowd.served() < WARM && crowd.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    crowd.finish().map(drop)
}

/// Nobody asks a front for files that it was not made to serve: that would be no failure of its own.
fn plan(addr: SocketAddr, seed: &Seed, mark: &'static str, serves_files: bool) -> Plan {
    let errands = ERRANDS.iter().map(|&(name, share, _)| {
        let seed = seed.clone();
        let request = Arc::new(move |id| request(addr, name, &seed, &format!("{mark}-{id}")));
        let share = if name == STATIC && !serves_files { 0.0 } else { share };
        Errand { name, share, request, manner: Manner::Usual }
    });
    let errands: Vec<Errand> = errands.collect();
    // The application has as much to do behind each front.
    let per_second = PER_SECOND * errands.iter().map(|errand| errand.share).sum::<f64>();
    Plan { addr, per_second, patience: PATIENCE, errands }
}

fn request(addr: SocketAddr, errand: &str, seed: &Seed, id: &str) -> Request {
    let mark = format!("X-Drill-Id: {id}\r\n");
    let login = format!("{mark}Authorization: Token {}\r\n", seed.token);
    let api = |path: &str| format!("/api/v1/organizers/demo/events/conf/{path}/");
    let order = |fields: &str| Request::post(addr, &api("orders"), fields, "application/json", order(seed));
    match errand {
        "shop" => Request::get(addr, SHOP, &mark),
        STATIC => Request::get(addr, "/static/pretixbase/img/favicon.ico", &mark),
        "api" => Request::get(addr, &api("items"), &login),
        "order" => order(&login),
        _ => order(&format!("{login}X-Idempotency-Key: {id}\r\n")),
    }
}

/// <https://docs.pretix.eu/dev/api/resources/orders.html>
fn order(seed: &Seed) -> String {
    serde_json::json!({
        "email": "visitor@example.org",
        "locale": "en",
        "sales_channel": "web",
        "payment_provider": "banktransfer",
        "send_email": false,
        "positions": [
            {"positionid": 1, "item": seed.paid, "variation": null, "price": "23.00", "answers": []},
        ],
    })
    .to_string()
}

/// 503 is what a front says that has sent nothing.
fn unsent(visit: &Visit) -> bool {
    matches!(visit.end, End::Answered { status: 503, .. })
}

fn figures(visits: &[Visit], begun: &[String]) -> Figures {
    let mut times: HashMap<&str, u32> = HashMap::new();
    begun.iter().for_each(|id| *times.entry(id).or_default() += 1);
    let again = |visit: &&Visit| ERRANDS[visit.errand].2;
    let failed = |visit: &&Visit| !visit.served() && (again(visit) == Again::Always || unsent(visit));
    let unknown = |visit: &&Visit| !visit.served() && again(visit) == Again::Unsent && !unsent(visit);
    let seen = |visit: &&Visit, least: u32| {
        times.get(format!("{MARK}-{}", visit.id).as_str()).is_some_and(|n| *n >= least)
    };
    let count = |wanted: &dyn Fn(&&Visit) -> bool| visits.iter().filter(wanted).count() as f64;
    let mut waits: Vec<f64> = visits.iter().map(|visit| (visit.took.as_secs_f64() * 1e3).round()).collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied();
    Figures::from([
        ("failed_requests".into(), count(&failed)),
        ("unknown_posts".into(), count(&unknown)),
        ("unknown_posts_begun".into(), count(&|visit| unknown(visit) && seen(visit, 1))),
        ("posts_begun_twice".into(), count(&|visit| again(visit) == Again::Unsent && seen(visit, 2))),
        ("slowest_ms".into(), waits.last().copied().unwrap_or_default()),
        ("p99_ms".into(), at(0.99).unwrap_or_default()),
        ("requests".into(), visits.len() as f64),
    ])
}

/// Every order that was placed has been begun: or the witness has not seen what it is to tell of, and a POST that was
/// begun twice would look like none.
fn witnessed(visits: &[Visit], begun: &[String]) -> Result<()> {
    let placed = |visit: &&Visit| ERRANDS[visit.errand].0.starts_with("order") && visit.served();
    match visits.iter().filter(placed).find(|visit| !begun.contains(&format!("{MARK}-{}", visit.id))) {
        Some(missed) => Err(Error::new(format!("no worker noted that it began order {}", missed.id))),
        None => Ok(()),
    }
}

/// Says who was not served, and when.
fn tell(visits: &[Visit]) {
    for visit in visits.iter().filter(|visit| !visit.served()).take(12) {
        let (name, came) = (ERRANDS[visit.errand].0, visit.came.as_secs_f64());
        let took = visit.took.as_secs_f64();
        say(format_args!(
            "  not served: {name} {}, came at {came:.1} s, {took:.1} s later: {:?}",
            visit.id, visit.end
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYLESS: usize = 4;
    const BAD: End = End::Answered { status: 502, retry_after: false };
    const UNSENT: End = End::Answered { status: 503, retry_after: true };

    #[test]
    fn nobody_asks_for_files_where_none_are_served() {
        let seed = Seed { token: "token".into(), free: 1, paid: 2 };
        let share = |serves_files| {
            let plan = plan(SocketAddr::from(([127, 0, 0, 1], 1)), &seed, MARK, serves_files);
            let of_files = plan.errands.iter().filter(|errand| errand.name == STATIC);
            let files = of_files.map(|errand| errand.share).sum::<f64>();
            (files, (plan.per_second * 100.0).round())
        };
        assert_eq!(share(false), (0.0, 200.0));
        assert_eq!(share(true), (0.2, 250.0));
    }

    fn visit(id: u64, errand: usize, end: End) -> Visit {
        Visit { errand, id, came: Duration::ZERO, took: Duration::from_millis(id), end }
    }

    #[test]
    fn an_order_that_nobody_began_means_a_blind_witness() {
        let placed = [visit(6, KEYLESS, End::Answered { status: 201, retry_after: false })];
        assert!(witnessed(&placed, &["visit-6".into()]).is_ok());
        assert!(witnessed(&placed, &["visit-5".into()]).is_err());
    }

    #[test]
    fn a_post_that_may_have_run_is_counted_apart() {
        let visits = [
            visit(1, 0, BAD),
            visit(2, 3, End::Cut),
            visit(3, KEYLESS, BAD),
            visit(4, KEYLESS, End::GaveUp),
            visit(5, KEYLESS, UNSENT),
            visit(6, KEYLESS, End::Answered { status: 201, retry_after: false }),
        ];
        let begun = ["visit-3", "visit-6", "visit-6", "warm-up-4"].map(String::from);
        let figures = figures(&visits, &begun);
        let expected = [
            ("failed_requests", 3.0),
            ("unknown_posts", 2.0),
            ("unknown_posts_begun", 1.0),
            ("posts_begun_twice", 1.0),
            ("slowest_ms", 6.0),
        ];
        for (name, value) in expected {
            assert_eq!(figures[name], value, "{name}");
        }
    }
}
