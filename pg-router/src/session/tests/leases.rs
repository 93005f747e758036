//! When a client has a server, and in which state it finds and leaves it. Kind: pure.

use super::*;

#[test]
fn a_transaction_borrows_a_server_and_gives_it_back() {
    let mut talk = talk();
    talk.client(&query("begin")).server(&done("BEGIN", Status::Transaction));
    assert!(talk.server.is_some());
    talk.client(&query("commit")).server(&done("COMMIT", Status::Idle));
    assert!(talk.server.is_none());
    assert_eq!(talk.heard(), "BEGIN ready:T COMMIT ready:I");
}

#[test]
fn pipelined_requests_are_all_answered_before_the_server_goes_back() {
    let mut talk = talk();
    talk.client(&[extended("select 1"), extended("select 2")].concat());
    talk.server(&done("SELECT 1", Status::Idle));
    assert!(talk.server.is_some());
    talk.server(&done("SELECT 1", Status::Idle));
    assert!(talk.server.is_none());
}

#[test]
fn settings_follow_the_client_and_their_answers_are_swallowed() {
    let mut talk = talk();
    talk.session.vars.set("TimeZone", "Europe/Berlin");
    talk.client(&query("select 1"));
    let set = query("SET TimeZone TO 'Europe/Berlin';");
    assert_eq!(talk.to_server, [set, query("select 1")].concat());
    talk.server(&[done("SET", Status::Idle), done("SELECT 1", Status::Idle)].concat());
    assert_eq!(talk.heard(), "SELECT-1 ready:I");
}

#[test]
fn what_another_client_left_behind_is_discarded() {
    let mut talk = talk();
    let mut used = server();
    used.marked_by = Some(99);
    talk.session.on_client(&query("select 1"), &mut Outbox::default(), None);
    talk.attach(used);
    talk.client(&query("select 1"));
    assert_eq!(talk.to_server, [query("DISCARD ALL"), query("select 1")].concat());
    talk.server(&[done("DISCARD ALL", Status::Idle), done("SELECT 1", Status::Idle)].concat());
    assert_eq!(talk.heard(), "SELECT-1 ready:I");
}

#[test]
fn a_named_statement_pins_its_server() {
    let mut named = Vec::new();
    frame::put(&mut named, b'P', |out| out.extend_from_slice(b"s1\0select 1\0\0\0"));
    let mut talk = talk();
    talk.client(&[named, frontend::SYNC.to_vec()].concat()).server(&done("SELECT 1", Status::Idle));
    assert!(talk.server.is_some());
}

#[test]
fn a_setting_that_the_server_refuses_ends_the_session_aloud() {
    let mut refusal = Vec::new();
    put_error(&mut refusal, &Report::error("22023", "invalid value for parameter \"TimeZone\": \"x\""));
    let mut talk = talk();
    talk.session.vars.set("TimeZone", "x");
    talk.client(&query("select 1")).server(&[refusal, done("SELECT 1", Status::Idle)].concat());
    assert_eq!(talk.heard(), "error:22023");
    assert_eq!(talk.outcome, Then::Close(Ending::Upstream));
}

#[test]
fn a_statement_prepared_behind_discard_all_keeps_its_server() {
    let mut named = Vec::new();
    frame::put(&mut named, b'P', |out| out.extend_from_slice(b"s1\0select 1\0\0\0"));
    named.extend_from_slice(&frontend::SYNC);
    for sql in ["DISCARD ALL", "DEALLOCATE ALL"] {
        let mut talk = talk();
        talk.client(&[query(sql), named.clone()].concat());
        talk.server(&done(sql, Status::Idle)).server(&done("SELECT 1", Status::Idle));
        assert_eq!(talk.server.as_ref().and_then(|server| server.marked_by), Some(1));
    }
}

#[test]
fn a_connection_whose_syncs_are_doubtful_goes_to_nobody_else() {
    let mut copy_in = Vec::new();
    frame::put(&mut copy_in, b'G', |out| out.extend_from_slice(b"\0\0\0"));
    let mut talk = talk();
    talk.client(&query("copy t from stdin")).server(&copy_in).client(&frontend::SYNC);
    assert_eq!(Session::reuse(talk.server.as_ref().unwrap()), Reuse::Discard);
}
