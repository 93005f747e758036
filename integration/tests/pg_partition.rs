//! A cluster whose nodes have addresses of their own can be cut apart and healed. Root only, as namespaces are; for
//! anyone else the refusal is all there is to see. Kind: driver.

use integration::{
    Result,
    direct::{Seen, Watcher},
    netns::Place,
    pg::{Cluster, ClusterOptions},
    wait::eventually,
};
use std::time::{Duration, Instant};

#[test]
fn a_primary_cut_from_its_standbys_is_replaced_and_returns() -> Result<()> {
    let options = ClusterOptions { namespaces: true, ..ClusterOptions::default() };
    if !rustix::process::geteuid().is_root() {
        assert_eq!(Cluster::start(&options).unwrap_err().code(), 2);
        return Ok(());
    }
    let cluster = Cluster::start(&options)?;
    let watcher = Watcher::start(&cluster)?;
    let cut = Instant::now();
    isolate_n1(&cluster)?;
    let new = eventually(Duration::from_secs(60), "a second primary", || {
        watcher.promoted(cut, 1).ok_or_else(|| format!("{:?}", watcher.changes()))
    })?;
    followed(&cluster, new.node)?;
    assert!(watcher.down(cut, 1).is_none(), "the witness was cut off as well");
    heal_n1(&cluster)?;
    cluster.rejoin(1)?;
    assert_ne!(cluster.settled()?.id(), 1);
    cluster.switchover_to(1)?;
    assert_eq!(cluster.settled()?.id(), 1);
    assert!(watcher.first(cut, |change| change.node == 1 && change.seen == Seen::Standby).is_some());
    Ok(())
}

fn isolate_n1(cluster: &Cluster) -> Result<()> {
    let net = cluster.net().expect("it was asked for");
    [2, 3].into_iter().try_for_each(|id| net.cut(Place::Node(1), Place::Node(id)))
}

fn heal_n1(cluster: &Cluster) -> Result<()> {
    let net = cluster.net().expect("it was asked for");
    [2, 3].into_iter().try_for_each(|id| net.heal(Place::Node(1), Place::Node(id)))
}

/// Healed any earlier, the third node would stay with the old primary: its repmgrd sees that one again.
fn followed(cluster: &Cluster, primary: usize) -> Result<()> {
    let streaming = "select count(*) from pg_stat_replication where state = 'streaming'";
    eventually(Duration::from_secs(30), "the third node to follow", || {
        let count = cluster.node(primary).sql("repmgr", streaming).map_err(|e| e.to_string())?;
        if count == "1" { Ok(()) } else { Err(format!("{count} stream from n{primary}")) }
    })
}
