//! COPY both ways, and how it goes wrong. Kind: driver.

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use integration::{
    Error, Result,
    bed::{Bed, code, run, value},
};
use std::{fmt::Write, fs, pin::pin};

const ROWS: usize = 100_000;

fn rows() -> String {
    (0..ROWS).fold(String::new(), |mut text, n| {
        writeln!(text, "{n}\tname {n}").expect("a String takes everything");
        text
    })
}

#[test]
fn psql_copies_100_000_rows_in_and_out() -> Result<()> {
    let bed = Bed::start()?;
    let dir = tempfile::tempdir()?;
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, rows())?;
    bed.psql(&["-c", "drop table if exists copied; create table copied (id int, name text)"])?;
    bed.psql(&["-c", &format!("\\copy copied from '{}'", from.display())])?;
    bed.psql(&["-c", &format!("\\copy (select * from copied order by id) to '{}'", to.display())])?;
    assert_eq!(fs::read_to_string(&to)?, rows());
    bed.psql(&["-c", "drop table copied"]).map(drop)
}

#[test]
fn tokio_postgres_copies_100_000_rows_in_and_out() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        client.batch_execute("drop table if exists copied; create table copied (id int, name text)").await?;
        assert_eq!(copy_in(&client, rows()).await?, ROWS as u64);
        let out = client.copy_out("copy (select * from copied order by id) to stdout").await?;
        let pieces: Vec<Bytes> = out.try_collect().await?;
        assert!(pieces.concat() == rows().into_bytes(), "{} rows came back", pieces.len());
        client.batch_execute("drop table copied").await?;
        Ok(())
    })
}

async fn copy_in(
    client: &tokio_postgres::Client,
    text: String,
) -> std::result::Result<u64, tokio_postgres::Error> {
    let mut sink = pin!(client.copy_in("copy copied from stdin").await?);
    for piece in text.into_bytes().chunks(8192) {
        sink.send(Bytes::copy_from_slice(piece)).await?;
    }
    sink.finish().await
}

#[test]
fn an_error_in_the_middle_of_a_copy_leaves_the_connection_whole() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        client.batch_execute("drop table if exists copied; create table copied (id int, name text)").await?;
        let broken = rows().replacen("5000\t", "not a number\t", 1);
        let error = copy_in(&client, broken).await.err().ok_or_else(|| Error::new("it was copied"))?;
        assert_eq!(code(&error).as_deref(), Some("22P02"));
        assert_eq!(value(&client, "select count(*) from copied").await?, "0");
        assert_eq!(copy_in(&client, rows()).await?, ROWS as u64);
        client.batch_execute("drop table copied").await?;
        Ok(())
    })
}

#[test]
fn a_copy_that_the_client_gives_up_copies_nothing() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        client.batch_execute("drop table if exists copied; create table copied (id int, name text)").await?;
        {
            let mut sink = pin!(client.copy_in("copy copied from stdin").await?);
            sink.send(Bytes::from(rows())).await?;
        } // dropped: CopyFail
        assert_eq!(value(&client, "select count(*) from copied").await?, "0");
        client.batch_execute("drop table copied").await?;
        Ok(())
    })
}
