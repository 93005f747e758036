//! What clients say to Redis means the same through redis-router. The suites of whole libraries are another command:
//! `cargo stack suite redis`. Kind: driver.

use integration::{
    Result, python,
    redis::{Account, Cluster, ClusterOptions},
    router::{self, RedisRouterOptions, Router},
};

/// Directly first: what Redis itself does not do is no fault of the router's.
#[test]
fn conversations_go_as_with_redis_itself() -> Result<()> {
    let cluster = Cluster::start(&ClusterOptions { nodes: 1, sentinels: 1, ..ClusterOptions::default() })?;
    let router = Router::start(&cluster, &RedisRouterOptions::new(&router::binary(router::REDIS)?))?;
    for addr in [cluster.node(1).addr(), router.addr()] {
        python::run("redis_conversations", &[&Account::APP.url(addr, 0)])?;
    }
    Ok(())
}
