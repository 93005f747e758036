//! kill -9 of the master under load; Sentinel promotes a replica. Kind: driver.

use std::time::Instant;

use super::redis_scene::{ORDER, RedisScene};
use super::scene::Blow;
use super::{REDIS, Run, Script};
use crate::Result;
use crate::redis::ClusterOptions;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "redis-crash",
    cast: &REDIS,
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "kill -9 of the master; Sentinel (down-after 1 s) promotes. Replication is asynchronous and nobody asks for \
             WAIT: what the master acknowledged in its last milliseconds may be lost with it, whoever stands in front. \
             At most one unknown outcome per connection is the truth: it was in flight at the crash. celery_gave_up: the \
             worker heard that of its own write and left its connection, which stood; the task that it had taken and not \
             noted yet (kombu pops it, and notes it in a second command) is then lost.",
};

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions::default())?;
    let blow = Blow { struck: Instant::now(), victim: 1 };
    scene.cluster.node(1).kill_9()?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(4);
    let figures = scene.figures(blow, aftermath)?;
    scene.close()?;
    Ok(figures)
}
