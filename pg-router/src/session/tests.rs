//! Conversations: what the client says (`C`), what goes to the server (`S`), what comes back. Kind: pure.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use proxy_core::upstream::{Endpoint, Rules};

use super::*;
use crate::wire::frame;

/// A client, the session, and a server that says what the test wants.
struct Talk {
    session: Session,
    server: Option<Server>,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    kept: Vec<u8>,
    /// What the server has said and the session has not used.
    half: Vec<u8>,
    outcome: Then,
}

fn server() -> Server {
    let addr = "127.0.0.1:5432".parse().unwrap();
    let endpoint = Arc::new(Endpoint::new(addr, 1, Arc::new(Rules::default()), Instant::now()));
    Server::new(Vars::collect([("TimeZone", "UTC")]), CancelTarget::new(endpoint, 7, Box::from(*b"abcd")))
}

fn talk() -> Talk {
    let vars = Vars::collect([("TimeZone", "UTC")]);
    let session = Session::new(1, Mode::Transaction, vars, Rc::default(), Rc::default());
    Talk {
        session,
        server: None,
        to_client: Vec::new(),
        to_server: Vec::new(),
        kept: Vec::new(),
        half: Vec::new(),
        outcome: Then::More,
    }
}

impl Talk {
    /// The client sends `bytes`; leases are given at once.
    fn client(&mut self, bytes: &[u8]) -> &mut Self {
        self.kept.extend_from_slice(bytes);
        loop {
            let input = std::mem::take(&mut self.kept);
            let (mut client, mut server_box) = (Outbox::default(), Outbox::default());
            let port = self.server.as_mut().map(|state| Port { state, outbox: &mut server_box });
            let step = self.session.on_client(&input, &mut client, port);
            self.to_client.extend_from_slice(client.rest());
            self.to_server.extend_from_slice(server_box.rest());
            self.to_server.extend_from_slice(&input[..step.forward]);
            self.kept = input[step.forward + step.skip..].to_vec();
            match step.then {
                Then::Again => {}
                Then::Attach => self.attach(server()),
                Then::Detach(_) => self.server = None,
                then => {
                    self.outcome = then;
                    return self;
                }
            }
        }
    }

    fn attach(&mut self, mut state: Server) {
        let mut outbox = Outbox::default();
        self.session.on_lease(Port { state: &mut state, outbox: &mut outbox });
        self.to_server.extend_from_slice(outbox.rest());
        self.server = Some(state);
    }

    /// The server sends `bytes`.
    fn server(&mut self, bytes: &[u8]) -> &mut Self {
        self.half.extend_from_slice(bytes);
        loop {
            let Some(state) = self.server.as_mut() else { return self };
            let rest = &mut self.half;
            let (mut client, mut outbox) = (Outbox::default(), Outbox::default());
            let step = self.session.on_server(rest, &mut client, Port { state, outbox: &mut outbox });
            self.to_client.extend_from_slice(client.rest());
            self.to_client.extend_from_slice(&rest[..step.forward]);
            rest.drain(..step.forward + step.skip);
            match step.then {
                Then::Again => {}
                Then::Detach(_) => self.server = None,
                Then::Lost => return self.lose(0),
                then => {
                    self.outcome = then;
                    return self;
                }
            }
        }
    }

    /// The server connection breaks, with `unsent` bytes that never left.
    fn lose(&mut self, unsent: usize) -> &mut Self {
        let mut state = self.server.take().expect("there is a server to lose");
        let mut client = Outbox::default();
        let (unread, then) = self.session.on_loss(Loss::Cut { unsent }, &mut client, &mut state);
        self.to_client.extend_from_slice(client.rest());
        self.kept.splice(..0, unread);
        self.to_server.clear();
        self.half.clear();
        self.outcome = then;
        if self.kept.is_empty() { self } else { self.client(b"") }
    }

    /// What the client has heard since the last call, a word for each message.
    fn heard(&mut self) -> String {
        let bytes = std::mem::take(&mut self.to_client);
        let (mut rest, mut words) = (bytes.as_slice(), Vec::new());
        while let Some((message, behind)) = frame::split(rest).unwrap() {
            words.push(word(&message));
            rest = behind;
        }
        assert!(rest.is_empty(), "half a message was sent");
        words.join(" ")
    }
}

fn word(message: &frame::Message<'_>) -> String {
    match message.tag {
        b'Z' => format!("ready:{}", char::from(message.body[0])),
        b'E' => format!("error:{}", crate::wire::error::fields(message.body).code().unwrap_or("?")),
        b'C' => String::from_utf8_lossy(&message.body[..message.body.len() - 1]).replace(' ', "-"),
        tag => char::from(tag).to_string(),
    }
}

fn query(sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frontend::put_query(&mut out, sql);
    out
}

/// Parse, Bind, Execute, Sync.
fn extended(sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, b'P', |out| out.extend_from_slice(&[b"\0", sql.as_bytes(), b"\0\0\0"].concat()));
    frame::put(&mut out, b'B', |out| out.extend_from_slice(b"\0\0\0\0\0\0\0\0"));
    frame::put(&mut out, b'E', |out| out.extend_from_slice(b"\0\0\0\0\0"));
    out.extend_from_slice(&frontend::SYNC);
    out
}

fn done(tag: &str, status: Status) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::backend::put_command_complete(&mut out, tag);
    crate::wire::backend::put_ready_for_query(&mut out, status);
    out
}

fn fatal(code: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_error(&mut out, &Report::fatal(code, "terminating connection due to administrator command"));
    out
}

const INSERT: &str = "insert into t values (1)";

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

fn in_transaction() -> Talk {
    let mut talk = talk();
    talk.client(&query("begin")).server(&done("BEGIN", Status::Transaction));
    talk.heard();
    talk
}

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
fn copy_in_by_the_extended_protocol_owes_one_ready() {
    let mut copy_in = Vec::new();
    frame::put(&mut copy_in, b'G', |out| out.extend_from_slice(b"\0\0\0"));
    let mut data = Vec::new();
    frame::put(&mut data, b'd', |out| out.extend_from_slice(b"1\n"));
    frame::put(&mut data, b'c', |_| {});
    let mut talk = talk();
    talk.client(&extended("copy t from stdin")).server(&copy_in);
    talk.client(&data).client(&frontend::SYNC).server(&done("COPY 1", Status::Idle));
    assert!(talk.server.is_none());
    assert_eq!(talk.heard(), "G COPY-1 ready:I");
}

#[test]
fn copy_data_behind_the_end_of_its_copy_is_dropped() {
    let mut data = Vec::new();
    frame::put(&mut data, b'd', |out| out.extend_from_slice(&[0; 100]));
    let mut talk = talk();
    talk.client(&data[..50]).client(&data[50..]).client(&query("select 1"));
    assert_eq!(talk.to_server, query("select 1"));
}

#[test]
fn hostile_lengths_end_the_session() {
    for bytes in
        [&b"Q\0\0\0\x03"[..], b"Q\xff\xff\xff\xff", b"S\0\xff\xff\xff", b"p\0\0\0\x04", b"?\0\0\0\x04"]
    {
        let mut talk = talk();
        assert_eq!(talk.client(bytes).outcome, Then::Close(Ending::Protocol), "{bytes:?}");
        assert_eq!(talk.heard(), "error:08P01");
    }
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_makes_the_same_conversation(cuts in prop::collection::vec(0usize..200, 0..8)) {
        let said = [query("begin"), extended("select 1"), query(INSERT), extended("commit")].concat();
        let answers = [done("BEGIN", Status::Transaction), done("SELECT 1", Status::Transaction),
            done("INSERT 0 1", Status::Transaction), done("COMMIT", Status::Idle)].concat();
        let mut talk = talk();
        pieces(&said, &cuts).for_each(|piece| _ = talk.client(piece));
        prop_assert_eq!(&talk.to_server, &said);
        pieces(&answers, &cuts).for_each(|piece| _ = talk.server(piece));
        prop_assert_eq!(talk.heard(), "BEGIN ready:T SELECT-1 ready:T INSERT-0-1 ready:T COMMIT ready:I");
        prop_assert!(talk.server.is_none());
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    let ends = at.clone().into_iter().skip(1);
    at.into_iter().zip(ends).map(|(from, to)| &bytes[from..to]).collect::<Vec<_>>().into_iter()
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

#[test]
fn a_flush_owes_nothing() {
    let mut talk = talk();
    talk.client(&[query("select 1"), b"H\0\0\0\x04".to_vec()].concat());
    talk.server(&done("SELECT 1", Status::Idle));
    assert!(talk.server.is_none());
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
