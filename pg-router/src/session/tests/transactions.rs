//! What becomes of transactions, and of their commits, whose server is lost. Kind: pure.

use super::*;

#[test]
fn a_transaction_that_dies_idle_is_told_at_its_next_statement() {
    let mut talk = in_transaction();
    talk.lose(0);
    assert_eq!(talk.heard(), "");
    assert_eq!(talk.client(&query(INSERT)).heard(), "error:40001 ready:E");
    assert_eq!(talk.client(&query(INSERT)).heard(), "error:25P02 ready:E");
    assert_eq!(talk.client(&query("rollback")).heard(), "ROLLBACK ready:I");
}

#[test]
fn a_first_commit_of_a_lost_transaction_fails_aloud() {
    for request in [query("COMMIT"), extended("COMMIT")] {
        let mut talk = in_transaction();
        talk.lose(0).client(&request);
        assert!(talk.heard().ends_with("error:40001 ready:I"));
        assert!(talk.session.at_boundary());
    }
}

#[test]
fn a_statement_in_flight_inside_a_transaction_is_answered_by_an_abort() {
    for request in [query(INSERT), extended(INSERT)] {
        let mut talk = in_transaction();
        talk.client(&request).lose(0);
        assert_eq!(talk.heard(), "error:40001 ready:E");
        assert!(talk.client(&extended("ROLLBACK")).heard().ends_with("ROLLBACK ready:I"));
    }
}

#[test]
fn a_commit_in_flight_has_an_unknown_outcome() {
    let mut talk = in_transaction();
    talk.client(&query("COMMIT")).lose(0);
    assert_eq!(talk.heard(), "error:08007 ready:I");
}

#[test]
fn half_an_answer_is_ended_by_an_error() {
    let mut rows = Vec::new();
    frame::put(&mut rows, b'D', |out| out.extend_from_slice(b"\0\0"));
    let mut talk = in_transaction();
    talk.client(&query("select 1")).server(&rows).lose(0);
    assert_eq!(talk.heard(), "D error:40001 ready:E");
}

/// An extended COMMIT is executed at Execute; Sync has no part in it.
fn without_sync(sqls: &[&str]) -> Vec<u8> {
    sqls.iter()
        .flat_map(|sql| {
            let all = extended(sql);
            all[..all.len() - 5].to_vec()
        })
        .collect()
}

#[test]
fn a_commit_that_was_executed_before_its_sync_is_unknown() {
    let mut talk = in_transaction();
    talk.client(&without_sync(&["commit"])).lose(0);
    assert_eq!(talk.heard(), "error:08007");
    talk.client(&frontend::SYNC);
    assert_eq!(talk.heard(), "ready:I");
}

#[test]
fn a_commit_whose_sync_alone_was_not_sent_is_unknown() {
    let mut talk = in_transaction();
    talk.client(&extended("commit")).lose(5);
    assert_eq!(talk.heard(), "error:08007 ready:I");
}

#[test]
fn a_commit_that_was_acknowledged_is_never_called_rolled_back() {
    let mut talk = in_transaction();
    let mut answer = Vec::new();
    crate::wire::backend::put_command_complete(&mut answer, "COMMIT");
    answer.extend(fatal("57P01"));
    talk.client(&extended("commit")).server(&answer);
    assert_eq!(talk.heard(), "COMMIT error:08007 ready:I");
}

#[test]
fn a_pipeline_that_commits_in_the_middle_is_not_run_again() {
    let mut talk = talk();
    talk.client(&without_sync(&["begin", INSERT, "commit"])).lose(0);
    assert!(talk.to_server.is_empty(), "run again");
}

#[test]
fn a_commit_behind_the_statement_in_flight_has_an_unknown_outcome() {
    let mut talk = in_transaction();
    talk.client(&[query(INSERT), query("COMMIT")].concat()).lose(0);
    assert_eq!(talk.heard(), "error:08007 ready:I error:08007 ready:I");
}

#[test]
fn an_insert_behind_the_rollback_of_a_failed_transaction_is_not_run_twice() {
    let mut talk = in_transaction();
    talk.client(&query("x")).server(&done("", Status::Failed)).heard();
    talk.client(&[query("ROLLBACK"), query(INSERT)].concat()).lose(0);
    assert_eq!(talk.heard(), "error:08007 ready:I error:08007 ready:I");
}

#[test]
fn a_commit_by_extended_messages_takes_effect_before_their_sync() {
    let unsynced = |sql: &str| {
        let bytes = extended(sql);
        bytes[..bytes.len() - frontend::SYNC.len()].to_vec()
    };
    let block = [unsynced("BEGIN"), unsynced(INSERT), unsynced("COMMIT")].concat();
    for (mut talk, request) in [(in_transaction(), unsynced("COMMIT")), (talk(), block)] {
        talk.client(&request).lose(0);
        assert_eq!(talk.heard(), "error:08007");
        assert_eq!(talk.client(&frontend::SYNC).heard(), "ready:I");
    }
    let mut talk = talk();
    talk.client(&unsynced(INSERT)).lose(0);
    assert_eq!(talk.to_server, unsynced(INSERT));
}

#[test]
fn what_a_lost_transaction_has_set_is_undone() {
    let mut set = Vec::new();
    crate::wire::backend::put_parameter_status(&mut set, "TimeZone", "Asia/Tokyo");
    let mut talk = in_transaction();
    talk.client(&query("set local timezone to 'Asia/Tokyo'"));
    talk.server(&[set, done("SET", Status::Transaction)].concat()).heard();
    talk.lose(0);
    assert_eq!(talk.heard(), "S");
    talk.client(&query("rollback")).heard();
    talk.client(&query("select 1"));
    assert_eq!(talk.to_server, query("select 1"));
}
