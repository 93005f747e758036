//! The judge in a world that goes wrong at random: what it must never do, and what it must do in the end. Kind: driver.
//!
//! Every walk is determined by its seed, which a failure prints; `SIM_SEED=n` starts from there.

mod router;
mod scenarios;
mod world;

use router::Router;
use world::World;

const NODES: usize = 3;
const WALKS: u64 = 150;
const STEPS: u32 = 600;

/// One misfortune or repair, drawn at random.
fn stir(world: &mut World, routers: &mut [Router], random: &mut fastrand::Rng) {
    let node = random.usize(..NODES);
    let other = random.usize(..NODES);
    let router = &mut routers[random.usize(..2)];
    match random.u32(..100) {
        0..10 => world.nodes[node].up = false,
        10..30 => world.nodes[node].up = true,
        30..36 => world.nodes[node].frozen = true,
        36..50 => world.nodes[node].frozen = false,
        50..58 => world.set_cut(node, other, node != other),
        58..68 => world.set_cut(node, other, false),
        68..75 => router.blind[node] = true,
        75..86 => router.blind[node] = false,
        86..88 if world.nodes[node].up && world.nodes[node].in_recovery => world.promote(node),
        88..94 => rejoin_to_newest(world, node),
        94..97 => router.restart(true),
        97 => router.restart(false),
        _ => {}
    }
}

/// What a person does who knows which one is the primary.
fn rejoin_to_newest(world: &mut World, node: usize) {
    let primaries = (0..NODES).filter(|other| *other != node && world.nodes[*other].is_primary());
    let newest = primaries.max_by_key(|other| world.nodes[*other].timeline());
    if let Some(primary) =
        newest.filter(|primary| world.nodes[*primary].timeline() >= world.nodes[node].timeline())
    {
        world.rejoin(node, primary);
    }
}

fn walk(seed: u64) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let mut world = World::new(NODES);
    let mut routers = [Router::new(NODES), Router::new(NODES)];
    for _ in 0..STEPS {
        if random.u32(..8) == 0 {
            stir(&mut world, &mut routers, random);
        }
        world.step();
        routers.iter_mut().for_each(|router| router.round(&world, random));
    }
    routers.iter_mut().for_each(|router| settles(&mut world, router, random));
}

/// Once the world is in order, its one primary is accepted within the time that a contest may take, and stays.
fn settles(world: &mut World, router: &mut Router, random: &mut fastrand::Rng) {
    let primary = world.settle();
    router.blind.fill(false);
    router.clumsy = false;
    for _ in 0..router.patience() {
        world.step();
        router.round(world, random);
    }
    for _ in 0..10 {
        world.step();
        router.round(world, random);
        assert_eq!(router.primary(), Some(primary), "the one primary is not accepted: {:?}", router.verdict);
        assert_eq!(router.replicas(), NODES - 1, "the standbys are not read from: {:?}", router.verdict);
    }
}

/// Walks that once broke a promise.
const REMEMBERED: [u64; 10] = [
    18022057527631235671,
    10473602988523868798,
    16901761837818532651,
    7243749568843093603,
    16665601088321958645,
    6072658674250495475,
    15811840892785569762,
    6868701423333234436,
    14609165075835533237,
    8856799320931191732,
];

#[test]
fn walks_keep_every_promise() {
    let fixed = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let start = fixed.unwrap_or_else(|| fastrand::u64(..u64::MAX - WALKS));
    for seed in REMEMBERED.into_iter().chain(0..WALKS).chain(start..start + WALKS) {
        let outcome = std::panic::catch_unwind(|| walk(seed));
        assert!(outcome.is_ok(), "a promise was broken; repeat with SIM_SEED={seed}");
    }
}
