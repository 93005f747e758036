//! What a connection that many clients share means for each command, kept by hand. Kind: pure.
//!
//! Everything here is looked up by name while the program is compiled; what remains at run time is a field of
//! [`Command`](super::Command). A command of the tables that is not named here changes nothing but data, answers once,
//! and at once: it goes on the shared connection.

use super::row::{ADMIN, BLOCKING, Flags, Group, READONLY, WRITE};
use super::{Class, Script, Verb, Why};

/// How to find the [`Route`](super::Route).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Shared,
    Alone,
    Blocking,
    /// Blocking if it says so: `BLOCK`.
    BlockIfAsked,
    Wait,
    Local(Verb),
    Pinned(Why),
    /// Shared, unless its channel is Sentinel's.
    Publish,
    /// Pinned, unless a channel is Sentinel's.
    Subscribe,
    Denied,
    Unknown,
}

const LOCAL: &[(&str, Verb)] = &[
    ("auth", Verb::Auth),
    ("client|getname", Verb::ClientGetName),
    ("client|id", Verb::ClientId),
    ("client|info", Verb::ClientInfo),
    ("client|kill", Verb::ClientKill),
    ("client|list", Verb::ClientList),
    ("client|maint_notifications", Verb::ClientMaintNotifications),
    ("client|reply", Verb::ClientReply),
    ("client|setinfo", Verb::ClientSetInfo),
    ("client|setname", Verb::ClientSetName),
    ("client|unblock", Verb::ClientUnblock),
    ("discard", Verb::Discard),
    ("exec", Verb::Exec),
    ("hello", Verb::Hello),
    ("multi", Verb::Multi),
    ("quit", Verb::Quit),
    ("reset", Verb::Reset),
    ("select", Verb::Select),
    ("unwatch", Verb::Unwatch),
];

const PINNED: &[(&str, Why)] = &[
    ("asking", Why::ConnectionFlag),
    ("client|no-evict", Why::ConnectionFlag),
    ("client|no-touch", Why::ConnectionFlag),
    ("client|tracking", Why::Tracking),
    ("monitor", Why::Monitor),
    // Of no effect without a cluster in Redis; Valkey's standalone servers take it as a promise of the connection.
    ("readonly", Why::ConnectionFlag),
    ("readwrite", Why::ConnectionFlag),
    ("script|debug", Why::ScriptDebug),
    // Without a subscription they change nothing, but answer once per channel, and with pushes in RESP3.
    ("punsubscribe", Why::Subscription),
    ("sunsubscribe", Why::Subscription),
    ("unsubscribe", Why::Subscription),
    ("watch", Why::Watch),
];

/// They stop the server, change whom it follows, load code into it, or stop everybody's writes; or they make the
/// connection a replica's.
const DENIED: &[&str] = &[
    "client|pause",
    "client|unpause",
    "debug",
    "failover",
    "migrate",
    "module|load",
    "module|loadex",
    "module|unload",
    "psync",
    "replconf",
    "replicaof",
    "shutdown",
    "slaveof",
    "sync",
];

/// They stop what runs on another connection: behind it, on the same one, they would wait for what they should end.
const ALONE: &[&str] = &["function|kill", "script|kill"];

/// Replies that may be large, whatever the command looks like. `GET` is not here: its reply is as large as what was
/// `SET`, which nobody can tell.
const BULKY: &[&str] = &[
    "command",
    "command|docs",
    "dump",
    "function|dump",
    "function|list",
    "georadius",
    "georadius_ro",
    "georadiusbymember",
    "georadiusbymember_ro",
    "geosearch",
    "hgetall",
    "hkeys",
    "hvals",
    "keys",
    "lrange",
    "sdiff",
    "sinter",
    "smembers",
    "sort",
    "sort_ro",
    "sunion",
    "xrange",
    "xread",
    "xreadgroup",
    "xrevrange",
    "zdiff",
    "zinter",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zunion",
];

/// No reads by their flags, but asking twice changes nothing either. `SCRIPT LOAD` stores the same text under the same
/// name.
const HARMLESS: &[&str] = &[
    "acl|cat",
    "acl|dryrun",
    "acl|genpass",
    "acl|getuser",
    "acl|list",
    "acl|users",
    "acl|whoami",
    "client|getredir",
    "client|trackinginfo",
    "command",
    "command|count",
    "command|docs",
    "command|getkeys",
    "command|getkeysandflags",
    "command|info",
    "command|list",
    "config|get",
    "echo",
    "function|dump",
    "function|list",
    "function|stats",
    "info",
    "lastsave",
    "latency|doctor",
    "latency|graph",
    "latency|histogram",
    "latency|history",
    "latency|latest",
    "lolwut",
    "memory|doctor",
    "memory|malloc-stats",
    "memory|stats",
    "module|list",
    "ping",
    "pubsub|channels",
    "pubsub|numpat",
    "pubsub|numsub",
    "pubsub|shardchannels",
    "pubsub|shardnumsub",
    "role",
    "script|exists",
    "script|load",
    "slowlog|get",
    "slowlog|len",
    "time",
];

/// Not writes by their flags, but what they do reaches the replicas, so a server whose writes are paused holds them
/// (`CMD_MAY_REPLICATE` in src/server.h, which `COMMAND` doesn't tell). `PFCOUNT` is a read that may note its result.
const MAY_REPLICATE: &[&str] = &["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];

const SCRIPTS: &[(&str, Script)] = &[
    ("eval", Script::Eval),
    ("eval_ro", Script::Eval),
    ("evalsha", Script::EvalSha),
    ("evalsha_ro", Script::EvalSha),
    ("script|flush", Script::Flush),
    ("script|load", Script::Load),
];

/// The rule for a command; a container is one whose subcommands are in the table too.
pub(super) const fn rule(name: &str, flags: Flags, group: Group, container: bool) -> Rule {
    if let Some(at) = find(LOCAL, name) {
        return Rule::Local(LOCAL[at].1);
    }
    if let Some(at) = find(PINNED, name) {
        return Rule::Pinned(PINNED[at].1);
    }
    // What rewires a cluster is for its operators, who don't come through a router; the rest only tells.
    if among(DENIED, name) || (matches!(group, Group::Cluster) && flags.contain(ADMIN)) {
        return Rule::Denied;
    }
    if among(ALONE, name) {
        return Rule::Alone;
    }
    if among(&["wait", "waitaof"], name) {
        return Rule::Wait;
    }
    if among(&["xread", "xreadgroup"], name) {
        return Rule::BlockIfAsked;
    }
    if among(&["publish", "spublish"], name) {
        return Rule::Publish;
    }
    if among(&["psubscribe", "ssubscribe", "subscribe"], name) {
        return Rule::Subscribe;
    }
    if flags.contain(BLOCKING) {
        return Rule::Blocking;
    }
    // A subcommand that nobody knows may do anything to its connection; `COMMAND` alone is a command by itself.
    if (container && !eq(name, "command")) || eq(name, "sentinel") { Rule::Unknown } else { Rule::Shared }
}

/// The class for latency histograms.
pub(super) const fn class(flags: Flags, group: Group, rule: Rule) -> Class {
    match (rule, group) {
        (Rule::Blocking | Rule::Wait, _) => Class::Blocking,
        (_, Group::Connection) => Class::Connection,
        (_, Group::Pubsub) => Class::PubSub,
        (_, Group::Scripting) => Class::Script,
        (_, Group::Transactions) => Class::Transaction,
        _ if flags.contain(WRITE) => Class::Write,
        _ if flags.contain(READONLY) => Class::Read,
        _ => Class::Admin,
    }
}

pub(super) const fn script(name: &str) -> Option<Script> {
    match find(SCRIPTS, name) {
        Some(at) => Some(SCRIPTS[at].1),
        None => None,
    }
}

pub(super) const fn bulky(name: &str) -> bool {
    among(BULKY, name)
}

pub(super) const fn replayable(name: &str, flags: Flags) -> bool {
    flags.contain(READONLY) || among(HARMLESS, name)
}

pub(super) const fn may_write(name: &str, flags: Flags) -> bool {
    flags.contain(WRITE) || among(MAY_REPLICATE, name)
}

const fn among(names: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < names.len() {
        if eq(names[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn find<T: Copy>(rows: &[(&str, T)], name: &str) -> Option<usize> {
    let mut at = 0;
    while at < rows.len() {
        if eq(rows[at].0, name) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// `==`, which is not const.
const fn eq(a: &str, b: &str) -> bool {
    a.len() == b.len() && starts_with(a, b)
}

/// [`str::starts_with`], which is not const either.
pub(super) const fn starts_with(name: &str, start: &str) -> bool {
    let (name, start) = (name.as_bytes(), start.as_bytes());
    let mut at = 0;
    while at < start.len() {
        if at >= name.len() || name[at] != start[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::all;

    /// A rule for a name that no table has would be a typo.
    #[test]
    fn every_rule_is_about_a_command() {
        let lists = [DENIED, ALONE, BULKY, HARMLESS, MAY_REPLICATE].concat();
        let local = LOCAL.iter().map(|row| row.0).chain(PINNED.iter().map(|row| row.0));
        let names = lists.into_iter().chain(local).chain(SCRIPTS.iter().map(|row| row.0));
        let strangers: Vec<_> = names.filter(|name| all().iter().all(|known| known.name != *name)).collect();
        assert_eq!(strangers, <[&str; 0]>::default());
    }
}
