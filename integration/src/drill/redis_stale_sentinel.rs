//! One Sentinel sleeps through a failover and wakes up when the others sleep and the old master is back: all that it
//! says is wrong. Kind: driver.

use std::time::{Duration, Instant};

use super::redis_scene::{ORDER, RedisScene};
use super::scene::Blow;
use super::{REDIS, Run, Script};
use crate::Result;
use crate::progress::say;
use crate::redis::{Cluster, ClusterOptions};
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "redis-stale-sentinel",
    cast: &REDIS,
    order: &ORDER,
    session_length: Some(50),
    runs: 5,
    play,
    remark: "s3 is stopped; the master is killed and the other two fail over without it. Then they are stopped, the old \
             master is started again and s3 goes on: the only Sentinel that answers names the old master, and that one \
             calls itself master. Nothing may go there.",
};

const OLD: usize = 1;
const STALE: usize = 3;
const OTHERS: [usize; 2] = [1, 2];
/// Sentinel does nothing for 30 s after it was stopped (TILT), so the stale one only talks.
const ALONE: Duration = Duration::from_secs(6);

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions::default())?;
    scene.cluster.sentinel(STALE).sigstop()?;
    scene.go_on(2);
    let blow = Blow { struck: Instant::now(), victim: OLD };
    scene.cluster.node(OLD).kill_9()?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(2);
    leave_the_stale_one_alone(&scene.cluster)?;
    let begun = Instant::now();
    while begun.elapsed() < ALONE {
        scene.look_at(OLD)?;
    }
    OTHERS.into_iter().try_for_each(|id| scene.cluster.sentinel(id).cont())?;
    say("the others are back");
    scene.go_on(4);
    scene.look_at(OLD)?;
    let figures = scene.figures(blow, aftermath)?;
    scene.close()?;
    Ok(figures)
}

fn leave_the_stale_one_alone(cluster: &Cluster) -> Result<()> {
    OTHERS.into_iter().try_for_each(|id| cluster.sentinel(id).sigstop())?;
    cluster.node(OLD).start()?;
    cluster.sentinel(STALE).cont()?;
    say("the only Sentinel that answers names the old master, which is back");
    Ok(())
}
