//! The real cluster does what the tests and drills of the router stand on. Kind: driver.

use integration::{
    Result,
    pg::{Account, Cluster, ClusterOptions, Node, shared},
    wait::eventually,
};
use std::time::{Duration, Instant};

const FAILOVER: Duration = Duration::from_secs(20);

/// Everything in one life of one cluster: each step stands on the one before.
#[test]
fn a_cluster_survives_crash_rejoin_and_switchover() -> Result<()> {
    let cluster = Cluster::start(&ClusterOptions { sync_standby: true, ..ClusterOptions::default() })?;
    every_account_may_log_in(&cluster)?;
    the_first_primary_alone_waits_for_a_standby(&cluster)?;
    a_killed_primary_is_replaced(&cluster)?;
    cluster.rejoin(1)?;
    assert_ne!(cluster.settled()?.id(), 1);
    cluster.switchover_to(1)?;
    assert_eq!(cluster.settled()?.id(), 1);
    cluster.stop()
}

fn every_account_may_log_in(cluster: &Cluster) -> Result<()> {
    for who in Account::ALL {
        assert_eq!(cluster.node(1).sql_as(*who, "select current_user")?, who.user);
    }
    Ok(())
}

fn the_first_primary_alone_waits_for_a_standby(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        let expected = if node.id() == 1 { "ANY 1 (*)" } else { "" };
        assert_eq!(node.sql("bench", "show synchronous_standby_names")?, expected, "n{}", node.id());
    }
    Ok(())
}

fn a_killed_primary_is_replaced(cluster: &Cluster) -> Result<()> {
    cluster.node(1).sql("bench", "create table survivors (id int); insert into survivors values (1)")?;
    let new = kill_n1(cluster)?;
    assert_eq!(new.sql("bench", "select id from survivors")?, "1");
    Ok(())
}

fn kill_n1(cluster: &Cluster) -> Result<&Node> {
    let killed = Instant::now();
    cluster.node(1).kill_9()?;
    let new = eventually(FAILOVER, "a new primary", || cluster.primary().map_err(|e| e.to_string()))?;
    eprintln!("n{} promoted after {:.1} s", new.id(), killed.elapsed().as_secs_f64());
    Ok(new)
}

#[test]
fn a_shared_cluster_is_whole_for_everyone() -> Result<()> {
    shared()?.node(1).kill_9()?;
    let again = shared()?;
    assert_eq!(again.primary()?.id(), 1);
    assert_eq!(again.node(1).sql("bench", "select 1")?, "1");
    Ok(())
}

#[test]
fn a_stopped_server_hangs_and_goes_on() -> Result<()> {
    let cluster = shared()?;
    let node = cluster.node(3);
    node.sigstop()?;
    assert!(node.sql("bench", "select 1").is_err());
    node.cont()?;
    assert_eq!(node.sql("bench", "select 1")?, "1");
    Ok(())
}
