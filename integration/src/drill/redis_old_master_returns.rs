//! After a failover the old master is started again: for some 10 s it is a second master that takes writes. In the
//! meantime a second router is started, that knows nothing. Kind: driver.

use std::time::{Duration, Instant};

use super::redis_scene::{ORDER, RedisScene, add};
use super::scene::{Blow, tell_failures};
use super::{REDIS, Run, Script};
use crate::Result;
use crate::load::Load;
use crate::load::redis::RedisLoad;
use crate::load::tally::Tally;
use crate::progress::say;
use crate::redis::ClusterOptions;
use crate::report::Figures;
use crate::router::{self, RedisRouterOptions, Router};

pub(super) const SCRIPT: Script = Script {
    name: "redis-old-master-returns",
    cast: &REDIS,
    order: &ORDER,
    session_length: Some(50),
    runs: 5,
    play,
    remark: "Crash, promotion, then the old master is started again, empty: it calls itself master and takes writes until \
             Sentinel demotes it. Its clients log in anew after every 50 turns. Beside our router a second one is \
             started in that time, without any state; misrouted_writes counts what came to the old master through \
             either.",
};

const OLD: usize = 1;
const NEWCOMERS: usize = 8;
const NEWCOMERS_STAY: Duration = Duration::from_secs(4);
/// The ids of the two loads lie this far apart.
const ID_RANGE: i64 = 1_000_000_000;

fn play(run: &Run) -> Result<Figures> {
    let mut scene = RedisScene::set(run, ClusterOptions::default())?;
    let blow = Blow { struck: Instant::now(), victim: OLD };
    scene.cluster.node(OLD).kill_9()?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(2);
    scene.cluster.node(OLD).start()?;
    say("the old master is back, as a second master");
    let second = if run.subject == router::REDIS { newcomer(run, &scene)? } else { Tally::default() };
    scene.watch_old_master(OLD)?;
    scene.go_on(2);
    let (facts, mut figures) = scene.facts(blow, aftermath)?;
    add(&mut figures, "misrouted_writes", facts.misrouted(&second));
    add(&mut figures, "lost_acked_writes", second.lost(&facts.present));
    add(&mut figures, "acked_by_newcomer", second.acked().count());
    scene.close()?;
    Ok(figures)
}

/// A router that first sees the cluster while it has two masters.
fn newcomer(run: &Run, scene: &RedisScene) -> Result<Tally> {
    say("a second router, without any state");
    let router = Router::launch(&scene.cluster, &RedisRouterOptions::new(&run.router))?;
    let load = Load::start_unanswered(RedisLoad {
        clients: NEWCOMERS,
        first_id: ID_RANGE,
        ..RedisLoad::new(router.addr())
    })?;
    std::thread::sleep(NEWCOMERS_STAY);
    let tally = load.stop()?;
    tell_failures(&tally);
    Ok(tally)
}
