//! redis-router in front of a real cluster: real client libraries, and clients that live through a crash. Kind: driver.

use integration::{
    Result,
    direct::Watcher,
    load::{
        Load,
        redis::{RedisLoad, ids_on},
    },
    python,
    redis::{Account, Cluster, ClusterOptions, Role},
    router::{self, RedisRouterOptions, Router},
    wait::eventually,
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(30);

/// A cluster with the reference deployment's two Sentinels, which have a password, and a router.
fn stage() -> Result<(Cluster, Router)> {
    let options = ClusterOptions { sentinels: 2, sentinel_password: true, ..ClusterOptions::default() };
    let cluster = Cluster::start(&options)?;
    let router = Router::start(&cluster, &RedisRouterOptions::new(&router::binary(router::REDIS)?))?;
    Ok((cluster, router))
}

#[test]
fn redis_py_works_in_both_versions_of_the_protocol() -> Result<()> {
    let (cluster, router) = stage()?;
    let url = Account::APP.url(router.addr(), 0);
    ["2", "3"].into_iter().try_for_each(|version| python::run("redis_py", &[&url, version]).map(drop))?;
    assert_eq!(cluster.node(1).keys("only")?, HashSet::new());
    Ok(())
}

/// Replication is asynchronous, so a crash may lose what was just acknowledged; everything else is the router's, also
/// that the new master takes no writes before a replica follows it.
#[test]
fn clients_live_through_a_crash_and_nobody_is_sent_to_the_master_that_returns() -> Result<()> {
    let (cluster, router) = stage()?;
    for id in 1..=3 {
        cluster.node(id).call(&["CONFIG", "SET", "min-replicas-to-write", "1"])?;
    }
    let watcher = Watcher::start(&cluster)?;
    let load = Load::start(RedisLoad { clients: 20, ..RedisLoad::new(router.addr()) })?;
    let struck = Instant::now();
    cluster.node(1).kill_9()?;
    let promoted = eventually(SOON, "a new master", || {
        watcher.promoted(struck, 1).ok_or_else(|| format!("{:?}", watcher.changes()))
    })?;
    cluster.node(1).start()?;
    assert!(load.acked_after(promoted.at, SOON), "nobody could write after the promotion");
    let astray = written_while_master(&cluster)?;
    let tally = load.stop()?;
    let present = ids_on(cluster.node(promoted.node))?;
    assert_eq!(tally.disconnected_clients(), 0);
    assert_eq!(tally.failures(), Default::default());
    assert_eq!(tally.wrong_answers().collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(tally.astray(promoted.at, promoted.at, &present, &astray), 0);
    Ok(())
}

/// What the returned master holds, after it could have been given something.
fn written_while_master(cluster: &Cluster) -> Result<HashSet<i64>> {
    let (old, until) = (cluster.node(1), Instant::now() + Duration::from_secs(3));
    eventually(SOON, "three seconds with two masters", || match old.role() {
        Ok(Role::Master { .. }) if Instant::now() < until => Err("not yet".into()),
        other => other.map_err(|e| e.to_string()),
    })?;
    ids_on(old)
}
