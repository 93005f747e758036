//! Two cuts in a network of namespaces, under load: first the router loses sight of a master that lives on, then the
//! master, with the Sentinel beside it, loses its replicas and the other Sentinels, while the router sees them all.
//! Kind: driver.

use super::cuts::{RouterCut, cut_off_the_primary, heal_all, network};
use super::redis_scene::{ORDER, RedisScene};
use super::{REDIS, Run, Script};
use crate::error::Result;
use crate::redis::ClusterOptions;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "redis-partition",
    cast: &REDIS,
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

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions { namespaces: true, ..ClusterOptions::default() })?;
    let first = RouterCut::make(&scene, network(scene.cluster.net())?, 6)?;
    scene.go_on(4);
    let blow = cut_off_the_primary(network(scene.cluster.net())?)?;
    let aftermath = scene.watch(blow)?;
    for _ in 0..4 {
        scene.look_at(blow.victim)?;
    }
    let (facts, mut figures) = scene.facts(blow, aftermath)?;
    heal_all(network(scene.cluster.net())?)?;
    scene.close()?;
    first.tell(&facts.tally, &mut figures);
    Ok(figures)
}
