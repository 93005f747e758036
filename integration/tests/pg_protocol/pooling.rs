//! Few server connections for many clients: what goes along with a client, and what never reaches another.
//! Kind: driver.

use integration::{
    Result,
    bed::{Bed, connect, failure, run, value},
};
use tokio_postgres::Client;

fn alone() -> Result<Bed> {
    Bed::with(|options| options.own.pool_size = 1)
}

fn session() -> Result<Bed> {
    Bed::with(|options| (options.own.pool_size, options.own.mode) = (1, "session"))
}

async fn both(bed: &Bed) -> Result<(Client, Client)> {
    Ok((bed.client().await?, bed.client().await?))
}

async fn check(client: &Client, expected: &[(&str, &str)]) -> Result<()> {
    for (name, expected) in expected {
        assert_eq!(value(client, &format!("show {name}")).await?, *expected, "{name}");
    }
    Ok(())
}

#[test]
fn reported_settings_follow_their_client() -> Result<()> {
    let bed = alone()?;
    run(async {
        let (one, two) = both(&bed).await?;
        one.batch_execute("set timezone = 'Asia/Tokyo'; set application_name = 'o''ne'").await?;
        two.batch_execute("set client_encoding = 'LATIN1'; set datestyle = 'German'").await?;
        for _ in 0..3 {
            let ones =
                [("timezone", "Asia/Tokyo"), ("application_name", "o'ne"), ("client_encoding", "UTF8")];
            check(&one, &ones).await?;
            check(&one, &[("datestyle", "ISO, MDY")]).await?;
            let twos = [("timezone", "UTC"), ("application_name", ""), ("client_encoding", "LATIN1")];
            check(&two, &twos).await?;
            check(&two, &[("datestyle", "German, DMY")]).await?;
        }
        assert_eq!(value(&one, "select length('ü')").await?, "1");
        Ok(())
    })
}

#[test]
fn a_setting_that_is_rolled_back_does_not_follow() -> Result<()> {
    let bed = alone()?;
    run(async {
        let (one, two) = both(&bed).await?;
        one.batch_execute("begin; set timezone = 'Asia/Tokyo'; rollback").await?;
        two.batch_execute("set timezone = 'Europe/Berlin'").await?;
        check(&one, &[("timezone", "UTC")]).await?;
        check(&two, &[("timezone", "Europe/Berlin")]).await
    })
}

#[test]
fn settings_at_login_follow_too() -> Result<()> {
    let bed = alone()?;
    run(async {
        let named = connect(&format!("{} application_name=shop", bed.conninfo())).await?;
        let other = bed.client().await?;
        check(&other, &[("application_name", "")]).await?;
        check(&named, &[("application_name", "shop")]).await
    })
}

#[test]
fn an_unreported_setting_never_reaches_another_client() -> Result<()> {
    let bed = alone()?;
    bed.cluster.primary()?.sql("bench", "grant md5user to bench")?;
    run(async {
        let (one, two) = both(&bed).await?;
        let sets = ["set statement_timeout = 1234", "set role md5user", "set search_path = nowhere"];
        for set in sets {
            one.batch_execute(set).await?;
            check(&two, &[("statement_timeout", "0"), ("search_path", "\"$user\", public")]).await?;
            assert_eq!(value(&two, "select current_user").await?, "bench", "{set}");
        }
        one.simple_query("select set_config('statement_timeout', '0', false)").await?;
        Ok(())
    })
}

#[test]
fn temporary_tables_and_listeners_never_reach_another_client() -> Result<()> {
    let bed = alone()?;
    run(async {
        let (one, two) = both(&bed).await?;
        one.batch_execute("create temp table mine (id int)").await?;
        assert_eq!(value(&two, "select to_regclass('mine') is null").await?, "t");
        one.batch_execute("listen news").await?;
        assert_eq!(value(&two, "select count(*) from pg_listening_channels()").await?, "0");
        Ok(())
    })
}

#[test]
fn options_at_login_hold() -> Result<()> {
    let bed = alone()?;
    run(async {
        let strict = connect(&format!("{} options='-c statement_timeout=4321'", bed.conninfo())).await?;
        let plain = bed.client().await?;
        for _ in 0..2 {
            check(&strict, &[("statement_timeout", "4321ms")]).await?;
            check(&plain, &[("statement_timeout", "0")]).await?;
        }
        Ok(())
    })
}

#[test]
fn twenty_clients_share_two_connections() -> Result<()> {
    let bed = Bed::with(|options| options.own.pool_size = 2)?;
    run(async {
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(bed.client().await?);
        }
        let pids = clients.iter().map(|client| value(client, "select pg_backend_pid() from pg_sleep(0.01)"));
        let mut pids = futures_util::future::try_join_all(pids).await?;
        pids.sort();
        pids.dedup();
        assert_eq!(pids.len(), 2, "{pids:?}");
        Ok(())
    })
}

#[test]
fn session_mode_keeps_what_a_session_has() -> Result<()> {
    let bed = session()?;
    run(async {
        let client = bed.client().await?;
        client.batch_execute("create temp table mine (id int); set statement_timeout = 1234").await?;
        client.batch_execute("prepare seven as select 7").await?;
        value(&client, "select pg_advisory_lock(7)").await?;
        assert_eq!(value(&client, "select count(*) from mine").await?, "0");
        assert_eq!(value(&client, "execute seven").await?, "7");
        check(&client, &[("statement_timeout", "1234ms")]).await
    })
}

#[test]
fn session_mode_hands_a_clean_connection_to_the_next() -> Result<()> {
    let bed = session()?;
    run(async {
        let first = bed.client().await?;
        first.batch_execute("create temp table mine (id int); set statement_timeout = 1234").await?;
        value(&first, "select pg_advisory_lock(7)").await?;
        drop(first);
        let next = bed.client().await?;
        check(&next, &[("statement_timeout", "0")]).await?;
        assert_eq!(value(&next, "select to_regclass('mine') is null").await?, "t");
        let locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
        assert_eq!(value(&next, locks).await?, "0");
        Ok(())
    })
}

#[test]
fn who_waits_too_long_hears_so_and_may_try_again() -> Result<()> {
    let bed = Bed::with(|options| {
        options.own.pool_size = 1;
        options.env.push(("PG_ROUTER_POOL__WAIT_TIMEOUT", "300ms".into()));
    })?;
    run(async {
        let (holder, waiter) = both(&bed).await?;
        holder.batch_execute("begin").await?;
        assert_eq!(failure(&waiter, "select 1").await?, "53300");
        assert_eq!(
            waiter.query("select 1", &[]).await.err().as_ref().and_then(integration::bed::code),
            Some("53300".into())
        );
        holder.batch_execute("commit").await?;
        assert_eq!(value(&waiter, "select 1").await?, "1");
        Ok(())
    })
}

#[test]
fn a_client_that_vanishes_in_a_transaction_leaves_nothing_behind() -> Result<()> {
    let bed = alone()?;
    run(async {
        let (gone, next) = both(&bed).await?;
        next.batch_execute("drop table if exists left_behind; create table left_behind (id int)").await?;
        gone.batch_execute("begin; insert into left_behind values (1)").await?;
        drop(gone);
        assert_eq!(value(&next, "select count(*) from left_behind").await?, "0");
        next.batch_execute("drop table left_behind").await?;
        Ok(())
    })
}
