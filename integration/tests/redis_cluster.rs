//! The real Redis cluster does what the tests and drills of the router stand on. Kind: driver.

use integration::{
    Result,
    redis::{Account, Client, Cluster, ClusterOptions, Role, Value},
    wait::eventually,
};
use std::time::Duration;

const FAILOVER: Duration = Duration::from_secs(20);

/// Everything in one life of one cluster: each step stands on the one before.
#[test]
fn a_cluster_survives_crash_return_and_switchover() -> Result<()> {
    let cluster = Cluster::start(&ClusterOptions::default())?;
    every_account_may_log_in(&cluster)?;
    cluster.node(1).kill_9()?;
    cluster.promoted(1, FAILOVER)?;
    a_returned_master_calls_itself_master_until_sentinel_tells_it(&cluster)?;
    // Not necessarily the one that was promoted: where a busy machine holds it up for a second, Sentinel replaces it.
    let second = cluster.settled()?;
    cluster.failover(second)?;
    assert_ne!(cluster.settled()?.id(), second.id());
    cluster.stop()
}

fn every_account_may_log_in(cluster: &Cluster) -> Result<()> {
    for who in [Account::DEFAULT, Account::APP] {
        let mut client = Client::login(cluster.node(1).addr(), who)?;
        assert_eq!(client.call(&["ACL", "WHOAMI"])?.text(), Some(who.user));
    }
    let nobody = Client::connect(cluster.node(1).addr())?.ask(&["GET", "k"])?;
    assert!(nobody.error().is_some_and(|text| text.starts_with("NOAUTH")), "{nobody}");
    Ok(())
}

fn a_returned_master_calls_itself_master_until_sentinel_tells_it(cluster: &Cluster) -> Result<()> {
    let old = cluster.node(1);
    old.start()?;
    assert!(matches!(old.role()?, Role::Master { .. }));
    assert_eq!(old.call(&["SET", "k", "written to nobody"])?, Value::Simple("OK".into()));
    eventually(Duration::from_secs(30), "its demotion", || match old.role() {
        Ok(Role::Replica { connected: true, .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    assert_eq!(old.call(&["GET", "k"])?, Value::Null);
    Ok(())
}

#[test]
fn two_sentinels_with_tls_beside_the_plain_ports() -> Result<()> {
    let cluster = Cluster::start(&ClusterOptions { sentinels: 2, tls: true, ..ClusterOptions::default() })?;
    let tls = cluster.node(1).tls_addr().expect("it was asked for").to_string();
    let (host, port) = tls.split_once(':').expect("an address with a port");
    let ca = cluster.ca().to_string_lossy().into_owned();
    let login = ["--user", Account::APP.user, "--pass", Account::APP.password, "--no-auth-warning"];
    let cli =
        integration::process::Spec::new("redis-cli").args(["-h", host, "-p", port, "--tls", "--cacert", &ca]);
    assert_eq!(cli.args(login).args(["PING"]).output(FAILOVER)?.trim(), "PONG");
    cluster.sentinel(1).kill_9()?;
    let (master, _) = cluster.failover(cluster.node(1))?;
    assert_ne!(master.id(), 1);
    Ok(())
}
