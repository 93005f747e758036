//! SIGSTOP of the master under load: connections stay and nobody answers. When a replica has been promoted it goes on,
//! knowing nothing of that. Kind: driver.

use std::time::Instant;

use super::redis_scene::{ORDER, RedisScene};
use super::scene::Blow;
use super::{REDIS, Run, Script};
use crate::Result;
use crate::redis::ClusterOptions;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "redis-hang",
    cast: &REDIS,
    order: &ORDER,
    session_length: Some(50),
    runs: 5,
    play,
    remark: "SIGSTOP of the master; Sentinel promotes; SIGCONT. Until Sentinel demotes it (about 10 s) the old master \
             calls itself master and takes writes, also those that lay in its sockets. misrouted_writes counts what was \
             sent after the promotion and is there, or was acknowledged and is not on the new master.",
};

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions::default())?;
    let blow = Blow { struck: Instant::now(), victim: 1 };
    scene.cluster.node(1).sigstop()?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(2);
    scene.cluster.node(1).cont()?;
    scene.watch_old_master(1)?;
    scene.go_on(2);
    let figures = scene.figures(blow, aftermath)?;
    scene.close()?;
    Ok(figures)
}
