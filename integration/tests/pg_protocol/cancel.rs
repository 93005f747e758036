//! A cancel request stops what it names, and nothing else. Kind: driver.

use integration::{
    Result,
    bed::{Bed, failure, run, value},
};
use tokio_postgres::NoTls;

#[test]
fn a_cancel_request_stops_its_own_clients_statement_alone() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let (one, other) = (bed.client().await?, bed.client().await?);
        let (token, others) = (one.cancel_token(), other.cancel_token());
        let sleeps = tokio::spawn(async move { failure(&one, "select pg_sleep(60)").await });
        let goes_on = tokio::spawn(async move { failure(&other, "select pg_sleep(61)").await });
        bed.running("select pg_sleep(6%", 2)?;
        token.cancel_query(NoTls).await?;
        assert_eq!(sleeps.await.expect("no panic")?, "57014");
        bed.running("select pg_sleep(6%", 1)?;
        assert!(!goes_on.is_finished());
        others.cancel_query(NoTls).await?;
        assert_eq!(goes_on.await.expect("no panic")?, "57014");
        Ok(())
    })
}

#[test]
fn who_waits_for_a_connection_can_be_cancelled_too() -> Result<()> {
    let bed = Bed::with(|options| options.own.pool_size = 1)?;
    run(async {
        let (holder, waiter) = (bed.client().await?, bed.client().await?);
        holder.batch_execute("begin").await?;
        let token = waiter.cancel_token();
        let waits = tokio::spawn(async move { (failure(&waiter, "select 1").await, waiter) });
        bed.metric_reaches("pg_router_pool_waiting", 1.0)?;
        token.cancel_query(NoTls).await?;
        let (failed, waiter) = waits.await.expect("no panic");
        assert_eq!(failed?, "57014");
        holder.batch_execute("commit").await?;
        assert_eq!(value(&waiter, "select 1").await?, "1");
        Ok(())
    })
}

#[test]
fn a_cancel_request_that_comes_too_late_does_nothing() -> Result<()> {
    let bed = Bed::with(|options| options.own.pool_size = 1)?;
    run(async {
        let (one, other) = (bed.client().await?, bed.client().await?);
        value(&one, "select 1").await?;
        other.batch_execute("begin").await?; // on the connection that `one` had a moment ago
        one.cancel_token().cancel_query(NoTls).await?;
        assert_eq!(value(&other, "select 1 from pg_sleep(0.2)").await?, "1");
        other.batch_execute("commit").await?;
        assert_eq!(value(&one, "select 1").await?, "1");
        Ok(())
    })
}
