//! kill -9 of the primary's postmaster under load; repmgrd promotes a standby. Kind: driver.

use std::time::Instant;

use super::facts::ORDER;
use super::scene::{Blow, Scene};
use super::{PG, Run, Script};
use crate::Result;
use crate::pg::ClusterOptions;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "pg-crash",
    cast: &PG,
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "kill -9 of the primary's postmaster; repmgrd (monitor 1 s, 2 attempts, 1 s apart) promotes. At most one \
             unknown outcome per client is the truth: it was in flight at the crash. promote_ms is repmgrd's time.",
};

fn play(run: &Run) -> Result<Figures> {
    let mut scene = Scene::set(run, ClusterOptions::default())?;
    let blow = Blow { struck: Instant::now(), victim: 1 };
    scene.cluster.node(1).kill_9()?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(4);
    let facts = scene.facts(blow, aftermath)?;
    scene.close()?;
    Ok(facts.figures())
}
