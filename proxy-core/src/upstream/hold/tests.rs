//! Who waits, how long, and who goes first. Kind: driver.

use futures_util::future::join_all;
use tokio::time::sleep;

use super::*;
use crate::upstream::{Cluster, Endpoint, Rules};

const MS: Duration = Duration::from_millis(1);

fn hold(limits: HoldLimits) -> Arc<Hold> {
    Arc::new(Hold::new(limits, HoldMetrics::new(&Registry::new("test", "0"))))
}

fn topology(primary: bool, revision: u64) -> Arc<Topology> {
    let now = Instant::now().into_std();
    let endpoint = || Endpoint::new("127.0.0.1:1".parse().unwrap(), 1, Arc::new(Rules::default()), now);
    Arc::new(Topology {
        epoch: 1,
        lineage: "a".into(),
        primary: primary.then(|| Arc::new(endpoint())),
        replicas: Arc::new(Cluster::new("replicas", [])),
        fenced: false,
        since: now,
        revision,
    })
}

/// An outage, and the hand that ends it.
fn outage() -> watch::Sender<Arc<Topology>> {
    watch::Sender::new(topology(false, 0))
}

/// One client's stay: how long, and whether it got a primary.
async fn stay(
    hold: &Arc<Hold>,
    topology: &watch::Sender<Arc<Topology>>,
    timeout: Duration,
) -> (Duration, bool) {
    let start = Instant::now();
    let held = hold.enter(0).unwrap();
    let outcome = held.wait(&mut topology.subscribe(), start + timeout).await;
    (start.elapsed(), outcome.is_ok())
}

async fn after<T>(delay: Duration, act: impl FnOnce() -> T) -> T {
    sleep(delay).await;
    act()
}

#[tokio::test(start_paused = true)]
async fn a_new_primary_releases() {
    let (hold, topology_sender) = (hold(HoldLimits::default()), outage());
    let waiting = stay(&hold, &topology_sender, 1000 * MS);
    let (outcome, ()) =
        tokio::join!(waiting, after(300 * MS, || drop(topology_sender.send_replace(topology(true, 1)))));
    assert_eq!(outcome, (300 * MS, true));
    assert_eq!(hold.snapshot(), HoldStatus { clients: 0, bytes: 0 });
}

#[tokio::test(start_paused = true)]
async fn who_finds_a_primary_goes_at_once() {
    let hold = hold(HoldLimits { release_at_once: 0, ..HoldLimits::default() });
    let topology = watch::Sender::new(topology(true, 1));
    assert_eq!(stay(&hold, &topology, 1000 * MS).await, (Duration::ZERO, true));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait() {
    let (hold, topology) = (hold(HoldLimits::default()), outage());
    assert_eq!(stay(&hold, &topology, 250 * MS).await, (250 * MS, false));
    assert_eq!(hold.metrics.refused.with_label_values(&["timeout"]).get(), 1);
    assert_eq!(hold.metrics.current.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_the_configured_time_from_now() {
    let hold = hold(HoldLimits { timeout: 250 * MS, ..HoldLimits::default() });
    assert_eq!(hold.deadline(), Instant::now() + 250 * MS);
    hold.reconfigure(HoldLimits { timeout: 100 * MS, ..HoldLimits::default() });
    assert_eq!(hold.deadline(), Instant::now() + 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_publisher_ends_the_wait() {
    let (hold, topology) = (hold(HoldLimits::default()), outage());
    let mut ear = topology.subscribe();
    drop(topology);
    let held = hold.enter(0).unwrap();
    assert_eq!(held.wait(&mut ear, hold.deadline()).await.err(), Some(TimedOut));
}

#[tokio::test(start_paused = true)]
async fn news_without_a_primary_release_nobody() {
    let (hold, sender) = (hold(HoldLimits::default()), outage());
    let (outcome, ()) = tokio::join!(
        stay(&hold, &sender, 200 * MS),
        after(100 * MS, || drop(sender.send_replace(topology(false, 1))))
    );
    assert_eq!(outcome, (200 * MS, false));
}

#[test]
fn clients_are_counted_and_limited() {
    let hold = hold(HoldLimits { max_clients: 2, ..HoldLimits::default() });
    let first = hold.enter(10).unwrap();
    let _second = hold.enter(20).unwrap();
    assert_eq!(hold.snapshot(), HoldStatus { clients: 2, bytes: 30 });
    assert_eq!(hold.enter(0).unwrap_err(), Refused::Clients);
    drop(first);
    assert!(hold.enter(0).is_ok(), "a place that was given back");
    assert_eq!(hold.metrics.refused.with_label_values(&["clients"]).get(), 1);
    assert_eq!((hold.metrics.total.get(), hold.metrics.current.get()), (3, 1));
}

#[test]
fn bytes_are_counted_and_limited() {
    let hold = hold(HoldLimits { max_bytes: 100, ..HoldLimits::default() });
    let _first = hold.enter(60).unwrap();
    assert_eq!(hold.enter(41).unwrap_err(), Refused::Bytes);
    assert_eq!(hold.enter(usize::MAX).unwrap_err(), Refused::Bytes);
    assert_eq!(hold.snapshot(), HoldStatus { clients: 1, bytes: 60 }, "who is refused takes no place");
    assert!(hold.enter(40).is_ok());
}

/// Releases `crowd` clients at one moment and says how long after it each of them left.
async fn release(crowd: usize, limits: HoldLimits) -> Vec<Duration> {
    let (hold, sender) = (hold(limits), outage());
    let crowd = join_all((0..crowd).map(|_| stay(&hold, &sender, 10_000 * MS)));
    let (stays, ()) = tokio::join!(crowd, after(100 * MS, || drop(sender.send_replace(topology(true, 1)))));
    assert!(stays.iter().all(|stay| stay.1));
    stays.iter().map(|stay| stay.0 - 100 * MS).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_few_leave_at_once_and_the_others_within_the_spread() {
    let limits = HoldLimits { release_at_once: 5, release_spread: 200 * MS, ..HoldLimits::default() };
    let mut waits = release(400, limits).await;
    waits.sort();
    assert_eq!(waits[..5], [Duration::ZERO; 5]);
    assert!(waits[399] <= 201 * MS, "{:?}", waits[399]);
    assert!((60 * MS..140 * MS).contains(&waits[200]), "half in half of it: {:?}", waits[200]);
}

#[tokio::test(start_paused = true)]
async fn no_spread_is_all_at_once() {
    let limits = HoldLimits { release_at_once: 0, release_spread: Duration::ZERO, ..HoldLimits::default() };
    assert_eq!(release(50, limits).await, [Duration::ZERO; 50]);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_goes_before_its_client_does_is_waited_for_again() {
    let limits = HoldLimits { release_at_once: 0, release_spread: 100_000 * MS, ..HoldLimits::default() };
    let (hold, sender) = (hold(limits), outage());
    let comes_and_goes = async {
        after(10 * MS, || sender.send_replace(topology(true, 1))).await;
        after(MS, || sender.send_replace(topology(false, 2))).await;
    };
    let (outcome, ()) = tokio::join!(stay(&hold, &sender, 1000 * MS), comes_and_goes);
    assert_eq!(outcome, (1000 * MS, false));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_time_ends_while_it_leaves_still_leaves() {
    let limits = HoldLimits { release_at_once: 0, release_spread: 100_000 * MS, ..HoldLimits::default() };
    let (hold, sender) = (hold(limits), outage());
    let (outcome, _) = tokio::join!(
        stay(&hold, &sender, 50 * MS),
        after(10 * MS, || sender.send_replace(topology(true, 1)))
    );
    assert!(outcome.1 && outcome.0 <= 51 * MS, "{outcome:?}");
}

#[test]
fn each_release_counts_its_own() {
    let hold = hold(HoldLimits::default());
    let turns = [1, 1, 1, 2, 2, 1 << 32, 1 << 32].map(|revision| hold.turn_to_leave(revision));
    assert_eq!(turns, [1, 2, 3, 1, 2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_stricter_client_waits_for_what_it_needs() {
    let (hold, sender) = (hold(HoldLimits::default()), watch::Sender::new(topology(true, 1)));
    let held = hold.enter(0).unwrap();
    let mut ear = sender.subscribe();
    let newer = held.wait_until(&mut ear, hold.deadline(), |seen| seen.revision > 1);
    let (outcome, _) = tokio::join!(newer, after(5 * MS, || sender.send_replace(topology(true, 2))));
    assert_eq!(outcome.unwrap().revision, 2);
}
