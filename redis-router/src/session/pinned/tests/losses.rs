//! What a client notices when its connection is lost. Kind: pure.

use super::*;

const UNKNOWN_REPLY: &str =
    "-LOADING the connection to Redis was lost while the command was under way: it may have run, or not/";
const READONLY: &str = "-READONLY You can't write against a read only replica./";
const ABORT: &str = "-EXECABORT Transaction discarded because of previous errors./";

#[test]
fn a_blocking_call_is_issued_again() {
    let mut talk = Talk::v2();
    talk.says("BRPOP q 1; GET a").recovers("BRPOP q 1; GET a").tells("");
    talk.hears("*2/$1/q/$1/x/$1/1/").tells("*2/$1/q/$1/x/$1/1/").is_clean();
}

#[test]
fn a_write_whose_outcome_is_unknown_is_answered_so_in_its_turn() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 1; INCR a; GET a").recovers("BLPOP q 1; GET a").tells("");
    talk.hears("*-1/").tells(&format!("*-1/{UNKNOWN_REPLY}")).hears("$1/1/").tells("$1/1/").is_clean();
}

#[test]
fn what_never_left_is_sent_in_order() {
    let mut talk = Talk::v2();
    talk.says("INCR a; INCR b; INCR c");
    // Half of the second never left.
    let recovery = talk.loses(request("INCR c").len() + 3);
    assert_eq!((recovery.replayed, recovery.unknown, recovery.cut), (2, 1, false));
    talk.sends("INCR b; INCR c").tells(UNKNOWN_REPLY).hears(":1/:2/").tells(":1/:2/").is_clean();
}

#[test]
fn a_loss_after_a_loss_is_no_different() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 1; INCR a").recovers("BLPOP q 1").recovers("BLPOP q 1");
    talk.hears("*-1/").tells(&format!("*-1/{UNKNOWN_REPLY}")).is_clean();
    talk.says("INCR b");
    talk.loses(1);
    talk.sends("INCR b").recovers("").tells(UNKNOWN_REPLY).is_clean();
}

#[test]
fn wait_does_not_count_replicas_across_a_loss() {
    let mut talk = Talk::v2();
    talk.says("WAIT 1 100; WAITAOF 1 1 0; GET a")
        .recovers("GET a")
        .tells(":0/*2/:0/:0/")
        .hears("$1/1/")
        .is_clean();
}

#[test]
fn subscriptions_are_made_again_in_silence() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a b; PSUBSCRIBE c*");
    talk.hears("*3/$9/subscribe/$1/a/:1/*3/$9/subscribe/$1/b/:2/*3/$10/psubscribe/$2/c*/:3/").got.clear();
    let recovery = talk.loses(0);
    assert_eq!((recovery.resubscribed, recovery.replayed), (3, 0));
    talk.sends("subscribe a b; psubscribe c*");
    talk.hears("*3/$9/subscribe/$1/a/:1/").tells("");
    talk.hears("*3/$7/message/$1/a/$1/x/").tells("*3/$7/message/$1/a/$1/x/");
    talk.hears("*3/$9/subscribe/$1/b/:2/*3/$10/psubscribe/$2/c*/:3/").tells("");
    assert_eq!(talk.pinned.owed(), 0);
    talk.recovers("subscribe a b; psubscribe c*");
}

#[test]
fn a_subscription_is_made_again_from_where_it_was() {
    let mut talk = Talk::v3();
    talk.says("SUBSCRIBE a b c").hears(">3/$9/subscribe/$1/a/:1/").got.clear();
    talk.recovers("subscribe a; subscribe b c");
    talk.hears(">3/$9/subscribe/$1/a/:1/").tells("");
    talk.hears(">3/$9/subscribe/$1/b/:2/").tells(">3/$9/subscribe/$1/b/:2/");
    talk.recovers("subscribe a b; subscribe c");
    talk.hears(">3/$9/subscribe/$1/a/:1/>3/$9/subscribe/$1/b/:2/").tells("");
    talk.hears(">3/$9/subscribe/$1/c/:3/").tells(">3/$9/subscribe/$1/c/:3/");
    talk.says("UNSUBSCRIBE").hears(">3/$11/unsubscribe/$1/b/:2/").got.clear();
    talk.recovers("subscribe a c; unsubscribe");
}

#[test]
fn a_subscription_that_is_refused_the_second_time_is_no_secret() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a").hears("*3/$9/subscribe/$1/a/:1/").recovers("subscribe a");
    talk.judges("-NOPERM no/", Deliver::Stray);
}

#[test]
fn a_lost_watch_makes_the_next_exec_answer_nil() {
    let mut talk = Talk::v2();
    talk.says("WATCH a; GET a").hears("+OK/").got.clear();
    talk.recovers("GET a").hears("$1/1/").tells("$1/1/");
    talk.says("GET b").sends("GET b").hears("$1/2/").got.clear();
    talk.says("MULTI; SET a 1; EXEC").sends("").tells("+OK/+QUEUED/*-1/").is_clean();
    talk.says("MULTI").sends("MULTI");
}

#[test]
fn behind_a_lost_watch_redis_rules_of_form_still_hold() {
    let mut talk = Talk::v2();
    talk.says("WATCH a; GET a").hears("+OK/").got.clear();
    talk.recovers("GET a").hears("$-1/").tells("$-1/");
    talk.says("MULTI x").tells("-ERR wrong number of arguments for 'multi' command/");
    talk.says("MULTI; SET a").tells("+OK/-ERR wrong number of arguments for 'set' command/");
    talk.pinned.refuse("NOPERM no", &mut talk.got);
    talk.tells("-NOPERM no/").says("EXEC").tells(ABORT);
}

#[test]
fn a_transaction_behind_a_lost_watch_answers_nil_unless_it_may_have_run() {
    let mut talk = Talk::v3();
    talk.says("WATCH a").hears("+OK/").says("MULTI; SET a 1; EXEC").got.clear();
    let recovery = talk.loses(request("EXEC").len());
    assert_eq!((recovery.unknown, lines(&recovery.send)), (0, String::new()));
    talk.tells("+OK/+QUEUED/_/").is_clean();

    let mut talk = Talk::v3();
    talk.says("WATCH a").hears("+OK/").says("MULTI; SET a 1; EXEC").got.clear();
    assert_eq!(talk.loses(0).unknown, 1);
    talk.tells(&format!("+OK/+QUEUED/{UNKNOWN_REPLY}")).is_clean();
}

#[test]
fn a_watch_that_was_not_answered_is_made_again() {
    let mut talk = Talk::v2();
    talk.says("WATCH a; GET a").recovers("WATCH a; GET a").hears("+OK/$1/1/").tells("+OK/$1/1/").is_busy();
    let mut talk = Talk::v2();
    talk.says("WATCH a; MULTI; INCR a; EXEC").recovers("WATCH a; UNWATCH");
    talk.hears("+OK/+OK/").tells(&format!("+OK/+OK/+QUEUED/{UNKNOWN_REPLY}")).is_clean();
}

#[test]
fn an_open_transaction_is_queued_again() {
    let mut talk = Talk::v2();
    talk.says("MULTI; SET a 1").hears("+OK/+QUEUED/").says("SET b 2").got.clear();
    talk.recovers("MULTI; SET a 1; SET b 2")
        .hears("+OK/+QUEUED/")
        .tells("")
        .hears("+QUEUED/")
        .tells("+QUEUED/");
    talk.recovers("MULTI; SET a 1; SET b 2").recovers("MULTI; SET a 1; SET b 2").tells("");
    talk.hears("+OK/+QUEUED/+QUEUED/").tells("");
    talk.says("EXEC").hears("*2/+OK/+OK/").tells("*2/+OK/+OK/").is_clean();
}

#[test]
fn an_open_transaction_that_is_not_remembered_is_aborted() {
    let mut talk = Talk::v2();
    talk.says("MULTI").hears("+OK/");
    let big = format!("SET a {}", "x".repeat(REMEMBERED));
    talk.says(&big).hears("+QUEUED/").got.clear();
    talk.recovers("").says("SET b 1; EXEC").sends("").tells(&format!("+QUEUED/{ABORT}")).is_clean();
}

#[test]
fn a_transaction_that_was_sent_is_unknown_if_it_writes() {
    let mut talk = Talk::v2();
    talk.says("MULTI; SET a 1; EXEC; GET a").recovers("GET a");
    talk.tells(&format!("+OK/+QUEUED/{UNKNOWN_REPLY}")).hears("$1/1/").is_clean();
    talk.says("MULTI; GET a; EXEC").recovers("MULTI; GET a; EXEC").hears("+OK/+QUEUED/*1/$1/1/").is_clean();
}

#[test]
fn a_transaction_whose_exec_never_left_is_sent_again() {
    let mut talk = Talk::v2();
    talk.says("MULTI; SET a 1").hears("+OK/+QUEUED/").says("EXEC").got.clear();
    assert_eq!(talk.loses(1).unknown, 0);
    talk.sends("MULTI; SET a 1; EXEC").hears("+OK/+QUEUED/*1/+OK/").tells("*1/+OK/").is_clean();
}

#[test]
fn what_a_demoted_server_turns_away_is_sent_again() {
    let mut talk = Talk::v2();
    talk.says("WATCH a; SET a 1; GET a; SET b 1").hears("+OK/").got.clear();
    talk.judges(READONLY, Deliver::Replay);
    assert!(!talk.pinned.may_hang_up(0));
    talk.judges("$1/0/", Deliver::Replay);
    assert!(!talk.pinned.may_hang_up(0));
    talk.judges(READONLY, Deliver::Replay);
    assert!(talk.pinned.may_hang_up(0));
    let recovery = talk.loses(0);
    assert_eq!((recovery.replayed, recovery.unknown), (3, 0));
    talk.sends("SET a 1; GET a; SET b 1").hears("+OK/$1/1/+OK/").tells("+OK/$1/1/+OK/");
}

#[test]
fn a_master_of_a_moment_ago_is_asked_again_once_it_has_replicas() {
    const NO_REPLICAS: &str = "-NOREPLICAS Not enough good replicas to write./";
    let mut talk = Talk::v2();
    talk.says("SET a 1").hears(NO_REPLICAS).tells(NO_REPLICAS);
    talk.pinned.meet(Barrier::Ping, Tenure::Fresh);
    talk.says("SET a 1").judges(NO_REPLICAS, Deliver::Replay);
    talk.recovers("SET a 1").hears("+OK/").tells("+OK/");
}

#[test]
fn what_has_not_left_need_not_be_awaited() {
    let mut talk = Talk::v2();
    talk.says("BLPOP q 1; SET a 1").judges("-UNBLOCKED force unblock from blocking/", Deliver::Replay);
    assert!(!talk.pinned.may_hang_up(0));
    let unsent = request("SET a 1").len();
    assert!(talk.pinned.may_hang_up(unsent));
    assert_eq!(talk.loses(unsent).unknown, 0);
    talk.sends("BLPOP q 1; SET a 1");
}

#[test]
fn a_write_that_ran_behind_one_that_did_not_is_unknown() {
    let mut talk = Talk::v2();
    talk.says("SET a 1; SET b 1").judges(READONLY, Deliver::Replay).judges("+OK/", Deliver::Stray);
    assert_eq!(talk.loses(0).unknown, 1);
    talk.sends("SET a 1").hears("+OK/").tells(&format!("+OK/{UNKNOWN_REPLY}")).is_clean();
}

#[test]
fn a_transaction_on_a_demoted_server_is_sent_again() {
    let mut talk = Talk::v2();
    talk.says("MULTI").hears("+OK/").says("SET a 1; EXEC").got.clear();
    talk.judges(READONLY, Deliver::Replay).judges(ABORT, Deliver::Replay);
    talk.recovers("MULTI; SET a 1; EXEC").hears("+OK/+QUEUED/*1/+OK/").tells("+QUEUED/*1/+OK/").is_clean();

    let mut talk = Talk::v2();
    talk.says("MULTI; SET a 1").hears("+OK/+QUEUED/").says("EXEC").got.clear();
    talk.judges("-EXECABORT Transaction discarded because of: READONLY You can't/", Deliver::Replay);
    talk.recovers("MULTI; SET a 1; EXEC").hears("+OK/+QUEUED/*1/+OK/").tells("*1/+OK/").is_clean();
}

#[test]
fn a_spoiled_transaction_stays_spoiled() {
    let mut talk = Talk::v2();
    talk.says("MULTI; SUBSCRIBE x").hears("+OK/-ERR wrong number/").got.clear();
    talk.recovers("MULTI; GET").hears("+OK/-ERR wrong number/").tells("");
    talk.says("EXEC").hears(ABORT).tells(ABORT).is_clean();
}

#[test]
fn a_monitor_goes_on() {
    let mut talk = Talk::v2();
    talk.says("MONITOR").hears("+OK/").got.clear();
    talk.recovers("MONITOR")
        .hears("+OK/")
        .tells("")
        .hears("+17.1 [0 a:1] \"get\"/")
        .tells("+17.1 [0 a:1] \"get\"/");
}

#[test]
fn who_caches_must_drop_it_all() {
    let mut talk = Talk::v3();
    talk.says("CLIENT NO-EVICT on; CLIENT TRACKING ON OPTIN; CLIENT CACHING YES")
        .hears("+OK/+OK/+OK/")
        .got
        .clear();
    let again = "CLIENT NO-EVICT on; CLIENT TRACKING ON OPTIN; CLIENT CACHING YES";
    talk.recovers(again)
        .tells(">2/$10/invalidate/_/")
        .recovers(again)
        .tells("")
        .hears("+OK/+OK/+OK/")
        .tells("");
    talk.says("GET a").hears("$1/1/").got.clear();
    talk.recovers("CLIENT NO-EVICT on; CLIENT TRACKING ON OPTIN").tells(">2/$10/invalidate/_/");
    talk.judges("-ERR no/", Deliver::Stray);
}

#[test]
fn who_cannot_be_helped_is_cut() {
    let mut redirects = Talk::v2();
    let line = "CLIENT TRACKING ON REDIRECT 7";
    let command = find(b"client", Some(b"tracking"));
    redirects.pinned.redirected(command, &request(line), Some(1), &mut Vec::new());
    redirects.hears("+OK/");
    let mut listens = Talk::v2();
    listens.says("SUBSCRIBE __redis__:invalidate").hears("*3/$9/subscribe/$20/__redis__:invalidate/:1/");
    let mut debugs = Talk::v2();
    debugs.says("SCRIPT DEBUG YES").hears("+OK/");
    let mut midway = Talk::v2();
    midway.says("BLPOP q 0");
    assert_eq!(midway.pinned.begin_reply(ReplyKind::Other, b"*2\r\n"), Deliver::ToClient);
    for mut talk in [redirects, listens, debugs, midway] {
        assert!(talk.loses(0).cut, "{:?}", talk.pinned);
    }
}

#[test]
fn a_reply_that_was_swallowed_midway_cuts_nobody() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a").hears("*3/$9/subscribe/$1/a/:1/").recovers("subscribe a");
    assert_eq!(talk.pinned.begin_reply(ReplyKind::Other, b"*3\r\n$9\r\nsubscribe\r\n"), Deliver::Swallow);
    assert!(!talk.loses(0).cut);
}

#[test]
fn large_requests_pass_and_are_not_kept() {
    let mut talk = Talk::v2();
    let set = find(b"SET", None);
    assert_eq!(talk.pinned.begin_large(set, 100, &mut talk.got), Order::Forward);
    talk.pinned.more(1000);
    let recovery = talk.loses(0);
    assert!(recovery.discard && recovery.unknown == 0 && recovery.send.is_empty());
    talk.tells(&format!("-{TOO_LARGE}/")).is_clean();

    talk.pinned.begin_large(set, 100, &mut talk.got);
    talk.pinned.whole();
    assert!(!talk.loses(0).discard);
    talk.tells(UNKNOWN_REPLY).is_clean();
    let watch = find(b"WATCH", None);
    assert_eq!(talk.pinned.begin_large(watch, 100, &mut talk.got), Order::Answered);
    talk.tells("-ERR the request is too large for this command/");
}

#[test]
fn at_the_deadline_all_that_waits_is_answered() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a").hears("*3/$9/subscribe/$1/a/:1/");
    talk.says("PING; SUBSCRIBE b").got.clear();
    talk.loses(0);
    talk.pinned.give_up("LOADING no primary", &mut talk.got);
    talk.tells("-LOADING no primary/-LOADING no primary/").recovers("subscribe a");

    let mut talk = Talk::v2();
    talk.says("WATCH a").hears("+OK/").says("MULTI; INCR a").got.clear();
    talk.pinned.give_up("LOADING no primary", &mut talk.got);
    talk.says("EXEC").tells(&format!("-LOADING no primary/-LOADING no primary/{ABORT}")).is_clean();

    let mut talk = Talk::v2();
    talk.says("WATCH a").hears("+OK/").got.clear();
    talk.pinned.give_up("LOADING no primary", &mut talk.got);
    talk.says("MULTI; EXEC").tells("+OK/*-1/").is_clean();
}

#[test]
fn a_client_that_becomes_someone_else_takes_its_state_along() {
    let mut talk = Talk::v2();
    talk.says("SUBSCRIBE a").hears("*3/$9/subscribe/$1/a/:1/").got.clear();
    let recovery = talk.pinned.moved(Resp::V3, 2, &mut talk.got);
    assert_eq!((lines(&recovery.send).as_str(), talk.pinned.db()), ("subscribe a", 2));
    talk.hears(">3/$9/subscribe/$1/a/:1/").tells("").hears(">3/$7/message/$1/a/$1/x/");
}

#[test]
fn what_the_silent_sent_is_answered_by_nobody() {
    let mut talk = Talk::v2();
    talk.says("CLIENT REPLY OFF; INCR a; GET a").recovers("GET a").tells("").hears("$1/1/").tells("");
    talk.says("MULTI; INCR a; EXEC").recovers("").tells("");
}
