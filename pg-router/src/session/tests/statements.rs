//! What becomes of statements outside of transactions whose server is lost. Kind: pure.

use super::*;

#[test]
fn a_client_that_is_idle_does_not_notice_that_a_server_dies() {
    let mut talk = talk();
    talk.client(&query(INSERT)).server(&done("INSERT 0 1", Status::Idle));
    assert_eq!(talk.heard(), "INSERT-0-1 ready:I");
    assert!(talk.server.is_none());
}

#[test]
fn an_autocommit_write_without_an_answer_has_an_unknown_outcome() {
    let mut talk = talk();
    talk.client(&query(INSERT)).lose(0);
    assert_eq!(talk.heard(), "error:08007 ready:I");
    assert_eq!(talk.session.tally.unknown_outcome.get(), 1);
}

#[test]
fn a_write_that_an_administrator_ended_is_run_again() {
    for request in [query(INSERT), extended(INSERT)] {
        let mut talk = talk();
        talk.client(&request).server(&fatal("57P01"));
        assert_eq!(talk.to_server, request);
        talk.server(&done("INSERT 0 1", Status::Idle));
        assert_eq!(talk.heard(), "INSERT-0-1 ready:I");
        assert_eq!(talk.session.tally.replayed.get(), 1);
    }
}

#[test]
fn the_beginning_of_an_answer_that_came_with_the_last_words_is_withdrawn() {
    let prelude = [crate::wire::backend::PARSE_COMPLETE, crate::wire::backend::BIND_COMPLETE].concat();
    let mut talk = talk();
    talk.client(&extended(INSERT)).server(&[prelude.clone(), fatal("57P01")].concat());
    assert_eq!(talk.to_server, extended(INSERT));
    talk.server(&[prelude, done("INSERT 0 1", Status::Idle)].concat());
    assert_eq!(talk.heard(), "1 2 INSERT-0-1 ready:I");
}

#[test]
fn what_the_client_has_heard_is_not_withdrawn() {
    let mut talk = talk();
    talk.client(&extended(INSERT)).server(&crate::wire::backend::PARSE_COMPLETE).server(&fatal("57P01"));
    assert_eq!(talk.heard(), "1 error:40001 ready:I");
}

#[test]
fn a_statement_is_run_again_twice_and_no_more() {
    let mut talk = talk();
    talk.client(&query(INSERT)).server(&fatal("57P01")).server(&fatal("57P01")).server(&fatal("57P01"));
    assert_eq!(talk.heard(), "error:40001 ready:I");
}

#[test]
fn a_read_is_run_again_without_any_proof() {
    let mut talk = talk();
    talk.client(&query("select 1")).lose(0);
    assert_eq!(talk.to_server, query("select 1"));
    assert_eq!(talk.heard(), "");
}

#[test]
fn what_never_left_us_is_run_again() {
    let mut talk = talk();
    talk.client(&query(INSERT)).lose(3);
    assert_eq!(talk.to_server, query(INSERT));
}

#[test]
fn the_warning_of_a_wait_for_a_standby_proves_nothing() {
    let mut notice = Vec::new();
    let report = Report {
        severity: crate::wire::error::Severity::Warning,
        ..Report::fatal("57P01", "canceling the wait")
    };
    crate::wire::error::put_notice(&mut notice, &report);
    let mut talk = talk();
    talk.client(&query(INSERT)).server(&notice).lose(0);
    assert_eq!(talk.heard(), "N error:08007 ready:I");
}

#[test]
fn a_request_that_finds_no_server_is_answered_and_the_client_stays() {
    for request in [query(INSERT), extended(INSERT)] {
        let mut talk = talk();
        let mut client = Outbox::default();
        talk.session.on_refusal(&Refusal::NoUpstream, &mut client);
        talk.client(&request);
        assert_eq!(talk.heard(), "error:57P03 ready:I");
        assert!(talk.session.at_boundary());
    }
}

#[test]
fn a_procedure_may_have_committed_in_between() {
    let mut talk = talk();
    talk.client(&query("call sell()")).server(&fatal("57P01"));
    assert!(talk.to_server.is_empty(), "run again");
    assert_eq!(talk.heard(), "error:08007 ready:I");
}

/// Half of a row that is larger than one read.
fn half_a_row() -> Vec<u8> {
    let mut row = Vec::new();
    frame::put(&mut row, b'D', |out| out.extend_from_slice(&[7; 1000]));
    row.truncate(500);
    row
}

#[test]
fn nothing_of_ours_is_put_into_half_a_message_of_the_server() {
    for mut talk in [in_transaction(), talk()] {
        talk.client(&query("select 1")).server(&half_a_row()).lose(0);
        assert_eq!(talk.to_client, half_a_row());
        assert_eq!(talk.outcome, Then::Close(Ending::Upstream));
    }
}
