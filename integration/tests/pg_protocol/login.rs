//! Who comes in, and what those hear who don't. Kind: driver.

use integration::{
    Result,
    bed::{Bed, SOON, attempt, code, connect, psql, run, value},
    pg::Account,
    wait::eventually,
};

use crate::life::let_in;

/// SQLSTATE and message of a refused login.
async fn refusal(conninfo: &str) -> (String, String) {
    let error = attempt(conninfo).await.expect_err("it is let in");
    let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
    (code(&error).unwrap_or_default(), message)
}

#[test]
fn the_right_password_is_let_in() -> Result<()> {
    let bed = Bed::start()?;
    for who in [Account::BENCH, Account::PRETIX] {
        assert_eq!(psql(&bed.router.conninfo(who), &["-c", "select current_user"])?, who.user);
    }
    Ok(())
}

#[test]
fn a_wrong_password_and_an_unknown_user_hear_the_same() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        for user in ["bench", "nobody"] {
            let who = Account { user, password: Some("wrong"), ..Account::BENCH };
            let expected = format!("password authentication failed for user \"{user}\"");
            assert_eq!(refusal(&bed.router.conninfo(who)).await, ("28P01".into(), expected));
        }
        Ok(())
    })
}

#[test]
fn the_servers_own_refusal_reaches_the_client() -> Result<()> {
    let bed = Bed::start()?;
    bed.psql(&["-c", "select 1"])?; // there is a primary now: without one everybody is let in and waits
    run(async {
        let nowhere = refusal(&bed.conninfo().replace("dbname=bench", "dbname=nowhere")).await;
        assert_eq!(nowhere, ("3D000".into(), "database \"nowhere\" does not exist".into()));
        Ok(())
    })
}

#[test]
fn a_role_that_the_server_does_not_know_is_refused_by_it() -> Result<()> {
    let ghost = Account { user: "ghost", password: Some("boo"), ..Account::BENCH };
    let mut bed = Bed::start()?;
    let_in(&mut bed, ghost)?;
    let failed_there = |log: String| log.contains("Role \"ghost\" does not exist");
    eventually(SOON, "an attempt on the server", || {
        let said = psql(&bed.router.conninfo(ghost), &["-c", "select 1"]).unwrap_err().to_string();
        let log = std::fs::read_to_string(bed.cluster.node(1).log()).map_err(|e| e.to_string())?;
        let refused = said.contains("password authentication failed for user \"ghost\"");
        if refused && failed_there(log) { Ok(()) } else { Err(said) }
    })
}

#[test]
fn a_role_with_an_md5_secret_is_served() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let client = connect(&bed.router.conninfo(Account::MD5)).await?;
        assert_eq!(value(&client, "select current_user").await?, "md5user");
        Ok(())
    })
}

#[test]
fn a_replication_connection_is_refused_in_words() -> Result<()> {
    let bed = Bed::start()?;
    let said = psql(&format!("{} replication=database", bed.conninfo()), &["-c", "IDENTIFY_SYSTEM"]);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("replication connections can't go through the router"), "{said}");
    Ok(())
}
