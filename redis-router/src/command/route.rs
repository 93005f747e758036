//! Where a request may go. Kind: pure.

use super::Command;
use super::rules::Rule;
use crate::wire::Args;

/// Sentinels talk to one another over a channel of this prefix, without any authentication: who may publish there may
/// name a master (`sentinelProcessHelloMessage` in src/sentinel.c).
const SENTINEL: &[u8] = b"__sentinel__";

/// More elements than this make a reply bulky.
const MANY: u64 = 128;

/// Where a request may go. What it says holds for a session that is neither pinned nor in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the connection that many clients share: it answers once, soon, and leaves nothing behind on the connection.
    Shared,
    /// To a leased connection, for this one call: it waits until something happens, for at most as long as it says.
    Blocking,
    /// To a leased connection, for this one call: it stops what may run on the shared one, so it can't wait behind that
    /// (`SCRIPT KILL`).
    Alone,
    /// `WAIT`, `WAITAOF`: blocking, and about what this client wrote before.
    Wait,
    /// Nowhere: the router itself answers it, or keeps track of it.
    Local(Verb),
    /// To a connection of the session's own, until the reason is gone.
    Pinned(Why),
    /// Nowhere: it is refused.
    Denied(Denial),
    /// In no table: it may do anything to its connection, so it gets one of its own.
    Unknown,
}

/// What the router answers itself, or keeps track of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the commands'")]
pub enum Verb {
    Auth,
    ClientGetName,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    /// No open Redis has it: the answer is that of an unknown subcommand.
    ClientMaintNotifications,
    /// The replies that it switches off still come on a shared connection, and are dropped by the router.
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientUnblock,
    Discard,
    Exec,
    Hello,
    Multi,
    Quit,
    Reset,
    Select,
    Unwatch,
}

/// Why a session needs a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// It subscribes; until its last subscription ends. Unsubscribing without any answers once per channel as well.
    Subscription,
    /// `MONITOR`; until `RESET` or its end.
    Monitor,
    /// `WATCH`; until `EXEC`, `DISCARD`, `UNWATCH`, `RESET`.
    Watch,
    /// `CLIENT TRACKING`; until it is switched off.
    Tracking,
    /// A flag of the connection: `CLIENT NO-EVICT`, `CLIENT NO-TOUCH`, `READONLY`, `ASKING`; until `RESET` or its end.
    ConnectionFlag,
    /// `SCRIPT DEBUG`: the connection becomes a debugger's.
    ScriptDebug,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The command is not for clients of a router.
    Command,
    /// The channel belongs to the Sentinels.
    SentinelChannel,
}

/// Where this request may go; its arguments begin with the command's name.
#[inline]
pub fn route(command: &Command, args: Args<'_>) -> Route {
    match command.rule {
        Rule::Shared => Route::Shared,
        Rule::Alone => Route::Alone,
        Rule::Blocking => Route::Blocking,
        Rule::BlockIfAsked => blocking_if_asked(args),
        Rule::Wait => Route::Wait,
        Rule::Local(verb) => Route::Local(verb),
        Rule::Pinned(why) => Route::Pinned(why),
        Rule::Publish => unless_sentinels(args.skip(1).take(1), Route::Shared),
        Rule::Subscribe => unless_sentinels(args.skip(1), Route::Pinned(Why::Subscription)),
        Rule::Denied => Route::Denied(Denial::Command),
        Rule::Unknown => Route::Unknown,
    }
}

/// `BLOCK` may stand anywhere among the options of `XREAD`. A group, a stream or an ID of that name is taken for it,
/// which costs a lease; a `BLOCK` that is overlooked would stop every client of the shared connection.
fn blocking_if_asked(mut args: Args<'_>) -> Route {
    if args.any(|arg| arg.eq_ignore_ascii_case(b"block")) { Route::Blocking } else { Route::Shared }
}

/// Refuses the Sentinels' channels, by name or as the beginning of a pattern. A pattern that merely covers them too,
/// such as `*`, is let through: whoever listens can't name a master.
fn unless_sentinels<'a>(mut channels: impl Iterator<Item = &'a [u8]>, route: Route) -> Route {
    if channels.any(|channel| channel.starts_with(SENTINEL)) {
        Route::Denied(Denial::SentinelChannel)
    } else {
        route
    }
}

/// Whether the reply may be so large that it should not stand in front of others': by the command, and, where a range
/// is asked for by its ends, by the range.
pub fn is_bulky(command: &Command, mut args: Args<'_>) -> bool {
    if !command.bulky {
        return false;
    }
    match command.name {
        "lrange" | "zrange" | "zrevrange" => {
            let (from, to) = (args.nth(2).and_then(integer), args.next().and_then(integer));
            from.zip(to).is_none_or(|(from, to)| (from < 0) != (to < 0) || from.abs_diff(to) >= MANY)
        }
        _ => true,
    }
}

fn integer(arg: &[u8]) -> Option<i64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

/// The entry for a fuzzer: whatever a request says, it is some command's and goes somewhere.
pub fn fuzz_route(request: &[u8]) {
    let mut args = Args::new(request);
    let Some(name) = args.next() else { return };
    let command = super::find(name, args.next());
    route(command, Args::new(request));
    is_bulky(command, Args::new(request));
    if let Some(key) = super::first_key(command, Args::new(request)) {
        assert!(Args::new(request).skip(1).any(|arg| arg == key));
    }
}
