//! Both query protocols, pipelining, and rows that no buffer holds. Kind: driver.

use futures_util::future::try_join_all;
use integration::{
    Result,
    bed::{Bed, failure, run, value},
};

#[test]
fn psql_works() -> Result<()> {
    let bed = Bed::start()?;
    assert!(bed.psql(&["-c", "\\conninfo"])?.contains("as user \"bench\""));
    assert_eq!(bed.psql(&["-c", "select 1; select 2"])?, "1\n2");
    assert_eq!(bed.psql(&["-c", "\\d"])?, bed.psql(&["-c", "\\d"])?);
    let said = bed.psql(&["-c", "select 1 / 0"]).unwrap_err().to_string();
    assert!(said.contains("division by zero"), "{said}");
    Ok(())
}

#[test]
fn an_error_in_a_transaction_is_postgres_own() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        client.batch_execute("begin").await?;
        assert_eq!(failure(&client, "select 1 / 0").await?, "22012");
        assert_eq!(failure(&client, "select 1").await?, "25P02");
        client.batch_execute("rollback").await?;
        assert_eq!(value(&client, "select 1").await?, "1");
        Ok(())
    })
}

#[test]
fn five_hundred_queries_in_flight_on_one_connection_are_answered_in_order() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        let statement = client.prepare("select $1::int * 7").await?;
        let numbers: Vec<i32> = (0..500).collect();
        let rows =
            try_join_all(numbers.iter().map(async |n| client.query_one(&statement, &[n]).await)).await?;
        let answers: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(answers, numbers.iter().map(|n| n * 7).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn an_error_in_a_pipeline_is_its_own_statements_alone() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        let sql = |n: i32| if n % 10 == 0 { "select 1 / 0".to_owned() } else { format!("select {n}") };
        let texts: Vec<String> = (0..100).map(sql).collect();
        let answers = futures_util::future::join_all(texts.iter().map(|sql| client.simple_query(sql))).await;
        let failed: Vec<usize> = (0..100).filter(|n| answers[*n].is_err()).collect();
        assert_eq!(failed, (0..100).step_by(10).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn a_row_of_64_mib_goes_both_ways_in_bounded_memory() -> Result<()> {
    const MIB: usize = 1 << 20;
    let bed = Bed::start()?;
    run(async {
        let client = bed.client().await?;
        client.batch_execute("drop table if exists big; create table big (data bytea)").await?;
        client.batch_execute("alter table big alter data set storage external").await?;
        let there_and_back = async |data: Vec<u8>| -> Result<()> {
            client.execute("insert into big values ($1)", &[&data]).await?;
            let back: Vec<u8> = client.query_one("select data from big", &[]).await?.get(0);
            assert!(back == data, "{} bytes went, {} came", data.len(), back.len());
            client.batch_execute("truncate big").await?;
            Ok(())
        };
        there_and_back(vec![1; MIB]).await?;
        let before = bed.memory("VmRSS")?;
        there_and_back((0..64 * MIB).map(|n| (n % 251) as u8).collect()).await?;
        let grown = bed.memory("VmHWM")?.saturating_sub(before);
        assert!(grown < 6 * 1024, "{grown} KiB more than the {before} KiB before");
        client.batch_execute("drop table big").await?;
        Ok(())
    })
}
