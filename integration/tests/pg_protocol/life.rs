//! The router changes and ends while clients work. Kind: driver.

use integration::{
    Error, Result,
    bed::{Bed, SOON, attempt, code, connect, run, value},
    pg::Account,
    wait::{eventually, eventually_async},
};
use rustix::process::Signal;
use std::{fs, thread};
use tokio_postgres::Client;

/// Adds an account to the users' file and asks for a reload.
pub(crate) fn let_in(bed: &mut Bed, who: Account) -> Result<()> {
    let list = bed.router.dir().join("userlist.txt");
    let known = fs::read_to_string(&list)?;
    fs::write(&list, format!("{known}\"{}\" \"{}\"\n", who.user, who.password.unwrap_or_default()))?;
    bed.router.signal(Signal::HUP)
}

/// A reload takes its time, but not long.
pub(crate) async fn eventually_connects(bed: &Bed, who: Account) -> Result<Client> {
    let conninfo = bed.router.conninfo(who);
    eventually_async(SOON, "a login", async || connect(&conninfo).await.map_err(|e| e.to_string())).await
}

#[test]
fn a_reload_adds_a_user_and_drops_nobody() -> Result<()> {
    let late = Account { user: "late", password: Some("latepw"), ..Account::BENCH };
    let mut bed = Bed::start()?;
    bed.cluster
        .primary()?
        .sql("bench", "drop role if exists late; create role late login password 'latepw'")?;
    run(async {
        let (idle, busy) = (bed.client().await?, bed.client().await?);
        busy.batch_execute("begin").await?;
        let before = value(&busy, "select txid_current()").await?;
        assert!(attempt(&bed.router.conninfo(late)).await.is_err());
        let_in(&mut bed, late)?;
        let client = eventually_connects(&bed, late).await?;
        assert_eq!(value(&client, "select current_user").await?, "late");
        assert_eq!(value(&idle, "select 1").await?, "1");
        assert_eq!(value(&busy, "select txid_current()").await?, before);
        Ok(())
    })
}

#[test]
fn a_drain_lets_transactions_end_and_exits_with_0() -> Result<()> {
    let Bed { mut router, cluster } = Bed::start()?;
    let conninfo = router.conninfo(Account::BENCH);
    cluster
        .primary()?
        .sql_as(Account::BENCH, "drop table if exists drained; create table drained (id int)")?;
    run(async {
        let (idle, idle_end) = watched(&conninfo).await?;
        let (busy, busy_end) = watched(&conninfo).await?;
        assert_eq!(value(&idle, "select 1").await?, "1");
        busy.batch_execute("begin; insert into drained values (1)").await?;
        router.signal(Signal::TERM)?;
        assert_eq!(idle_end.await.map_err(|e| Error::new(e.to_string()))?.as_deref(), Some("57P01"));
        busy.batch_execute("insert into drained values (2)").await?;
        busy.batch_execute("commit").await?;
        assert_eq!(busy_end.await.map_err(|e| Error::new(e.to_string()))?.as_deref(), Some("57P01"));
        let code = thread::spawn(move || router.stop()).join().expect("stop returns its errors")?;
        assert_eq!(code, Some(0));
        Ok(())
    })?;
    assert_eq!(cluster.primary()?.sql_as(Account::BENCH, "select count(*) from drained")?, "2");
    Ok(())
}

/// A client, and the SQLSTATE with which its connection is ended from the other side.
async fn watched(conninfo: &str) -> Result<(Client, tokio::task::JoinHandle<Option<String>>)> {
    let (client, connection) = tokio_postgres::connect(conninfo, tokio_postgres::NoTls).await?;
    let end = tokio::spawn(async move { connection.await.err().as_ref().and_then(code) });
    Ok((client, end))
}

#[test]
fn a_drained_router_is_gone_for_newcomers() -> Result<()> {
    let mut bed = Bed::start()?;
    run(async {
        let busy = bed.client().await?;
        busy.batch_execute("begin").await?;
        bed.router.signal(Signal::TERM)?;
        let conninfo = bed.conninfo();
        eventually_async(SOON, "a refusal", async || match attempt(&conninfo).await {
            Ok(_) => Err("it still lets clients in".to_owned()),
            Err(_) => Ok(()),
        })
        .await?;
        busy.batch_execute("commit").await?;
        eventually(SOON, "its end", || if bed.router.alive() { Err("it runs".into()) } else { Ok(()) })
    })
}
