//! The scheduler with real threads and clocks: those who wait are told, whatever they do meanwhile. Kind: driver.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use futures_util::future::join_all;
use proxy_core::metrics::Registry;
use proxy_core::upstream::{Cluster, Rules, Thresholds};
use tokio::time::{Instant, sleep, timeout};

use super::super::ticket::ClientKey;
use super::*;

const MS: Duration = Duration::from_millis(1);
const NAMES: [&str; 2] = ["first", "second"];

struct Scene {
    registry: Registry,
    cluster: Cluster,
    scheduler: Arc<Scheduler>,
}

impl Scene {
    /// Replicas at ports from 1 on, all up, with so many slots each.
    fn new(slots: &[u32], limits: Limits) -> Self {
        let registry = Registry::new("http-lb", "0");
        let metrics = QueueMetrics::new(&registry, "shop", &NAMES);
        let scheduler = Scheduler::new(Terms { limits, ..Terms::default() }, metrics);
        let cluster = Cluster::new("shop", []);
        let addrs = (1..=slots.len()).map(|port| (format!("127.0.0.1:{port}").parse().unwrap(), 1));
        let rules = Rules { thresholds: Thresholds { rise: 1, fall: 3 }, ..Rules::default() };
        cluster.update(addrs, rules, now());
        let scene = Self { registry, cluster, scheduler };
        scene.endpoints().iter().for_each(|endpoint| _ = endpoint.observe(Ok::<(), &str>(()), now()));
        let member = |(number, (endpoint, slots)): (usize, (&Arc<Endpoint>, &u32))| {
            let (tag, name) = (Tag(number as u64), number as u64);
            Member { endpoint: endpoint.clone(), slots: *slots, tag, name }
        };
        let members: Vec<_> = scene.endpoints().iter().zip(slots).enumerate().map(member).collect();
        scene.scheduler.sync(&members);
        scene
    }

    fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        self.cluster.endpoints()
    }

    #[track_caller]
    fn counted(&self, line: &str) {
        self.scheduler.measure();
        let text = self.registry.exposition();
        assert!(text.lines().any(|other| other == line), "no line {line:?} in:\n{text}");
    }
}

fn ticket(rank: u8, client: u64, patience: Duration) -> Ticket {
    Ticket::new(Class::new(rank).unwrap(), ClientKey::new(client), now() + patience)
}

fn soon(rank: u8) -> Ticket {
    ticket(rank, 1, 10_000 * MS)
}

/// Lets others run until all of them wait.
async fn settle_down() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn run(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(story);
}

#[test]
fn who_waits_is_woken_and_a_slot_goes_back_by_itself() {
    run(async {
        let scene = Scene::new(&[1], Limits::default());
        let first = scene.scheduler.slot(&soon(0)).await.unwrap();
        assert!(scene.scheduler.try_slot(&soon(0), Instant::now()).is_none());
        let other = scene.scheduler.clone();
        let second = async move { other.slot(&soon(1)).await };
        let release = async {
            settle_down().await;
            scene.counted(r#"http_lb_queue_length{class="second",cluster="shop"} 1"#);
            first.settle(Outcome::Served);
        };
        let (second, ()) = tokio::join!(second, release);
        scene.counted(r#"http_lb_slots_used{cluster="shop"} 1"#);
        drop(second.unwrap());
        assert_eq!(scene.endpoints()[0].in_flight(), 0);
        scene.counted(r#"http_lb_slots_used{cluster="shop"} 0"#);
        scene.counted(r#"http_lb_queue_seconds_count{class="second",cluster="shop"} 1"#);
    });
}

#[test]
fn the_deadline_comes_although_no_slot_ever_does() {
    run(async {
        let scene = Scene::new(&[1], Limits::default());
        let _held = scene.scheduler.slot(&soon(0)).await.unwrap();
        let shed = scene.scheduler.slot(&ticket(0, 1, 20 * MS)).await.unwrap_err();
        assert_eq!(shed, Shed::Deadline);
        scene.counted(r#"http_lb_shed_total{class="first",cluster="shop",reason="deadline"} 1"#);
        scene.counted(r#"http_lb_abandoned_total{class="first",cluster="shop"} 0"#);
    });
}

#[test]
fn a_slot_for_somebody_who_has_just_left_goes_on_to_the_next() {
    run(async {
        let scene = Scene::new(&[1], Limits::default());
        let held = scene.scheduler.slot(&soon(0)).await.unwrap();
        let (leaves, stays) = (soon(0), soon(0));
        let mut leaver = Box::pin(scene.scheduler.slot(&leaves));
        let mut stayer = Box::pin(scene.scheduler.slot(&stays));
        assert!(
            futures_util::poll!(&mut leaver).is_pending() && futures_util::poll!(&mut stayer).is_pending()
        );
        drop(held);
        assert!(
            scene.scheduler.try_slot(&soon(0), Instant::now()).is_none(),
            "it is the leaver's, who has not looked yet"
        );
        drop(leaver);
        assert!(futures_util::poll!(&mut stayer).is_ready());
        scene.counted(r#"http_lb_abandoned_total{class="first",cluster="shop"} 1"#);
        scene.counted(r#"http_lb_slots_used{cluster="shop"} 0"#);
    });
}

#[test]
fn a_replica_that_refuses_is_out_before_the_next_is_sent_there() {
    run(async {
        let scene = Scene::new(&[1, 1], Limits::default());
        let (one, two) = (
            scene.scheduler.try_slot(&soon(0), Instant::now()).unwrap(),
            scene.scheduler.try_slot(&soon(0), Instant::now()).unwrap(),
        );
        let (dead, mut again, next) = (one.endpoint().clone(), soon(0), soon(0));
        let mut waiting = Box::pin(scene.scheduler.slot(&next));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        one.redispatch(Outcome::Unreachable, &mut again);
        assert!(!dead.eligible());
        assert!(futures_util::poll!(&mut waiting).is_pending(), "the free slot is a dead one's");
        let mut redispatched = Box::pin(scene.scheduler.slot(&again));
        assert!(futures_util::poll!(&mut redispatched).is_pending());
        two.settle(Outcome::Served);
        assert!(futures_util::poll!(&mut waiting).is_pending(), "who asks again comes first");
        let slot = redispatched.await.unwrap();
        assert!(!Arc::ptr_eq(slot.endpoint(), &dead));
        dead.observe(Ok::<(), &str>(()), now());
        scene.scheduler.refresh();
        assert!(Arc::ptr_eq(waiting.await.unwrap().endpoint(), &dead), "up again");
        scene.counted(r#"http_lb_ejections_total{cluster="shop"} 1"#);
        scene.counted(r#"http_lb_redispatched_total{cluster="shop"} 1"#);
    });
}

#[test]
fn a_replica_that_has_left_finishes_and_comes_back_as_itself() {
    run(async {
        let scene = Scene::new(&[1], Limits::default());
        let held = scene.scheduler.try_slot(&soon(0), Instant::now()).unwrap();
        let endpoint = held.endpoint().clone();
        let member = Member { endpoint, slots: 1, tag: Tag(0), name: 0 };
        scene.scheduler.sync(&[]);
        assert_eq!(scene.scheduler.slot(&soon(0)).await.unwrap_err(), Shed::NoReplica);
        assert!(scene.scheduler.status().replicas[0].leaving);
        scene.scheduler.sync(&[member]);
        assert!(scene.scheduler.try_slot(&soon(0), Instant::now()).is_none(), "its slot is still in use");
        drop(held);
        assert!(scene.scheduler.try_slot(&soon(0), Instant::now()).is_some());
        scene.scheduler.sync(&[]);
        assert!(scene.scheduler.status().replicas.is_empty());
    });
}

/// Workers as the balancer has them: threads with a runtime each, over one scheduler.
#[test]
fn many_threads_never_exceed_a_slot_nor_lose_one() {
    const THREADS: u64 = 4;
    const CLIENTS: u64 = 24;
    const ROUNDS: usize = 60;
    let scene = Scene::new(&[2, 1, 3], Limits { max: 60, reserved: 1, ..Limits::default() });
    let held: HashMap<_, _> =
        (1..).zip([2, 1, 3]).map(|(port, slots)| (port, (AtomicU32::new(0), slots))).collect();
    let (served, shed, left) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let client = async |client: u64| {
        for round in 0..ROUNDS {
            let rank = (client % 2) as u8;
            let ticket = ticket(rank, client, fastrand::u32(1..60) * MS);
            let patience = if fastrand::u8(..4) == 0 { fastrand::u32(..3) * MS } else { 10_000 * MS };
            match timeout(patience, scene.scheduler.slot(&ticket)).await {
                Ok(Ok(slot)) => {
                    let port = slot.endpoint().addr().socket_addr().unwrap().port();
                    let (count, slots) = &held[&port];
                    assert!(count.fetch_add(1, SeqCst) < *slots, "more than there are");
                    if fastrand::bool() {
                        sleep(fastrand::u32(..2) * MS).await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                    count.fetch_sub(1, SeqCst);
                    served.fetch_add(1, SeqCst);
                    if round % 2 == 0 { slot.settle(Outcome::Served) } else { drop(slot) }
                }
                Ok(Err(reason)) => {
                    assert!(matches!(reason, Shed::Full | Shed::Deadline), "{reason:?}");
                    shed.fetch_add(1, SeqCst);
                }
                Err(_) => _ = left.fetch_add(1, SeqCst),
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = &client;
            scope.spawn(move || {
                run(async move { _ = join_all((0..CLIENTS).map(|n| client(thread * CLIENTS + n))).await })
            });
        }
    });
    let (served, shed, left) = (served.into_inner(), shed.into_inner(), left.into_inner());
    assert_eq!(served + shed + left, THREADS * CLIENTS * ROUNDS as u64);
    assert!(served > 0, "{served} served, {shed} shed, {left} left");
    let status = scene.scheduler.status();
    assert_eq!((status.waiting, status.replicas.iter().map(|replica| replica.used).sum()), (0, 0));
    assert!(scene.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
    let all: Vec<_> = std::iter::from_fn(|| scene.scheduler.try_slot(&soon(0), Instant::now())).collect();
    assert_eq!(all.len(), 6, "every slot can be had again");
}
