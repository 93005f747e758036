//! What traffic, checks and an operator make of an endpoint. Kind: driver.

use super::*;

const SLOW_START: Duration = Duration::from_secs(10);
const RULES: Rules =
    Rules { thresholds: Thresholds { rise: 1, fall: 2 }, failures: None, slow_start: SLOW_START };

fn checked(result: Result<(), &str>, now: Instant) -> Arc<Endpoint> {
    let addr = "127.0.0.1:5432".parse().unwrap();
    let endpoint = Endpoint::new(addr, 2, Arc::new(RULES), now);
    endpoint.observe(result, now);
    Arc::new(endpoint)
}

#[test]
fn eligible_is_up_and_ready() {
    let now = Instant::now();
    let check = |result, admin, eligible| {
        let endpoint = checked(result, now);
        endpoint.set_admin(admin);
        assert_eq!((endpoint.eligible(), endpoint.admin()), (eligible, admin), "{result:?}");
    };
    check(Ok(()), Admin::Ready, true);
    check(Ok(()), Admin::Drain, false);
    check(Ok(()), Admin::Maint, false);
    check(Err("refused"), Admin::Ready, false);
}

#[test]
fn nobody_is_eligible_unchecked() {
    let endpoint =
        Endpoint::new("127.0.0.1:1".parse().unwrap(), 1, Arc::new(Rules::default()), Instant::now());
    assert_eq!((endpoint.health(), endpoint.eligible()), (Health::Unknown, false));
}

#[test]
fn how_many_failures_lower_it_may_differ_from_checks() {
    let check = |failures, times, expected| {
        let now = Instant::now();
        let endpoint = checked(Ok(()), now);
        endpoint.reconfigure(1, Arc::new(Rules { failures, ..RULES }));
        (0..times).for_each(|_| endpoint.enter().settle(Outcome::Failed, now));
        assert_eq!(endpoint.health(), expected, "{failures:?}, {times} times");
    };
    check(Some(3), 2, Health::Up);
    check(Some(3), 3, Health::Down);
    check(Some(0), 100, Health::Up);
    check(None, 2, Health::Down);
}

/// What traffic says, as outcomes in a row, and where that leaves an endpoint that was up.
fn check(outcomes: &[Outcome], expected: Health) {
    let now = Instant::now();
    let endpoint = checked(Ok(()), now);
    for &outcome in outcomes {
        endpoint.enter().settle(outcome, now);
    }
    assert_eq!(endpoint.health(), expected, "{outcomes:?}");
    assert_eq!(endpoint.in_flight(), 0);
}

#[test]
fn traffic_lowers_by_failures_in_a_row_or_at_once() {
    use Outcome::*;
    check(&[Served, Failed, Served, Failed], Health::Up);
    check(&[Failed, Failed], Health::Down);
    check(&[Unreachable], Health::Down);
}

#[test]
fn traffic_never_raises() {
    use Outcome::*;
    check(&[Unreachable, Served, Served, Served], Health::Down);
}

#[test]
fn a_dropped_piece_of_work_says_nothing() {
    let endpoint = checked(Ok(()), Instant::now());
    let (one, other) = (endpoint.enter(), endpoint.enter());
    assert_eq!(endpoint.in_flight(), 2);
    drop(one);
    drop(other);
    assert_eq!((endpoint.in_flight(), endpoint.health()), (0, Health::Up));
}

#[test]
fn failures_before_an_endpoint_came_up_are_forgotten() {
    let now = Instant::now();
    let endpoint = checked(Ok(()), now);
    endpoint.enter().settle(Outcome::Failed, now);
    endpoint.lower("gone", now);
    endpoint.observe(Ok::<(), &str>(()), now);
    endpoint.enter().settle(Outcome::Failed, now);
    assert_eq!(endpoint.health(), Health::Up);
}

#[test]
fn weight_grows_from_the_moment_it_came_up() {
    let born = Instant::now();
    let endpoint = checked(Err("refused"), born);
    let up = born + Duration::from_secs(60);
    endpoint.observe(Ok::<(), &str>(()), up);
    assert_eq!(endpoint.effective_weight(up + SLOW_START / 2), 256);
    assert_eq!(endpoint.effective_weight(up + SLOW_START), 512);
}

#[test]
fn an_endpoint_that_only_faltered_is_not_fresh() {
    let born = Instant::now();
    let endpoint = checked(Ok(()), born);
    let later = born + SLOW_START;
    endpoint.observe(Err("slow"), later);
    endpoint.observe(Ok::<(), &str>(()), later);
    assert_eq!(endpoint.effective_weight(later), 512);
}

#[test]
fn the_status_tells_what_an_operator_asks() {
    let now = Instant::now();
    let endpoint = checked(Ok(()), now);
    let _work = endpoint.enter();
    endpoint.lower("connection refused", now);
    let status = serde_json::to_value(endpoint.snapshot(now)).unwrap();
    let expected = serde_json::json!({
        "addr": "127.0.0.1:5432", "weight": 2, "health": "down", "admin": "ready", "eligible": false,
        "in_flight": 1, "up_for_ms": null, "last_failure": "connection refused",
    });
    assert_eq!(status, expected);
}

#[tokio::test(start_paused = true)]
async fn suspicions_before_anybody_listens_are_one() {
    let endpoint = checked(Ok(()), Instant::now());
    endpoint.suspect();
    endpoint.suspect();
    endpoint.suspected().await;
    let second = tokio::time::timeout(Duration::from_secs(1), endpoint.suspected()).await;
    assert!(second.is_err());
}
