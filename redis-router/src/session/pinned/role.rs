//! What a request means for the connection that it is sent on. Kind: pure.

use super::state::Family;
use crate::command::{Command, Route, Verb, route};
use crate::wire::Args;
use crate::wire::build::{put_array_header, put_bulk};

/// Which replies the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    On,
    Off,
    /// Not the next one.
    Skip,
}

/// What a request means for its connection, outside of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One answer, and nothing stays; also whatever the server will refuse for its form.
    Plain,
    Blocking,
    Wait,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Subscribe(Family),
    Unsubscribe(Family),
    Monitor,
    Tracking,
    /// Tracking whose news go to another client.
    Redirect(u64),
    GetRedir,
    Caching,
    Reply(Mode),
    /// `CLIENT NO-EVICT` and the like: stays until the connection ends.
    Flag,
    Debug,
    Select(u32),
    Unknown,
    /// The router answers.
    Local(Verb),
}

impl Role {
    pub(super) fn of(command: &Command, request: &[u8]) -> Self {
        let args = Args::new(request);
        let route = route(command, args.clone());
        let argc = u32::try_from(args.clone().count()).unwrap_or(u32::MAX);
        if !command.takes(argc) {
            // The router's own verbs have the router's own errors.
            return match Self::tracked(command, args) {
                Self::Local(verb) => Self::Local(verb),
                _ => Self::Plain,
            };
        }
        match route {
            Route::Blocking => Self::Blocking,
            Route::Wait => Self::Wait,
            Route::Unknown => Self::Unknown,
            _ => Self::tracked(command, args),
        }
    }

    fn tracked(command: &Command, mut args: Args<'_>) -> Self {
        match command.name {
            "multi" => Self::Multi,
            "exec" => Self::Exec,
            "discard" => Self::Discard,
            "watch" => Self::Watch,
            "unwatch" => Self::Unwatch,
            "subscribe" => Self::Subscribe(Family::Channel),
            "psubscribe" => Self::Subscribe(Family::Pattern),
            "ssubscribe" => Self::Subscribe(Family::Shard),
            "unsubscribe" => Self::Unsubscribe(Family::Channel),
            "punsubscribe" => Self::Unsubscribe(Family::Pattern),
            "sunsubscribe" => Self::Unsubscribe(Family::Shard),
            "monitor" => Self::Monitor,
            "client|tracking" => redirection(args).map_or(Self::Tracking, Self::Redirect),
            "client|getredir" => Self::GetRedir,
            "client|caching" => Self::Caching,
            "client|reply" => args.nth(2).and_then(mode).map_or(Self::Plain, Self::Reply),
            "client|no-evict" | "client|no-touch" | "readonly" | "readwrite" | "asking" => Self::Flag,
            "script|debug" => Self::Debug,
            "select" => args.nth(1).and_then(number).map_or(Self::Plain, Self::Select),
            _ => match route(command, args) {
                Route::Local(verb) => Self::Local(verb),
                _ => Self::Plain,
            },
        }
    }

    /// Whether the request may pass in pieces: whatever it says, it leaves nothing on the connection.
    pub(super) fn may_be_large(command: &Command) -> bool {
        let about_the_connection = command.name == "select" || command.name.starts_with("client|");
        let tracked = Self::tracked(command, Args::new(b""));
        !command.is_unknown() && !about_the_connection && tracked == Self::Plain
    }

    /// Whether what to do with it depends on what the client subscribes to.
    pub(super) fn asks_for_the_state(self) -> bool {
        !matches!(self, Self::Plain | Self::Subscribe(_) | Self::Unsubscribe(_))
    }

    /// Whether a subscriber of RESP2 may send it, apart from `PING` (src/server.c, `processCommand`).
    pub(super) fn is_for_subscribers(self) -> bool {
        matches!(self, Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Local(Verb::Quit | Verb::Reset))
    }
}

fn mode(word: &[u8]) -> Option<Mode> {
    match () {
        () if word.eq_ignore_ascii_case(b"on") => Some(Mode::On),
        () if word.eq_ignore_ascii_case(b"off") => Some(Mode::Off),
        () if word.eq_ignore_ascii_case(b"skip") => Some(Mode::Skip),
        () => None,
    }
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The client that `CLIENT TRACKING ON … REDIRECT` names; 0 is nobody.
fn redirection(args: Args<'_>) -> Option<u64> {
    let mut words = args.skip(2);
    words.next().filter(|switch| switch.eq_ignore_ascii_case(b"on"))?;
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"prefix") {
            words.next();
        } else if word.eq_ignore_ascii_case(b"redirect") {
            return words.next().and_then(number).filter(|to| *to > 0);
        }
    }
    None
}

/// The request with another client's number behind `REDIRECT`.
pub(super) fn redirect(request: &[u8], to: u64) -> Vec<u8> {
    let args: Vec<_> = Args::new(request).collect();
    let mut out = Vec::with_capacity(request.len() + 20);
    put_array_header(&mut out, args.len());
    let mut named = false;
    let mut quoted = false;
    for (at, arg) in args.iter().enumerate() {
        match () {
            () if named => put_bulk(&mut out, to.to_string().as_bytes()),
            () => put_bulk(&mut out, arg),
        }
        let option = at > 2 && !named && !quoted;
        named = option && arg.eq_ignore_ascii_case(b"redirect");
        quoted = option && arg.eq_ignore_ascii_case(b"prefix");
    }
    out
}

/// The redirection in a tracking request, for who has answered it already.
pub(super) fn redirection_of(request: &[u8]) -> Option<u64> {
    redirection(Args::new(request))
}

/// Whether a tracking request switches on.
pub(super) fn switches_on(request: &[u8]) -> bool {
    Args::new(request).nth(2).is_some_and(|switch| switch.eq_ignore_ascii_case(b"on"))
}
