//! The known ways in which failovers go wrong, one by one. Kind: driver.

use super::router::Router;
use super::world::World;
use crate::topology::verdict::{Alert, Ground, Held, Limits, Standing};

/// A cluster of three nodes, and a router that loses no probe.
struct Scene {
    world: World,
    router: Router,
    random: fastrand::Rng,
}

impl Scene {
    fn new(sentinels: usize) -> Self {
        let mut router = Router::new(3, sentinels);
        router.clumsy = false;
        Self { world: World::new(3, sentinels), router, random: fastrand::Rng::with_seed(1) }
    }

    /// A router that has seen the first node reign.
    fn reigning(sentinels: usize) -> Self {
        let mut scene = Self::new(sentinels);
        scene.seconds(1);
        scene.expect(Ok(0));
        scene
    }

    /// The first node is dead, another one reigns in epoch 1.
    fn failed_over(sentinels: usize) -> (Self, usize) {
        let mut scene = Self::reigning(sentinels);
        scene.world.nodes[0].up = false;
        scene.seconds(10);
        let master = scene.router.master().unwrap();
        assert_ne!(master, 0);
        scene.expect(Ok(master));
        (scene, master)
    }

    fn step(&mut self) {
        self.world.step();
        self.router.round(&self.world, &mut self.random);
    }

    fn seconds(&mut self, count: usize) {
        (0..count * 20).for_each(|_| self.step());
    }

    /// Until the router publishes another master; in steps.
    fn until_switched(&mut self, from: usize) -> usize {
        let limit = 1000;
        let steps = (1..limit).find(|_| {
            self.step();
            self.router.master().is_some_and(|master| master != from)
        });
        steps.expect("it never switches")
    }

    #[track_caller]
    fn expect(&self, expected: Result<usize, Held>) {
        let found = self.router.master().ok_or_else(|| self.router.held().unwrap());
        assert_eq!(found, expected, "{:?}", self.router.verdict);
    }

    #[track_caller]
    fn expect_alert(&self, wanted: impl Fn(&Alert) -> bool) {
        assert!(self.router.alerts().iter().any(wanted), "{:?}", self.router.alerts());
    }

    fn is_promoted(&self, node: usize) -> bool {
        self.world.nodes[node].is_master()
    }
}

#[test]
fn a_healthy_cluster_is_accepted_at_first_sight() {
    for sentinels in 1..=3 {
        let mut scene = Scene::new(sentinels);
        scene.step();
        scene.expect(Ok(0));
        assert_eq!((scene.router.replicas(), scene.router.alerts().len()), (2, 0));
    }
}

#[test]
fn a_promotion_is_published_in_the_moment_in_which_it_is_seen() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    while !(1..3).any(|node| scene.is_promoted(node)) {
        scene.step();
        assert!(scene.router.master().is_some(), "a planned failover holds nothing before the promotion");
    }
    let promoted = (1..3).find(|node| scene.is_promoted(*node)).unwrap();
    scene.expect(Ok(promoted));
    assert_eq!(scene.router.ground(), Ground::Promotion);
    assert_eq!(scene.router.standing(0), Standing::Zombie, "the old one still says that it is a master");
    scene.seconds(3);
    assert_eq!(scene.router.ground(), Ground::Sentinel);
    scene.seconds(15);
    scene.expect(Ok(promoted));
    assert_eq!((scene.router.replicas(), scene.router.alerts().len()), (2, 0), "the old one was demoted");
}

#[test]
fn writes_wait_from_the_choice_of_a_candidate_until_it_is_promoted() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    let mut braced = false;
    while !(1..3).any(|node| scene.is_promoted(node)) {
        braced = scene.router.braces();
        scene.step();
    }
    assert!(braced, "before the promotion");
    assert!(!scene.router.braces(), "it is over with the promotion");
}

#[test]
fn writes_wait_no_longer_than_a_second_for_a_candidate_that_is_not_promoted() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    while !scene.router.braces() {
        scene.step();
    }
    scene.world.nodes[1].frozen = true;
    scene.world.nodes[2].frozen = true;
    scene.seconds(2);
    scene.expect(Ok(0));
    assert!(!scene.router.braces());
}

#[test]
fn without_events_the_switch_comes_with_the_leaders_answer_and_not_with_its_last_event() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    scene.world.nodes[2].frozen = true; // one replica can't be reconfigured: the leader takes its whole timeout
    scene.router.deaf = vec![true; 3];
    scene.seconds(2);
    scene.router.deaf.fill(false);
    scene.step();
    scene.expect(Ok(1));
    assert!(scene.world.sentinels[0].failover.is_some(), "the leader itself is not done yet");
}

#[test]
fn an_observer_is_enough() {
    let mut scene = Scene::reigning(3);
    scene.router.deaf[0] = true;
    scene.world.force_failover(0);
    scene.until_switched(0);
    assert_eq!(scene.router.ground(), Ground::Sentinel);
}

#[test]
fn a_returned_old_master_is_a_zombie() {
    let (mut scene, master) = Scene::failed_over(3);
    scene.world.nodes[0].up = true;
    scene.seconds(2);
    scene.expect(Ok(master));
    assert_eq!(scene.router.standing(0), Standing::Zombie);
    scene.expect_alert(|alert| matches!(alert, Alert::SecondMaster(_)));
    scene.seconds(15);
    assert_eq!(scene.router.standing(0), Standing::Replica);
}

#[test]
fn a_returned_old_master_does_not_capture_a_router_that_starts() {
    for with_state in [true, false] {
        let (mut scene, master) = Scene::failed_over(3);
        scene.world.nodes[0].up = true;
        scene.router.restart(with_state);
        scene.step();
        scene.expect(Ok(master));
    }
}

#[test]
fn a_stale_sentinel_alone_does_not_bring_the_old_master_back() {
    for with_state in [true, false] {
        let mut scene = Scene::reigning(3);
        scene.world.sentinels[2].frozen = true;
        scene.world.nodes[0].up = false;
        scene.seconds(10);
        let master = scene.router.master().unwrap();
        scene.world.nodes[0].up = true;
        (0..5).for_each(|at| scene.world.set_cut(at, 5, true)); // it hears nobody
        scene.world.set_cut(0, 5, false);
        scene.world.sentinels[2].frozen = false;
        if with_state {
            scene.router.restart(true);
        }
        scene.router.deaf = vec![true, true, false];
        scene.seconds(60);
        scene.expect(Ok(master));
        scene.expect_alert(|alert| matches!(alert, Alert::StaleSentinel { .. }));
    }
}

/// Neither when the master is out of sight: one of three Sentinels is not all of them.
#[test]
fn a_stale_sentinel_alone_is_no_way_back() {
    let (mut scene, master) = Scene::failed_over(3);
    scene.world.nodes[0].up = true;
    scene.world.sentinels[2].monitor(0);
    (0..5).for_each(|at| scene.world.set_cut(at, 5, true));
    (3..5).for_each(|sentinel| scene.world.set_cut(0, sentinel, true)); // nobody demotes it
    scene.router.deaf = vec![true, true, false];
    scene.router.blind[master] = true;
    scene.seconds(60);
    scene.expect(Err(Held::OutOfSight));
}

#[test]
fn no_agreement_unseats_a_master_that_has_replicas() {
    let (mut scene, master) = Scene::failed_over(3);
    scene.world.nodes[0].up = true;
    for sentinel in 0..3 {
        scene.world.sentinels[sentinel].monitor(0);
        (0..3).for_each(|node| scene.world.set_cut(node, 3 + sentinel, true)); // they can't do as they believe
    }
    scene.seconds(60);
    scene.expect(Ok(master));
    scene.expect_alert(|alert| matches!(alert, Alert::StaleSentinel { .. }));
}

#[test]
fn two_sentinels_of_which_one_is_dead_still_tell_a_forced_failover() {
    let mut scene = Scene::reigning(2);
    scene.world.sentinels[1].up = false;
    scene.seconds(5);
    scene.expect(Ok(0));
    scene.expect_alert(|alert| matches!(alert, Alert::NoQuorum { seen: 1, known: 2 }));
    scene.world.nodes[0].up = false;
    scene.seconds(10);
    scene.expect(Err(Held::OutOfSight));
    scene.world.force_failover(0);
    scene.until_switched(0);
}

#[test]
fn without_any_sentinel_the_master_goes_on_while_it_has_replicas() {
    let mut scene = Scene::reigning(3);
    scene.router.deaf = vec![true; 3];
    scene.seconds(60);
    scene.expect(Ok(0));
    assert_eq!(scene.router.ground(), Ground::Memory);
    scene.expect_alert(|alert| *alert == Alert::NoSentinel);
    scene.router.restart(true);
    scene.seconds(60);
    scene.expect(Ok(0));
    scene.router.restart(false);
    scene.seconds(60);
    scene.expect(Err(Held::NoSentinel));
}

#[test]
fn cut_off_with_an_old_master_writes_stop_by_themselves() {
    let mut scene = Scene::reigning(3);
    scene.router.deaf = vec![true; 3];
    scene.router.blind = vec![false, true, true];
    scene.world.nodes[1].up = false;
    scene.world.nodes[2].up = false;
    scene.seconds(10);
    scene.expect(Err(Held::Fenced));
    scene.router.limits = Limits { fence: None, ..Limits::default() };
    scene.step();
    scene.expect(Ok(0));
    scene.router.limits = Limits::default();
    scene.router.deaf[1] = false;
    scene.step();
    scene.expect(Ok(0));
}

#[test]
fn a_master_that_calls_itself_a_replica_is_lost_at_once() {
    let mut scene = Scene::reigning(3);
    scene.world.nodes[0].of = Some(1);
    scene.step();
    scene.expect(Err(Held::Demoted));
    assert!(scene.router.held().unwrap().fences());
}

#[test]
fn a_newer_epoch_holds_writes_until_its_master_answers() {
    let mut scene = Scene::reigning(3);
    scene.router.blind = vec![false, true, true];
    scene.world.force_failover(0);
    scene.seconds(4);
    scene.expect(Err(Held::Deposed));
    scene.router.deaf = vec![true; 3];
    scene.seconds(60);
    scene.expect(Err(Held::Deposed));
    scene.router.blind.fill(false);
    scene.step();
    assert!(scene.router.master().is_some_and(|master| master != 0));
}

#[test]
fn a_promotion_that_is_given_up_gives_the_old_master_back() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    let promoted = {
        scene.until_switched(0);
        scene.router.master().unwrap()
    };
    assert_eq!(scene.router.ground(), Ground::Promotion);
    scene.world.set_cut(promoted, 3, true); // the leader never sees what it did
    scene.seconds(4);
    scene.expect(Ok(promoted));
    scene.seconds(4);
    scene.expect(Ok(0));
    assert_eq!(scene.router.standing(promoted), Standing::Zombie);
    scene.seconds(30);
    scene.expect(Ok(0));
}

#[test]
fn a_promotion_whose_leader_dies_is_undone_with_the_demotion() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    scene.until_switched(0);
    let promoted = scene.router.master().unwrap();
    scene.world.sentinels[0].up = false;
    scene.seconds(5);
    scene.expect(Ok(promoted));
    scene.seconds(15);
    scene.expect(Ok(0));
    assert_eq!(scene.router.replicas(), 2);
}

/// Its leader follows another one's hello message, and tells no `-failover-abort`.
#[test]
fn a_promotion_whose_leader_was_outrun_is_given_up() {
    let mut scene = Scene::reigning(3);
    scene.world.force_failover(0);
    scene.until_switched(0);
    let promoted = scene.router.master().unwrap();
    let other = if promoted == 1 { 2 } else { 1 };
    assert_eq!(scene.router.memory.claim.as_ref().unwrap().epoch, 1);
    let leader = &mut scene.world.sentinels[0];
    (leader.current, leader.failover) = (2, None);
    scene.world.nodes[0].of = Some(other);
    scene.world.promote(other);
    for sentinel in &mut scene.world.sentinels {
        (sentinel.master, sentinel.epoch) = (other, 1);
    }
    scene.router.memory.claim.as_mut().unwrap().epoch = 2;
    scene.seconds(1);
    scene.expect(Ok(promoted));
    scene.seconds(14);
    scene.expect(Ok(other));
    assert_eq!((scene.router.ground(), scene.router.replicas()), (Ground::Sentinel, 2));
}

#[test]
fn sentinels_that_monitor_anew_are_believed_after_a_while() {
    let (mut scene, master) = Scene::failed_over(3);
    scene.world.nodes[0].up = true;
    scene.seconds(20);
    scene.world.sentinels.iter_mut().for_each(|sentinel| sentinel.monitor(master));
    scene.seconds(5);
    scene.expect(Ok(master));
    scene.expect_alert(|alert| matches!(alert, Alert::Regress(_)));
    scene.seconds(30);
    scene.expect(Ok(master));
    assert_eq!(scene.router.memory.claim.as_ref().unwrap().epoch, 0);
    assert_eq!(scene.router.alerts(), []);
    scene.world.force_failover(1);
    scene.until_switched(master);
}

#[test]
fn two_masters_within_one_epoch_change_nothing() {
    let mut scene = Scene::reigning(2);
    scene.world.set_cut(3, 4, true);
    scene.world.force_failover(0);
    scene.until_switched(0);
    let kept = scene.router.master().unwrap();
    scene.seconds(3);
    let other = if kept == 1 { 2 } else { 1 };
    let epoch = scene.world.sentinels[0].epoch;
    (scene.world.sentinels[1].master, scene.world.sentinels[1].epoch) = (other, epoch);
    scene.world.promote(other);
    scene.seconds(3);
    scene.expect(Ok(kept));
    scene.expect_alert(|alert| matches!(alert, Alert::Disputed { .. }));
}

#[test]
fn data_of_another_history_is_an_alarm_and_never_more() {
    let mut scene = Scene::reigning(3);
    scene.world.nodes[1].replid = (77, 0);
    scene.world.nodes[1].of = None;
    scene.world.sentinels.iter_mut().for_each(|sentinel| (sentinel.master, sentinel.epoch) = (1, 1));
    scene.step();
    scene.expect(Ok(1));
    scene.expect_alert(|alert| matches!(alert, Alert::LineageBreak(_)));
}
