//! What clients of the router notice when the primary dies. Kind: driver.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans guard the routers' workers; a test has tasks of its own"
)]

use integration::{
    Context, Error, Result,
    bed::{Bed, SOON, connect, failure, run, value},
    pg::{Account, Cluster, ClusterOptions},
    router::{self, PgRouterOptions, Router},
    wait::eventually,
};
use std::{fs, path::Path, time::Duration};
use tokio_postgres::Client;

/// repmgrd promotes within 2 s; the machine may be busy.
const FAILOVER: Duration = Duration::from_secs(40);

/// One death of the primary, seen by clients in every state.
#[test]
fn a_killed_primary_disconnects_nobody() -> Result<()> {
    let bed = Bed::start()?;
    bed.direct("drop table if exists marks; create table marks (id int)")?;
    run(async {
        let idle = [bed.client().await?, bed.client().await?, bed.client().await?];
        for client in &idle {
            value(client, "select 1").await?;
        }
        let (between, last_word, silent) = (bed.client().await?, bed.client().await?, bed.client().await?);
        for client in [&between, &last_word, &silent] {
            client.batch_execute("begin; insert into marks values (1)").await?;
        }
        bed.cluster.node(1).kill_9()?;
        newcomers_are_let_in_and_wait(&bed).await?;
        for client in &idle {
            assert_eq!(value(client, "select pg_is_in_recovery()").await?, "f");
        }
        a_lost_transaction_fails_until_it_is_ended(&between).await?;
        assert_eq!(failure(&last_word, "commit").await?, "40001");
        assert_eq!(value(&last_word, "select 1").await?, "1");
        silent.batch_execute("rollback").await.or_else(|e| forgiven(e, "40001"))?;
        assert_eq!(value(&silent, "select count(*) from marks").await?, "1");
        Ok(())
    })
}

/// The first statement waits for the new primary; the login does not.
async fn newcomers_are_let_in_and_wait(bed: &Bed) -> Result<()> {
    let client = bed.client().await?;
    assert!(bed.cluster.primary().is_err(), "the login took as long as the failover");
    let first = value(&client, "select pg_is_in_recovery() from (values (1)) as held(id)").await?;
    assert_eq!(first, "f");
    assert_ne!(bed.cluster.primary()?.id(), 1);
    bed.metric_reaches("pg_router_held_total", 1.0)
}

async fn a_lost_transaction_fails_until_it_is_ended(client: &Client) -> Result<()> {
    assert_eq!(failure(client, "insert into marks values (2)").await?, "40001");
    assert_eq!(failure(client, "insert into marks values (3)").await?, "25P02");
    assert_eq!(failure(client, "select 1").await?, "25P02");
    client.batch_execute("rollback").await?;
    client.batch_execute("begin; insert into marks values (4); commit").await?;
    assert_eq!(value(client, "select string_agg(id::text, ' ') from marks").await?, "4");
    Ok(())
}

fn forgiven(error: tokio_postgres::Error, code: &str) -> Result<()> {
    if integration::bed::code(&error).as_deref() == Some(code) { Ok(()) } else { Err(error.into()) }
}

/// 57P01 before CommandComplete proves that an autocommit statement did not commit: it is executed anew.
#[test]
fn a_statement_that_a_shutdown_ended_is_executed_once() -> Result<()> {
    let bed = Bed::start()?;
    bed.direct("drop table if exists once; create table once (id int)")?;
    run(async {
        let (simple, extended) = (bed.client().await?, bed.client().await?);
        let simple =
            tokio::spawn(
                async move { simple.batch_execute("insert into once select 1 from pg_sleep(3)").await },
            );
        let extended = tokio::spawn(async move {
            extended.query_typed("insert into once select 2 from pg_sleep(3)", &[]).await
        });
        bed.running("insert into once%", 2)?;
        bed.cluster.node(1).stop_fast()?;
        simple.await.expect("no panic").map_err(Error::from).context("the simple protocol")?;
        extended.await.expect("no panic").map_err(Error::from).context("the extended protocol")?;
        let client = bed.client().await?;
        assert_eq!(value(&client, "select string_agg(id::text, ' ' order by id) from once").await?, "1 2");
        assert_eq!(bed.router.metric("pg_router_unknown_outcome_total")?, 0.0);
        bed.metric_reaches("pg_router_replayed_total", 2.0)
    })
}

/// Nobody knows whether it was committed, and the router does not guess.
#[test]
fn a_write_cut_off_without_an_answer_is_called_unknown() -> Result<()> {
    let bed = Bed::start()?;
    bed.direct("drop table if exists unsure; create table unsure (id int)")?;
    run(async {
        let client = bed.client().await?;
        let writes = tokio::spawn(async move {
            (failure(&client, "insert into unsure select 1 from pg_sleep(20)").await, client)
        });
        bed.running("insert into unsure%", 1)?;
        bed.cluster.node(1).kill_9()?;
        let (failed, client) = writes.await.expect("no panic");
        assert_eq!(failed?, "08007");
        assert_eq!(value(&client, "select count(*) from unsure").await?, "0");
        bed.metric_reaches("pg_router_unknown_outcome_total", 1.0)
    })
}

fn options(dir: &Path, hold: &str) -> Result<PgRouterOptions> {
    let mut options = PgRouterOptions::new(&router::binary(router::PG)?);
    options.dir = Some(dir.into());
    options.extra = format!("[hold]\ntimeout = \"{hold}\"\n");
    Ok(options)
}

fn logged(router: &Router, words: &[&str]) -> Result<()> {
    eventually(SOON, "the router's log", || {
        let log = fs::read_to_string(router.log()).map_err(|e| e.to_string())?;
        let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.map(drop).ok_or_else(|| format!("{words:?} not in one line of\n{log}"))
    })
}

/// A returned old primary looks like a primary in every way but its timeline.
#[test]
fn a_restarted_router_refuses_an_old_primary() -> Result<()> {
    let cluster = Cluster::start(&ClusterOptions::default())?;
    let dir = cluster.dir().join("restarted");
    let router = Router::start(&cluster, &options(&dir, "30s")?)?;
    let conninfo = router.conninfo(Account::BENCH);
    run(async { value(&connect(&conninfo).await?, "select 1").await })?;
    cluster.node(1).kill_9()?;
    let new = eventually(FAILOVER, "a new primary", || cluster.primary().map_err(|e| e.to_string()))?.id();
    run(async {
        let client = connect(&conninfo).await?;
        client.batch_execute("create table after_failover (id int)").await?;
        Ok(())
    })?;
    // Written once the new primary is confirmed, and served only then.
    assert_eq!(router.stop()?, Some(0));
    [2, 3].into_iter().try_for_each(|id| cluster.repmgrd(id).stop())?;
    [new, 5 - new].into_iter().try_for_each(|id| cluster.node(id).stop_fast())?;
    cluster.node(1).start()?;
    let router = Router::start(&cluster, &options(&dir, "1s")?)?;
    let conninfo = router.conninfo(Account::BENCH);
    run(async {
        let client = connect(&conninfo).await?;
        assert_eq!(failure(&client, "insert into after_failover values (1)").await?, "57P03");
        Ok(())
    })?;
    logged(&router, &["older timeline", "topology.json", "--forget-epoch"])
}

#[test]
fn without_any_server_a_client_hears_so_in_time_and_stays() -> Result<()> {
    let cluster = Cluster::start(&ClusterOptions { repmgrd: None, ..ClusterOptions::default() })?;
    let dir = cluster.dir().join("alone");
    let router = Router::start(&cluster, &options(&dir, "1s")?)?;
    let conninfo = router.conninfo(Account::BENCH);
    run(async {
        let client = connect(&conninfo).await?;
        value(&client, "select 1").await?;
        cluster.nodes().iter().try_for_each(|node| node.kill_9())?;
        assert_eq!(failure(&client, "select 1").await?, "57P03");
        assert_eq!(extended_failure(&client).await?, "57P03");
        let late = connect(&conninfo).await?;
        assert_eq!(failure(&late, "select 1").await?, "57P03");
        cluster.nodes().iter().try_for_each(|node| node.start())?;
        for client in [&client, &late] {
            integration::wait::eventually_async(FAILOVER, "the primary's return", async || {
                value(client, "select 1").await.map_err(|e| e.to_string())
            })
            .await?;
        }
        Ok(())
    })
}

async fn extended_failure(client: &Client) -> Result<String> {
    let error =
        client.query_typed("select 1", &[]).await.err().ok_or_else(|| Error::new("it was answered"))?;
    integration::bed::code(&error).ok_or_else(|| error.into())
}
