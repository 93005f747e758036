//! Clients in Python, each a script in `integration/clients`. Kind: driver.

use integration::{Result, bed::Bed, pg::Account, python, router::PgRouterOptions};

fn through(script: &str, edit: impl FnOnce(&mut PgRouterOptions)) -> Result<()> {
    let bed = Bed::with(edit)?;
    python::run(script, &[&bed.conninfo()]).map(drop)
}

#[test]
fn psycopg2_works_in_transaction_mode() -> Result<()> {
    through("psycopg2_basics", |_| {})
}

#[test]
fn psycopg_3_pipelines() -> Result<()> {
    through("psycopg3_pipeline", |_| {})
}

#[test]
fn psycopg_3_copies_and_survives_errors_in_it() -> Result<()> {
    through("psycopg3_copy", |_| {})
}

#[test]
fn psycopg_3_cancels_and_a_wrong_key_does_nothing() -> Result<()> {
    through("psycopg3_cancel", |_| {})
}

#[test]
fn statements_prepared_by_name_work_in_transaction_mode() -> Result<()> {
    through("psycopg3_prepared", |options| options.own.pool_size = 2)
}

#[test]
fn django_works_in_transaction_mode() -> Result<()> {
    let bed = Bed::with(|options| options.own.pool_size = 2)?;
    let (addr, who) = (bed.router.addr(), Account::PRETIX);
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    for driver in ["psycopg", "psycopg2"] {
        let login = [who.user, who.password.unwrap_or_default(), who.database];
        python::run("django_orm", &[&[&ip[..], &port][..], &login, &[driver]].concat())?;
    }
    Ok(())
}
