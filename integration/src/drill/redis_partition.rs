//! Two cuts in a network of namespaces, under load: first the router loses sight of a master that lives on, then the
//! master, with the Sentinel beside it, loses its replicas and the other Sentinels, while the router sees them all.
//! Kind: driver.

use std::time::{Duration, Instant};

use super::facts::millis;
use super::redis_scene::{ORDER, RedisScene};
use super::scene::Blow;
use super::{PEERS, REDIS_WITH_PEER, Run, Script};
use crate::error::{Error, Result};
use crate::netns::{Net, Place};
use crate::progress::say;
use crate::redis::ClusterOptions;
use crate::report::Figures;
use crate::{debian, router};

pub(super) const SCRIPT: Script = Script {
    name: "redis-partition",
    router: router::REDIS,
    subjects: REDIS_WITH_PEER,
    packages: &[debian::REDIS, PEERS],
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "First cut: router from the living master, for a while. Nobody is promoted; the clients wait, and \
             router_cut_resume_ms is the time from the healing to the first acknowledged write. Second cut: the master \
             and s1 from everybody but the router. s2 and s3 promote a replica, and the router sees two masters and \
             Sentinels that disagree. What the old master acknowledged before the promotion is lost by nature \
             (asynchronous replication, no min-replicas-to-write); misrouted_writes counts what was sent there after \
             it.",
};

const RESUME_TIMEOUT: Duration = Duration::from_secs(30);
/// What was on its way when a cut was made is not the cut's.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// What the first cut showed.
struct FirstCut {
    healed: Instant,
    resumed: bool,
    acked_meanwhile: u64,
}

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions { namespaces: true, ..ClusterOptions::default() })?;
    let first = cut_off_the_router(&scene)?;
    scene.go_on(4);
    let blow = cut_off_the_master(&scene)?;
    let aftermath = scene.watch(blow)?;
    for _ in 0..4 {
        scene.look_at(blow.victim)?;
    }
    let (facts, mut figures) = scene.facts(blow, aftermath)?;
    heal_all(&scene)?;
    scene.close()?;
    let resumed = facts.tally.first_ack_after(first.healed).filter(|_| first.resumed);
    let resume = resumed.map_or(RESUME_TIMEOUT.as_secs_f64() * 1e3, |at| millis(first.healed, at));
    figures.insert("router_cut_resume_ms".into(), resume.round());
    figures.insert("acked_during_router_cut".into(), first.acked_meanwhile as f64);
    Ok(figures)
}

fn cut_off_the_router(scene: &RedisScene) -> Result<FirstCut> {
    say("cut: router from the living master");
    net(scene)?.cut(Place::Host, Place::Node(1))?;
    std::thread::sleep(ON_ITS_WAY);
    let before = scene.load()?.acked_writes();
    scene.go_on(6);
    let acked_meanwhile = scene.load()?.acked_writes() - before;
    net(scene)?.heal(Place::Host, Place::Node(1))?;
    let healed = Instant::now();
    say("healed");
    let resumed = scene.load()?.acked_after(healed, RESUME_TIMEOUT);
    Ok(FirstCut { healed, resumed, acked_meanwhile })
}

fn cut_off_the_master(scene: &RedisScene) -> Result<Blow> {
    say("cut: master from its replicas");
    let struck = Instant::now();
    [2, 3].into_iter().try_for_each(|id| net(scene)?.cut(Place::Node(1), Place::Node(id)))?;
    Ok(Blow { struck, victim: 1 })
}

fn heal_all(scene: &RedisScene) -> Result<()> {
    [2, 3].into_iter().try_for_each(|id| net(scene)?.heal(Place::Node(1), Place::Node(id)))
}

fn net(scene: &RedisScene) -> Result<&Net> {
    scene.cluster.net().ok_or_else(|| Error::new("the cluster has no namespaces"))
}
