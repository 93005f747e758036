//! A planned switchover under load. Kind: driver.

use std::time::Instant;

use super::redis_scene::{ORDER, RedisScene, UNASKED, switch_over};
use super::scene::{Aftermath, Blow};
use super::{Cast, REDIS, Run, Script};
use crate::error::{Error, Result};
use crate::redis::ClusterOptions;
use crate::report::Figures;
use crate::router;

pub(super) const SCRIPT: Script = Script {
    name: "redis-switchover",
    cast: &Cast { subjects: &[router::REDIS, UNASKED, "haproxy"], ..REDIS },
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "`redis-router switchover` for our router, SENTINEL FAILOVER for the others, on a healthy cluster: \
             redis-router-unasked is our router when Sentinel alone is told. The clock starts with the command. Until \
             Sentinel demotes the old master (about 10 s) there are two masters, and misrouted_writes counts what went \
             to the wrong one.",
};

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions::default())?;
    let (blow, aftermath) = under_load(run, &scene)?;
    scene.watch_old_master(1)?;
    scene.go_on(4);
    let figures = scene.figures(blow, aftermath)?;
    scene.close()?;
    Ok(figures)
}

/// The command works in the background while the clients and the watcher go on.
fn under_load(run: &Run, scene: &RedisScene) -> Result<(Blow, Aftermath)> {
    let admin = scene.subject.as_ref().and_then(|subject| subject.admin());
    let cluster = &scene.cluster;
    std::thread::scope(|scope| {
        let blow = Blow { struck: Instant::now(), victim: 1 };
        let order = scope.spawn(move || switch_over(run, cluster, admin));
        let aftermath = scene.watch(blow);
        order.join().map_err(|_| Error::new("the switchover panicked"))??;
        Ok((blow, aftermath?))
    })
}
