//! A planned switchover by repmgr under load. Kind: driver.

use std::time::{Duration, Instant};

use super::facts::ORDER;
use super::scene::{Aftermath, Blow, Scene};
use super::{PG, Run, Script};
use crate::error::{Error, Result};
use crate::pg::ClusterOptions;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "pg-switchover",
    cast: &PG,
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "repmgr standby switchover --siblings-follow. The clock starts when the old primary stops answering a \
             direct connection; promote_ms is the time that repmgr leaves the cluster without a primary.",
};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

fn play(run: &Run) -> Result<Figures> {
    let mut scene = Scene::set(run, ClusterOptions::default())?;
    let (blow, aftermath) = switch_over(&scene)?;
    scene.go_on(4);
    let facts = scene.facts(blow, aftermath)?;
    scene.close()?;
    Ok(facts.figures())
}

/// repmgr works in the background while the clients and the watcher go on.
fn switch_over(scene: &Scene) -> Result<(Blow, Aftermath)> {
    let cluster = &scene.cluster;
    std::thread::scope(|scope| {
        let repmgr = scope.spawn(|| cluster.switchover_to(2));
        let blow = Blow { struck: wait_for_the_close(scene)?, victim: 1 };
        let aftermath = scene.watch(blow)?;
        repmgr.join().map_err(|_| Error::new("the switchover panicked"))??;
        Ok((blow, aftermath))
    })
}

fn wait_for_the_close(scene: &Scene) -> Result<Instant> {
    let asked = Instant::now();
    loop {
        if let Some(closed) = scene.watcher.down(asked, 1) {
            return Ok(closed);
        }
        if asked.elapsed() > CLOSE_TIMEOUT {
            return Err(Error::new("the old primary never stopped"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
