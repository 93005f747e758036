//! The known ways in which failovers go wrong, one by one. Kind: driver.

use super::router::Router;
use super::world::World;
use crate::topology::observation::Loss;
use crate::topology::verdict::{Alert, Held, Role, Unfit};

/// A cluster of three and a router that loses no probe.
struct Scene {
    world: World,
    router: Router,
    random: fastrand::Rng,
}

impl Scene {
    fn new() -> Self {
        let mut router = Router::new(3);
        router.clumsy = false;
        Self { world: World::new(3), router, random: fastrand::Rng::with_seed(1) }
    }

    /// A router that has seen the first node reign, and its followers.
    fn reigning() -> Self {
        let mut scene = Self::new();
        scene.steps(2);
        scene.expect(Ok(0));
        scene
    }

    /// The first node is dead, the second one reigns on timeline 2, the third follows it.
    fn failed_over() -> Self {
        let mut scene = Self::reigning();
        scene.world.nodes[0].up = false;
        scene.steps(60);
        scene.expect(Ok(1));
        scene
    }

    fn step(&mut self) {
        self.world.step();
        self.router.round(&self.world, &mut self.random);
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    /// Who the primary is, or why there is none.
    fn expect(&self, expected: Result<usize, Held>) {
        let found = self.router.primary().ok_or_else(|| self.router.held().unwrap());
        assert_eq!(found, expected, "{:?}", self.router.verdict);
    }

    fn alerts(&self) -> &[Alert] {
        &self.router.verdict.as_ref().unwrap().alerts
    }

    fn blind(&mut self, nodes: &[usize]) {
        self.router.blind = (0..3).map(|node| nodes.contains(&node)).collect();
    }
}

#[test]
fn a_healthy_cluster_is_accepted_at_first_sight() {
    let mut scene = Scene::new();
    scene.step();
    scene.expect(Ok(0));
    assert_eq!(scene.router.replicas(), 2);
}

#[test]
fn a_cold_start_waits_for_a_majority() {
    let mut scene = Scene::new();
    scene.blind(&[1, 2]);
    scene.steps(1000);
    scene.expect(Err(Held::Minority));
    scene.blind(&[2]);
    scene.step();
    scene.expect(Ok(0));
}

#[test]
fn a_promotion_is_accepted_in_the_moment_in_which_it_is_seen() {
    let mut scene = Scene::reigning();
    scene.world.nodes[0].up = false;
    scene.step();
    scene.expect(Err(Held::NoCandidate));
    while scene.world.nodes[1].in_recovery {
        scene.step();
    }
    scene.expect(Ok(1));
    scene.steps(30);
    assert_eq!(scene.router.role(2), Role::Replica);
}

#[test]
fn a_returned_old_primary_is_a_zombie() {
    let mut scene = Scene::failed_over();
    scene.world.nodes[0].up = true;
    scene.steps(50);
    scene.expect(Ok(1));
    assert_eq!(scene.router.role(0), Role::Zombie);
}

#[test]
fn a_returned_old_primary_is_not_believed_while_its_successor_is_out_of_sight() {
    let mut scene = Scene::failed_over();
    scene.world.nodes[0].up = true;
    scene.blind(&[1]);
    scene.steps(1000);
    scene.expect(Err(Held::Stale));
}

#[test]
fn a_returned_old_primary_does_not_capture_a_router_that_starts() {
    for (with_state, reason) in [(true, Held::Stale), (false, Held::Minority)] {
        let mut scene = Scene::failed_over();
        scene.world.nodes[0].up = true;
        scene.router.restart(with_state);
        scene.blind(&[1, 2]);
        scene.steps(1000);
        scene.expect(Err(reason));
        scene.blind(&[]);
        scene.step();
        scene.expect(Ok(1));
    }
}

#[test]
fn a_follower_of_the_successor_speaks_against_the_old_primary() {
    let mut scene = Scene::failed_over();
    scene.world.nodes[0].up = true;
    scene.router.restart(false);
    scene.blind(&[1]);
    scene.steps(1000);
    assert!(scene.router.primary().is_none());
}

#[test]
fn a_lone_primary_that_the_state_file_names_is_believed_after_a_long_time() {
    let mut scene = Scene::reigning();
    scene.router.restart(true);
    (scene.world.nodes[1].up, scene.world.nodes[2].up) = (false, false);
    scene.steps(290);
    scene.expect(Err(Held::Lone));
    scene.steps(20);
    scene.expect(Ok(0));
}

#[test]
fn a_primary_that_restarts_is_back_at_once() {
    let mut scene = Scene::reigning();
    scene.world.nodes[0].up = false;
    scene.steps(3);
    scene.expect(Err(Held::NoCandidate));
    scene.world.nodes[0].up = true;
    scene.step();
    scene.expect(Ok(0));
}

#[test]
fn a_stray_promotion_holds_writes_and_is_overruled() {
    let mut scene = Scene::reigning();
    scene.world.promote(2);
    scene.step();
    scene.expect(Err(Held::Contested));
    assert!(scene.alerts().contains(&Alert::Contest(2)));
    scene.steps(49);
    scene.expect(Err(Held::Contested));
    scene.step();
    scene.expect(Ok(0));
    assert!(scene.alerts().contains(&Alert::Overruled(2)));
    assert_eq!(scene.router.role(2), Role::Zombie);
}

#[test]
fn an_overruled_stray_is_not_believed_when_the_primary_dies() {
    let mut scene = Scene::reigning();
    scene.world.promote(2);
    scene.steps(60);
    scene.world.nodes[0].up = false;
    scene.steps(50);
    scene.expect(Err(Held::Unconfirmed));
}

#[test]
fn a_promotion_beside_a_living_primary_counts_once_repmgr_has_written_it() {
    let mut scene = Scene::reigning();
    scene.world.promote(1);
    scene.step();
    scene.expect(Err(Held::Contested));
    scene.world.nodes[1].table = (1, 2);
    scene.step();
    scene.expect(Ok(1));
    assert_eq!(scene.router.role(0), Role::Zombie);
}

#[test]
fn a_hung_primary_that_wakes_up_is_a_zombie() {
    let mut scene = Scene::reigning();
    scene.world.nodes[0].frozen = true;
    scene.steps(60);
    scene.expect(Ok(1));
    assert_eq!(scene.router.role(0), Role::Lost(Loss::Silent));
    scene.world.nodes[0].frozen = false;
    scene.step();
    scene.expect(Ok(1));
    assert_eq!(scene.router.role(0), Role::Zombie);
}

#[test]
fn two_promotions_to_one_timeline_never_take_writes_both() {
    let mut scene = Scene::failed_over();
    scene.world.set_cut(0, 1, true);
    scene.world.rejoin(2, 0);
    scene.world.promote(2);
    scene.world.nodes[1].up = false;
    scene.steps(50);
    scene.expect(Err(Held::Tied));
}

#[test]
fn a_standby_that_lost_its_primary_stays_out_until_it_follows_the_new_one() {
    let mut scene = Scene::reigning();
    scene.world.set_cut(2, 1, true);
    scene.world.set_cut(2, 0, true);
    scene.step();
    assert_eq!(scene.router.role(2), Role::Unroutable(Unfit::NotStreaming));
    scene.world.set_cut(2, 0, false);
    scene.step();
    assert_eq!(scene.router.role(2), Role::Replica);
}

#[test]
fn a_router_that_sees_only_standbys_holds_writes_and_goes_on_reading() {
    let mut scene = Scene::reigning();
    scene.blind(&[0]);
    scene.steps(50);
    scene.expect(Err(Held::NoCandidate));
    assert_eq!(scene.router.replicas(), 2);
}

#[test]
fn a_living_primary_is_given_up_when_the_others_follow_one_that_is_out_of_sight() {
    let mut scene = Scene::reigning();
    scene.blind(&[1]);
    scene.world.promote(1);
    scene.world.nodes[1].table = (1, 2);
    scene.world.rejoin(2, 1);
    scene.steps(100);
    scene.expect(Err(Held::Deposed));
    scene.blind(&[]);
    scene.step();
    scene.expect(Ok(1));
}

#[test]
fn a_promotion_that_others_have_left_behind_is_not_believed() {
    let mut scene = Scene::reigning();
    scene.blind(&[0, 1, 2]);
    scene.step();
    scene.world.promote(1);
    scene.world.rejoin(0, 1);
    scene.world.promote(0);
    scene.world.rejoin(2, 0);
    scene.blind(&[0]);
    scene.steps(100);
    scene.expect(Err(Held::Deposed));
    scene.blind(&[]);
    scene.step();
    scene.expect(Ok(0));
}

#[test]
fn a_stray_that_has_come_home_is_forgotten() {
    let mut scene = Scene::reigning();
    scene.world.promote(2);
    scene.steps(60);
    scene.world.rejoin(2, 0);
    scene.steps(2);
    scene.world.nodes[0].up = false;
    while scene.world.nodes[1].in_recovery {
        scene.step();
    }
    scene.expect(Ok(1));
}

#[test]
fn an_old_observation_is_no_observation() {
    let mut scene = Scene::reigning();
    scene.router.stall = true;
    scene.steps(7);
    scene.expect(Ok(0));
    scene.step();
    scene.expect(Err(Held::NoCandidate));
    assert_eq!(scene.router.role(0), Role::Expired);
}
