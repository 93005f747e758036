//! Requests and their replies while the connection lives. Kind: pure.

use super::*;

const QUIT: Order = Order::Local { verb: Verb::Quit, quiet: false };

#[test]
fn a_blocking_call_leaves_the_connection_clean() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 0").is_busy();
    talk.hears("*2/$1/q/$1/x/").tells("*2/$1/q/$1/x/").is_clean();
}

#[test]
fn requests_behind_a_blocking_call_follow_it_on_its_connection() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 1; GET a; PING").sends("BLPOP q 1; GET a; PING");
    assert_eq!(talk.pinned.owed(), 3);
    talk.hears("*-1/$1/1/+PONG/").tells("*-1/$1/1/+PONG/").is_clean();
}

#[test]
fn wait_means_what_was_written_on_other_connections() {
    let mut talk = Talk::v2();
    talk.says("WAIT 1 100").sends("PING; WAIT 1 100");
    talk.hears("+PONG/:1/").tells(":1/").is_clean();
    let mut talk = Talk::v3();
    talk.pinned.barrier = Barrier::Publish;
    talk.says("WAITAOF 1 0 0").sends("PUBLISH __redis-router__:wait ; WAITAOF 1 0 0");
    talk.hears(":0/*2/:1/:0/").tells("*2/:1/:0/").is_clean();
}

#[test]
fn wait_without_its_barrier_is_answered_with_the_reason() {
    let mut talk = Talk::v2();
    talk.pinned.barrier = Barrier::Publish;
    talk.says("WAIT 1 100").hears("-NOPERM no channel/:1/").tells("-NOPERM no channel/").is_clean();
    talk.says("WAIT 1 100").hears("-NOPERM no channel/-ERR no/").tells("-NOPERM no channel/").is_clean();
}

#[test]
fn the_barrier_is_chosen_by_version() {
    for (version, barrier) in [
        ("6.2.1", Barrier::Ping),
        ("7.0.15", Barrier::Ping),
        ("7.4.0", Barrier::Publish),
        ("8.0.1", Barrier::Publish),
        ("unstable", Barrier::Publish),
    ] {
        assert_eq!(Barrier::of(version), barrier, "{version}");
    }
}

#[test]
fn a_transaction_lasts_from_multi_to_exec() {
    let mut talk = Talk::v2();
    talk.says("MULTI").hears("+OK/").is_busy();
    talk.says("SET a 1; GET a").hears("+QUEUED/+QUEUED/").is_busy();
    talk.says("EXEC").sends("MULTI; SET a 1; GET a; EXEC");
    talk.hears("*2/+OK/$1/1/").tells("+OK/+QUEUED/+QUEUED/*2/+OK/$1/1/").is_clean();
}

#[test]
fn a_watch_lasts_until_a_transaction_ends_or_it_is_taken_back() {
    for (requests, replies) in [
        ("UNWATCH", "+OK/"),
        ("MULTI; EXEC", "+OK/*0/"),
        ("MULTI; SET a 1; EXEC", "+OK/+QUEUED/*-1/"),
        ("MULTI; DISCARD", "+OK/+OK/"),
    ] {
        let mut talk = Talk::v2();
        talk.says("WATCH a").hears("+OK/").is_busy();
        talk.says(requests).hears(replies).is_clean();
    }
}

#[test]
fn nested_transactions_are_refused_in_their_turn() {
    let mut talk = Talk::v2();
    talk.says("MULTI; MULTI; WATCH a; EXEC").sends("MULTI; EXEC").tells("");
    let nested = "-ERR MULTI calls can not be nested/-ERR WATCH inside MULTI is not allowed/";
    talk.hears("+OK/").tells(&format!("+OK/{nested}"));
    talk.hears("*0/").tells("*0/").is_clean();
}

#[test]
fn what_would_break_the_framing_of_exec_spoils_the_transaction() {
    for line in [
        "SUBSCRIBE a b",
        "CLIENT REPLY OFF",
        "HELLO 3",
        "AUTH x",
        "CLIENT SETNAME x",
        "CLIENT KILL ID 1",
        "CLIENT TRACKING ON",
        "MONITOR",
    ] {
        let mut talk = Talk::v2();
        talk.says("MULTI").says(line).says("EXEC").sends("MULTI; GET; EXEC");
        talk.hears("+OK/-ERR wrong number of arguments for 'get' command/-EXECABORT no/");
        let name = line.split_whitespace().take(1 + usize::from(line.starts_with("CLIENT")));
        let name = name.collect::<Vec<_>>().join(" ");
        talk.tells(&format!("+OK/-ERR {name} inside MULTI is not allowed/-EXECABORT no/")).is_clean();
    }
}

#[test]
fn a_refused_request_is_answered_in_its_turn() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 0");
    assert_eq!(talk.pinned.refuse("NOPERM no", &mut talk.got), Order::Answered);
    talk.tells("").hears("*-1/").tells("*-1/-NOPERM no/").is_clean();
    assert_eq!(talk.pinned.refuse("NOPERM no", &mut talk.got), Order::Answered);
    talk.tells("-NOPERM no/");
}

#[test]
fn a_multi_that_is_refused_begins_nothing() {
    let mut talk = Talk::v2();
    talk.says("MULTI; SET a 1; EXEC").hears("-NOAUTH no/-NOAUTH no/-ERR EXEC without MULTI/").is_clean();
    talk.says("MULTI; SET a 1").hears("-NOAUTH no/-NOAUTH no/").is_clean();
    talk.says("BLPOP a 0").hears("*-1/").is_clean();
}

#[test]
fn a_database_selected_in_a_transaction_is_that_of_its_exec() {
    let mut talk = Talk::v2();
    talk.says("MULTI; SELECT 3; EXEC").hears("+OK/+QUEUED/*-1/").is_clean();
    assert_eq!(talk.pinned.db(), 0);
    talk.says("MULTI; SELECT 3; EXEC").hears("+OK/+QUEUED/*1/+OK/");
    assert_eq!((talk.pinned.db(), talk.pinned.is_done(), talk.pinned.is_clean()), (3, true, false));
}

#[test]
fn a_database_selected_beside_a_watch_is_tracked() {
    let mut talk = Talk::v2();
    talk.says("WATCH a").hears("+OK/").says("SELECT 2").hears("+OK/");
    assert_eq!(talk.pinned.db(), 2);
    talk.says("SELECT 99").hears("-ERR DB index is out of range/");
    assert_eq!(talk.pinned.db(), 2);
}

#[test]
fn local_verbs_wait_until_nothing_is_owed() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 0");
    for line in ["SELECT 1", "CLIENT ID", "QUIT", "RESET", "HELLO 3", "AUTH x"] {
        assert_eq!(talk.order(line), Order::Wait, "{line}");
    }
    talk.hears("*-1/");
    let select = Order::Local { verb: Verb::Select, quiet: false };
    assert_eq!((talk.order("SELECT 1"), talk.order("QUIT")), (select, QUIT));
}

#[test]
fn each_channel_is_confirmed() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a b; PSUBSCRIBE c*; PING");
    assert_eq!(talk.pinned.owed(), 3);
    talk.hears("*3/$9/subscribe/$1/a/:1/").is_busy();
    talk.hears("*3/$9/subscribe/$1/b/:2/*3/$10/psubscribe/$2/c*/:3/");
    assert_eq!(talk.pinned.owed(), 1);
    talk.hears("*2/$4/pong/$0//");
    assert_eq!(talk.pinned.owed(), 0);
    talk.says("UNSUBSCRIBE a; UNSUBSCRIBE; PUNSUBSCRIBE").is_busy();
    talk.hears("*3/$11/unsubscribe/$1/a/:2/*3/$11/unsubscribe/$1/b/:1/").is_busy();
    talk.hears("*3/$12/punsubscribe/$2/c*/:0/").is_clean();
}

#[test]
fn unsubscribing_from_nothing_is_confirmed_once() {
    let mut talk = Talk::v2();
    talk.says("UNSUBSCRIBE; GET a").hears("*3/$11/unsubscribe/$-1/:0/$1/x/").is_clean();
    let mut talk = Talk::v3();
    talk.says("PUNSUBSCRIBE; GET a").hears(">3/$12/punsubscribe/_/:0/$1/x/").is_clean();
}

#[test]
fn messages_are_no_replies() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a").hears("*3/$9/subscribe/$1/a/:1/");
    talk.says("SUBSCRIBE b; PING").hears("*3/$7/message/$1/a/$1/x/");
    assert_eq!(talk.pinned.owed(), 2);
    talk.hears("*3/$9/subscribe/$1/b/:2/*4/$8/pmessage/$1/*/$1/a/$1/x/");
    assert_eq!(talk.pinned.owed(), 1);
    talk.hears("*2/$4/pong/$0//");
    assert_eq!(talk.pinned.owed(), 0);
}

#[test]
fn what_looks_like_a_message_is_a_reply_to_who_does_not_subscribe() {
    let mut talk = Talk::v2();
    talk.says("WATCH a; LRANGE a 0 -1").hears("+OK/*3/$7/message/$1/a/$1/x/");
    assert_eq!(talk.pinned.owed(), 0);
}

#[test]
fn pushes_are_no_replies() {
    let mut talk = Talk::v3();
    talk.says("SUBSCRIBE a; GET x").hears(">2/$10/invalidate/_/");
    talk.hears(">3/$9/subscribe/$1/a/:1/>3/$7/message/$1/a/$1/x/");
    assert_eq!(talk.pinned.owed(), 1);
    talk.hears("$1/1/");
    assert_eq!(talk.pinned.owed(), 0);
    talk.says("UNSUBSCRIBE a").hears(">3/$11/unsubscribe/$1/a/:0/").is_clean();
}

#[test]
fn a_subscription_that_is_refused_is_none() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a b; GET x").hears("-NOPERM no/$1/1/").tells("-NOPERM no/$1/1/").is_clean();
}

#[test]
fn a_subscriber_of_resp2_is_told_by_the_server_what_it_may_not() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a");
    assert_eq!(talk.order("CLIENT ID"), Order::Wait);
    talk.hears("*3/$9/subscribe/$1/a/:1/").sends("SUBSCRIBE a");
    talk.says("CLIENT ID; MULTI; WAIT 0 0").sends("CLIENT ID; MULTI; WAIT 0 0");
    talk.hears("-ERR Can't/-ERR Can't/-ERR Can't/");
    assert_eq!(talk.order("QUIT"), QUIT);
}

#[test]
fn a_monitor_sees_its_feed_beside_replies() {
    let mut talk = Talk::v2();
    talk.says("MONITOR").hears("+OK/+1700000000.1 [0 a:1] \"get\" \"x\"/").is_busy();
    talk.says("PING").hears("+1700000000.2 [0 a:1] \"PING\"/");
    assert_eq!(talk.pinned.owed(), 1);
    talk.hears("+PONG/");
    assert_eq!(talk.pinned.owed(), 0);
    assert_eq!(talk.order("RESET"), Order::Local { verb: Verb::Reset, quiet: false });
}

#[test]
fn tracking_lasts_until_it_is_switched_off() {
    let mut talk = Talk::v3();
    talk.says("CLIENT TRACKING ON BCAST").hears("+OK/").is_busy();
    assert_eq!(talk.pinned.redirection(), 0);
    talk.says("CLIENT GETREDIR").tells("+OK/:0/");
    talk.says("CLIENT TRACKING OFF").hears("+OK/");
    assert_eq!((talk.pinned.redirection(), talk.pinned.is_done()), (-1, true));
}

#[test]
fn a_redirection_is_translated() {
    let mut talk = Talk::v2();
    let line = "CLIENT TRACKING ON PREFIX redirect BCAST REDIRECT 7 NOLOOP";
    assert_eq!(talk.order(line), Order::Redirect { to: 7 });
    let command = find(b"client", Some(b"tracking"));
    let order = talk.pinned.redirected(command, &request(line), Some(4711), &mut talk.got);
    let Order::Send(sent) = order else { panic!("{order:?}") };
    assert_eq!(lines(&sent), "CLIENT TRACKING ON PREFIX redirect BCAST REDIRECT 4711 NOLOOP");
    talk.hears("+OK/").says("CLIENT GETREDIR").tells("+OK/:7/");
    assert_eq!(talk.pinned.redirected(command, &request(line), None, &mut talk.got), Order::Answered);
    talk.tells("-ERR The client ID you want redirect to does not exist/");
}

#[test]
fn replies_that_the_client_switched_off_are_dropped() {
    let mut talk = Talk::v2();
    talk.says("WATCH a")
        .hears("+OK/")
        .says("CLIENT REPLY OFF; SET a 1; GET a")
        .sends("WATCH a; SET a 1; GET a");
    talk.hears("+OK/$1/1/").tells("+OK/");
    talk.says("CLIENT REPLY SKIP; CLIENT REPLY ON; PING").hears("+PONG/").tells("+OK/+PONG/");
    talk.says("CLIENT REPLY SKIP; PING; PING").hears("+PONG/+PONG/").tells("+PONG/");
    talk.says("UNWATCH; CLIENT REPLY OFF").hears("+OK/").is_busy();
    assert_eq!(talk.order("CLIENT ID"), Order::Local { verb: Verb::ClientId, quiet: true });
    talk.says("CLIENT REPLY ON").is_clean();
}

#[test]
fn subscribing_is_confirmed_even_to_the_silent() {
    let mut talk = Talk::v2();
    talk.says("CLIENT REPLY OFF; SUBSCRIBE a; PING").hears("*3/$9/subscribe/$1/a/:1/*2/$4/pong/$0//");
    talk.tells("*3/$9/subscribe/$1/a/:1/");
}

#[test]
fn flags_and_unknown_commands_last() {
    let mut talk = Talk::v2();
    talk.says("CLIENT NO-EVICT on").hears("+OK/").is_busy();
    talk.says("CLIENT NO-EVICT off").hears("+OK/");
    assert!(talk.pinned.is_done() && !talk.pinned.is_clean());
    let mut talk = Talk::v2();
    talk.says("JSON.SET a . 1").hears("-ERR unknown command/").is_clean();
    talk.says("JSON.SET a . 1").hears("+OK/").is_busy();
}

#[test]
fn a_reply_that_nobody_asked_for_is_a_fault() {
    let mut talk = Talk::v2();
    talk.judges("+OK/", Deliver::Stray);
    talk.says("SUBSCRIBE a").judges("+OK/", Deliver::Stray);
}

#[test]
fn requests_that_are_malformed_change_nothing() {
    let mut talk = Talk::v2();
    for line in ["MULTI x", "WATCH", "MONITOR x", "SUBSCRIBE", "SELECT abc", "CLIENT REPLY", "BLPOP"] {
        talk.says(line).hears("-ERR wrong number of arguments/").is_clean();
    }
}
