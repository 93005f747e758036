//! The judge in a world that goes wrong at random: what it must never do, and what it must do in the end. Kind: driver.
//!
//! Every walk is determined by its seed, which a failure prints; `SIM_SEED=n` starts from there.

mod router;
mod scenarios;
mod sentinel;
mod world;

use router::Router;
use world::World;

const NODES: usize = 3;
const WALKS: u64 = 150;
const STEPS: u32 = 1200;

/// What a walk is made of, drawn from its seed.
struct Walk {
    world: World,
    routers: [Router; 2],
    random: fastrand::Rng,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let sentinels = random.usize(1..=3);
        let router = || Router::new(NODES, sentinels);
        Self { world: World::new(NODES, sentinels), routers: [router(), router()], random }
    }

    fn places(&self) -> usize {
        NODES + self.world.sentinels.len()
    }

    fn step(&mut self) {
        self.world.step();
        let Self { world, routers, random } = self;
        routers.iter_mut().for_each(|router| router.round(world, random));
    }

    /// One misfortune or repair.
    fn stir(&mut self) {
        let places = self.places();
        let Self { world, routers, random } = self;
        let (node, sentinel) = (random.usize(..NODES), random.usize(..world.sentinels.len()));
        let (a, b) = (random.usize(..places), random.usize(..places));
        let router = &mut routers[random.usize(..2)];
        match random.u32(..100) {
            0..6 => world.nodes[node].up = false,
            6..20 => restart_node(world, node),
            20..24 => world.nodes[node].frozen = true,
            24..34 => world.nodes[node].frozen = false,
            34..38 => world.sentinels[sentinel].up = false,
            38..46 => world.sentinels[sentinel].restart(),
            46..50 => world.sentinels[sentinel].frozen = true,
            50..58 => world.sentinels[sentinel].frozen = false,
            58..63 => world.set_cut(a, b, a != b),
            63..72 => world.set_cut(a, b, false),
            72..76 => router.blind[node] = true,
            76..82 => router.blind[node] = false,
            82..85 => router.deaf[sentinel] = true,
            85..91 => router.deaf[sentinel] = false,
            91..95 => world.force_failover(sentinel),
            95..98 => router.restart(true),
            _ => router.restart(false),
        }
    }

    /// People mend what is broken, and settle what Sentinels alone never would: two masters within one epoch.
    fn mend(&mut self) {
        self.world.heal();
        for router in &mut self.routers {
            router.blind.fill(false);
            router.deaf.fill(false);
            router.clumsy = false;
        }
        for _ in 0..20 {
            (0..400).for_each(|_| self.step());
            if self.world.in_order().is_some() {
                return;
            }
            self.world.put_in_order();
        }
        panic!("the world itself does not come to order: {:?} {:?}", self.world.nodes, self.world.sentinels);
    }

    /// Once the world is in order, its one master is accepted within the time of the way back, and stays.
    fn settles(&mut self) {
        self.mend();
        (0..700).for_each(|_| self.step());
        let master = self.world.in_order();
        for router in &self.routers {
            assert_eq!(router.master(), master, "the one master is not accepted: {:?}", router.verdict);
            assert_eq!(router.replicas(), NODES - 1, "replicas are not read from: {:?}", router.verdict);
        }
    }
}

/// A master that is started again is the master that it was; whatever else it is told later.
fn restart_node(world: &mut World, node: usize) {
    world.nodes[node].up = true;
}

fn walk(seed: u64) {
    let mut walk = Walk::new(seed);
    for _ in 0..STEPS {
        if walk.random.u32(..16) == 0 {
            walk.stir();
        }
        walk.step();
    }
    walk.settles();
}

#[test]
fn walks_keep_every_promise() {
    let fixed = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let start = fixed.unwrap_or_else(|| fastrand::u64(..u64::MAX - WALKS));
    for seed in (0..WALKS).chain(start..start + WALKS) {
        let outcome = std::panic::catch_unwind(|| walk(seed));
        assert!(outcome.is_ok(), "a promise was broken; repeat with SIM_SEED={seed}");
    }
}
