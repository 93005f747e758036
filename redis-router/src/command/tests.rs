//! Every kind of command, as clients send it. Kind: pure.

use super::*;
use crate::wire::{Args, build::put_request};

fn request(line: &str) -> Vec<u8> {
    let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
    let mut request = Vec::new();
    put_request(&mut request, &args);
    request
}

fn command(line: &str) -> &'static Command {
    let mut words = line.split(' ').map(str::as_bytes);
    find(words.next().unwrap(), words.next())
}

#[track_caller]
fn check(line: &str, expected: Route) {
    assert_eq!(route(command(line), Args::new(&request(line))), expected, "{line}");
}

#[track_caller]
fn named(line: &str, name: &str) {
    assert_eq!(command(line).name, name, "{line}");
}

#[track_caller]
fn key(line: &str, expected: Option<&str>) {
    let request = request(line);
    let found = first_key(command(line), Args::new(&request));
    assert_eq!(found, expected.map(str::as_bytes), "{line}");
}

#[test]
fn commands_are_found_in_any_case() {
    named("GET k", "get");
    named("get k", "get");
    named("gEt", "get");
    named("CLIENT KILL x", "client|kill");
    named("client no-evict on", "client|no-evict");
    named("XINFO STREAM s", "xinfo|stream");
    named("COMMAND", "command");
    named("COMMAND DOCS", "command|docs");
    named("GEORADIUSBYMEMBER_RO k", "georadiusbymember_ro");
    named("HPEXPIREAT k", "hpexpireat");
}

#[test]
fn what_nobody_knows_is_unknown() {
    for line in ["", "G", "GETT k", "JSON.GET k", "client|kill", "CLIENT|KILL x", "\u{7}\u{5}\u{14}", "kill"]
    {
        assert!(command(line).is_unknown(), "{line}");
    }
    assert!(find(&[b'x'; 100_000], None).is_unknown());
    assert!(find(&[], Some(b"kill")).is_unknown());
    named("CLIENT", "client");
    named("CLIENT BREW-COFFEE", "client");
    named("XINFO |stream", "xinfo");
}

#[test]
fn data_is_shared() {
    for line in
        ["GET k", "SET k v EX 10", "MGET a b", "INCR n", "EVAL return 0", "EVALSHA x 0", "FCALL f 0", "PING"]
    {
        check(line, Route::Shared);
    }
    for line in
        ["ECHO x", "INFO", "CONFIG GET maxmemory", "SCRIPT LOAD x", "FLUSHALL", "COMMAND", "TIME", "ROLE"]
    {
        check(line, Route::Shared);
    }
    for line in ["CLIENT TRACKINGINFO", "CLIENT GETREDIR", "CLIENT HELP", "CLIENT CACHING YES", "MODULE LIST"]
    {
        check(line, Route::Shared);
    }
    for line in
        ["CLUSTER INFO", "CLUSTER MYID", "PUBSUB CHANNELS", "SORT k", "KEYS *", "SLOWLOG GET", "HPEXPIRE k"]
    {
        check(line, Route::Shared);
    }
}

#[test]
fn blocking_calls_are_leased() {
    for line in ["BLPOP k 0", "BRPOP k 0", "BRPOPLPUSH a b 0", "BLMOVE a b LEFT LEFT 0", "BLMPOP 0 1 k LEFT"]
    {
        check(line, Route::Blocking);
    }
    for line in ["BZPOPMIN k 0", "BZPOPMAX k 0", "BZMPOP 0 1 k MIN"] {
        check(line, Route::Blocking);
    }
    check("WAIT 1 0", Route::Wait);
    check("WAITAOF 1 0 0", Route::Wait);
    check("SCRIPT KILL", Route::Alone);
    check("FUNCTION KILL", Route::Alone);
}

#[test]
fn streams_block_only_when_asked() {
    check("XREAD STREAMS s 0", Route::Shared);
    check("XREAD COUNT 2 STREAMS s 0", Route::Shared);
    check("XREAD BLOCK 0 STREAMS s 0", Route::Blocking);
    check("XREAD COUNT 2 block 0 STREAMS s 0", Route::Blocking);
    check("XREADGROUP GROUP g c STREAMS s >", Route::Shared);
    check("XREADGROUP GROUP g c COUNT 1 NOACK BLOCK 5 STREAMS s >", Route::Blocking);
    check("XREADGROUP GROUP streams c BLOCK 5 STREAMS s >", Route::Blocking);
}

#[test]
fn the_connection_is_the_routers_business() {
    check("SELECT 1", Route::Local(Verb::Select));
    check("AUTH u p", Route::Local(Verb::Auth));
    check("HELLO 3", Route::Local(Verb::Hello));
    check("RESET", Route::Local(Verb::Reset));
    check("QUIT", Route::Local(Verb::Quit));
    check("CLIENT ID", Route::Local(Verb::ClientId));
    check("CLIENT SETNAME x", Route::Local(Verb::ClientSetName));
    check("CLIENT GETNAME", Route::Local(Verb::ClientGetName));
    check("CLIENT SETINFO LIB-NAME x", Route::Local(Verb::ClientSetInfo));
    check("CLIENT INFO", Route::Local(Verb::ClientInfo));
    check("CLIENT LIST", Route::Local(Verb::ClientList));
    check("CLIENT KILL ID 5", Route::Local(Verb::ClientKill));
    check("CLIENT UNBLOCK 5", Route::Local(Verb::ClientUnblock));
    check("CLIENT REPLY OFF", Route::Local(Verb::ClientReply));
    check("CLIENT MAINT_NOTIFICATIONS ON", Route::Local(Verb::ClientMaintNotifications));
    check("MULTI", Route::Local(Verb::Multi));
    check("EXEC", Route::Local(Verb::Exec));
    check("DISCARD", Route::Local(Verb::Discard));
    check("UNWATCH", Route::Local(Verb::Unwatch));
}

#[test]
fn what_stays_with_a_connection_is_pinned() {
    check("WATCH k", Route::Pinned(Why::Watch));
    check("MONITOR", Route::Pinned(Why::Monitor));
    check("CLIENT TRACKING ON", Route::Pinned(Why::Tracking));
    check("CLIENT NO-EVICT ON", Route::Pinned(Why::ConnectionFlag));
    check("CLIENT NO-TOUCH ON", Route::Pinned(Why::ConnectionFlag));
    check("SCRIPT DEBUG YES", Route::Pinned(Why::ScriptDebug));
    for line in ["SUBSCRIBE c", "PSUBSCRIBE *", "SSUBSCRIBE c", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"]
    {
        check(line, Route::Pinned(Why::Subscription));
    }
}

#[test]
fn what_is_not_for_clients_is_denied() {
    for line in
        ["SYNC", "PSYNC ? -1", "REPLCONF x", "REPLICAOF NO ONE", "SLAVEOF NO ONE", "FAILOVER", "SHUTDOWN"]
    {
        check(line, Route::Denied(Denial::Command));
    }
    for line in
        ["DEBUG SLEEP 1", "MODULE LOAD x", "MODULE UNLOAD x", "CLUSTER MEET a 1", "CLUSTER RESET", "MIGRATE"]
    {
        check(line, Route::Denied(Denial::Command));
    }
    check("CLIENT PAUSE 100", Route::Denied(Denial::Command));
    check("CLIENT UNPAUSE", Route::Denied(Denial::Command));
}

#[test]
fn what_is_unknown_gets_a_connection_of_its_own() {
    for line in
        ["JSON.GET k", "CLIENT BREW", "CLIENT", "CLIENT CAPA redirect", "SENTINEL MASTERS", "SCRIPT SHOW x"]
    {
        check(line, Route::Unknown);
    }
}

#[test]
fn the_sentinels_channels_are_theirs() {
    for line in
        ["PUBLISH __sentinel__:hello x", "SPUBLISH __sentinel__:hello x", "SUBSCRIBE a __sentinel__:hello"]
    {
        check(line, Route::Denied(Denial::SentinelChannel));
    }
    check("PSUBSCRIBE __sentinel__*", Route::Denied(Denial::SentinelChannel));
    check("PUBLISH news __sentinel__:hello", Route::Shared);
    check("SPUBLISH news x", Route::Shared);
}

#[test]
fn only_what_changes_nothing_is_replayable() {
    for line in [
        "GET k",
        "MGET a",
        "HGETALL h",
        "EVAL_RO x 0",
        "EVALSHA_RO x 0",
        "FCALL_RO f 0",
        "SORT_RO k",
        "SCAN 0",
    ] {
        assert!(command(line).replayable(), "{line}");
    }
    for line in
        ["PING", "ECHO x", "INFO", "SCRIPT LOAD x", "SCRIPT EXISTS x", "CONFIG GET x", "XREAD STREAMS s 0"]
    {
        assert!(command(line).replayable(), "{line}");
    }
    for line in
        ["SET k v", "INCR k", "LPUSH k v", "GETEX k", "GETDEL k", "EVAL x 0", "FCALL f 0", "PUBLISH c m"]
    {
        assert!(!command(line).replayable(), "{line}");
    }
    for line in
        ["SORT k STORE d", "XREADGROUP GROUP g c STREAMS s >", "CONFIG SET a b", "JSON.GET k", "CLIENT BREW"]
    {
        assert!(!command(line).replayable(), "{line}");
    }
}

#[test]
fn nothing_that_may_write_is_replayable_but_the_count_of_a_hyperloglog() {
    let both: Vec<_> = all().iter().filter(|c| c.replayable() && c.may_write()).map(|c| c.name).collect();
    assert_eq!(both, ["pfcount"]);
    for line in ["SET k v", "EVAL x 0", "PUBLISH c m", "FLUSHALL", "XREADGROUP x"] {
        assert!(command(line).may_write(), "{line}");
    }
    assert!(!command("GET k").may_write());
}

#[test]
fn commands_have_classes() {
    for (line, expected) in [
        ("GET k", Class::Read),
        ("SET k v", Class::Write),
        ("BLPOP k 0", Class::Blocking),
        ("WAIT 1 1", Class::Blocking),
        ("XREAD STREAMS s 0", Class::Read),
        ("SUBSCRIBE c", Class::PubSub),
        ("EVAL x 0", Class::Script),
        ("EXEC", Class::Transaction),
        ("PING", Class::Connection),
        ("CLIENT ID", Class::Connection),
        ("INFO", Class::Admin),
        ("JSON.GET k", Class::Admin),
    ] {
        assert_eq!(class(command(line)), expected, "{line}");
    }
}

#[test]
fn big_replies_are_expected_where_nothing_bounds_them() {
    let bulky = |line: &str| is_bulky(command(line), Args::new(&request(line)));
    for line in
        ["KEYS *", "HGETALL h", "LRANGE l 0 -1", "ZRANGE z 0 500", "ZRANGE z (1 5 BYSCORE", "LRANGE l 0"]
    {
        assert!(bulky(line), "{line}");
    }
    for line in ["GET k", "LRANGE l 0 9", "ZREVRANGE z -10 -1", "LRANGE l 100000 100100"] {
        assert!(!bulky(line), "{line}");
    }
}

#[test]
fn first_keys_are_found() {
    key("GET k", Some("k"));
    key("GET", None);
    key("PING x", None);
    key("OBJECT ENCODING k", Some("k"));
    key("EVAL return 2 a b", Some("a"));
    key("EVAL return 0 a", None);
    key("EVAL return x a", None);
    key("ZUNION 1 z", Some("z"));
    key("BLMPOP 0 1 l LEFT", Some("l"));
    key("XREAD COUNT 1 STREAMS s 0", Some("s"));
    key("XREADGROUP GROUP g c STREAMS s >", Some("s"));
    key("XREAD COUNT 1", None);
    key("JSON.GET k", None);
}

#[test]
fn scripts_are_told_apart() {
    for (line, expected) in [
        ("EVAL x 0", Some(Script::Eval)),
        ("EVALSHA_RO x 0", Some(Script::EvalSha)),
        ("SCRIPT LOAD x", Some(Script::Load)),
        ("SCRIPT FLUSH", Some(Script::Flush)),
        ("FCALL f 0", None),
    ] {
        assert_eq!(command(line).script(), expected, "{line}");
    }
}

#[test]
fn arities_are_redis_own() {
    assert!(command("GET k").takes(2) && !command("GET k").takes(3));
    assert!(command("MGET k").takes(2) && command("MGET k").takes(9) && !command("MGET").takes(1));
    assert!(command("CLIENT ID").takes(2));
}
