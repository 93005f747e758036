//! A client that has an upstream connection of its own, as long as something of it lives there: a subscription, a
//! watch, an open transaction, a call that blocks, `MONITOR`, tracking, or what nobody knows. Kind: pure.
//!
//! The driver frames both directions and asks: of each request where it goes, of each reply whose it is. The machine
//! keeps a ledger of what is owed, in order, and what the replies that came made of the connection. Both together say,
//! when the connection is lost, how to go on with another so that the client notices as little as the truth allows.
//!
//! ```text
//!   client ──request()──▶ ledger ──reply()──▶ state          lost(): state + ledger ──▶ what to send on the next
//!                           │                   │                    connection, and the ledger of that
//!                           └── answers of our own, in their place
//! ```
//! The order of answers is that of the requests, whoever answers: what we answer ourselves waits in the ledger for its
//! turn. `CLIENT REPLY` never reaches the server: replies that the client doesn't want are dropped here.

mod ledger;
mod lost;
mod news;
mod proof;
mod role;
mod settle;
mod state;
#[cfg(test)]
mod tests;

pub use ledger::DEPTH;
pub use lost::{TOO_LARGE, UNKNOWN};
pub use proof::{is_forced, proves_not_run};
pub use state::REMEMBERED;

use crate::command::{Command, Verb};
use crate::session::doomed::{self, Doomed, Verdict};
use crate::wire::build::{put_error, put_integer, put_request, put_simple};
use crate::wire::{Args, ReplyKind, Resp};
use ledger::{Audience, Entry, Ledger, What};
use role::{Mode, Role};
use state::{Family, State};

/// The channel of our own to which an empty message is published in front of `WAIT`.
const BARRIER_CHANNEL: &[u8] = b"__redis-router__:wait";

/// A request that no server takes, so that it spoils the transaction that it is part of: `GET` without a key.
const SPOILER: &[u8] = b"*1\r\n$3\r\nGET\r\n";

/// How to make `WAIT` mean what the client acknowledged elsewhere. A server waits for what the *connection* wrote last
/// (`c->woff`), which on a leased one is nothing; after one of these it is everything before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Barrier {
    /// `PING`: before 7.4 every command moves the mark (7.0.15, src/server.c, `call`).
    Ping,
    /// `PUBLISH` of nothing, which is propagated: since 7.4 only what is propagated moves the mark.
    #[default]
    Publish,
}

impl Barrier {
    /// By the server's version, as `HELLO` and `INFO` tell it; one that can't be read is taken for new.
    pub fn of(version: &str) -> Self {
        let mut parts = version.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (7, 4) => Self::Ping,
            _ => Self::Publish,
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Ping => put_request(out, &[b"PING"]),
            Self::Publish => put_request(out, &[b"PUBLISH", BARRIER_CHANNEL, b""]),
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// It goes upstream as it is.
    Forward,
    /// These bytes go upstream instead.
    Send(Vec<u8>),
    /// Nothing goes upstream: it is answered, or will be when its turn comes.
    Answered,
    /// A verb of the router, and nothing is owed: the session answers it. Where it is `RESET` or `QUIT`, or where the
    /// connection [is done](Pinned::is_done), the phase ends with it; else the phase goes on.
    Local {
        /// Which.
        verb: Verb,
        /// The client has switched its replies off: the answer is not sent.
        quiet: bool,
    },
    /// `CLIENT TRACKING … REDIRECT` names a client by its number here; go on with [`redirected`](Pinned::redirected).
    Redirect {
        /// Whose.
        to: u64,
    },
    /// Not before what is owed was answered: show the request again then.
    Wait,
}

/// What becomes of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deliver {
    /// It goes to the client.
    ToClient,
    /// Nobody gets it.
    Swallow,
    /// The client gets these bytes in its place.
    Instead(Vec<u8>),
    /// Nobody gets it: the server turned a command away that it can't run where it stands, so another server may. Go on
    /// reading until [`may_hang_up`](Pinned::may_hang_up), then call [`lost`](Pinned::lost) and hang up.
    Replay,
    /// Nobody asked for this, or what must succeed did not. Nobody gets it: hang up, and call [`lost`](Pinned::lost).
    Stray,
}

/// How to go on with the next connection, which is logged in as the client and in its [`db`](Pinned::db).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// What to send first; counts as ordered.
    pub send: Vec<u8>,
    /// There is no way to go on without the client noticing: close it.
    pub cut: bool,
    /// The request that is still coming in is answered already: drop the rest of it.
    pub discard: bool,
    /// Requests that are sent again, or for the first time.
    pub replayed: usize,
    /// Commands whose outcome is unknown, each answered so.
    pub unknown: usize,
    /// Channels and patterns that are subscribed again; what was published in between is lost.
    pub resubscribed: usize,
}

/// One client and the connection that it has for itself.
#[derive(Debug)]
pub struct Pinned {
    barrier: Barrier,
    /// What the answered requests made of the connection.
    state: State,
    /// What the connection will be once everything is answered.
    ahead: Ahead,
    ledger: Ledger,
    doomed: Option<Doomed>,
}

/// How the client's next request is to be understood.
#[derive(Debug, Default)]
struct Ahead {
    /// It is part of a transaction.
    tx: bool,
    mode: Mode,
}

impl Pinned {
    /// A connection that speaks `resp` and has `db` selected, without any state.
    pub fn new(resp: Resp, db: u32, barrier: Barrier) -> Self {
        Self {
            barrier,
            state: State::new(resp, db),
            ahead: Ahead::default(),
            ledger: Ledger::default(),
            doomed: None,
        }
    }

    /// How the server of the connection makes `WAIT` mean something.
    pub fn set_barrier(&mut self, barrier: Barrier) {
        self.barrier = barrier;
    }

    /// The database that the client has selected; the next connection must be in it.
    pub fn db(&self) -> u32 {
        self.state.db
    }

    /// How many replies are still to come.
    pub fn owed(&self) -> usize {
        self.ledger.owed()
    }

    /// Nothing is owed and the connection is like new: it may go back to the pool.
    pub fn is_clean(&self) -> bool {
        self.is_done() && !self.state.spoiled
    }

    /// Nothing is owed, and the client has nothing on the connection: the phase may end. The connection is closed
    /// unless it [is clean](Self::is_clean).
    pub fn is_done(&self) -> bool {
        self.ledger.is_empty() && self.state.is_idle() && self.doomed.is_none() && self.ahead.mode == Mode::On
    }

    /// Whether the client subscribes to something.
    pub fn is_subscribed(&self) -> bool {
        !self.state.subs.is_empty()
    }

    /// What `CLIENT GETREDIR` tells: -1 without tracking, 0 without a redirection.
    pub fn redirection(&self) -> i64 {
        self.state.redirection()
    }

    /// The client's next whole request.
    pub fn request(&mut self, command: &'static Command, request: &[u8], out: &mut Vec<u8>) -> Order {
        if self.ledger.is_full() {
            return Order::Wait;
        }
        if let Some(order) = self.doom(command, out) {
            return order;
        }
        let role = if self.state.opaque { Role::Plain } else { Role::of(command, request) };
        if self.state.resp == Resp::V2 && !self.ahead.tx {
            if self.ledger.subscribes() && role.asks_for_the_state() {
                return Order::Wait;
            }
            // Redis takes hardly anything from a subscriber of RESP2, and says so itself.
            if self.is_subscribed() && !role.is_for_subscribers() {
                return self.forward(What::Plain, command, request);
            }
        }
        if self.ahead.tx {
            self.queue(role, command, request, out)
        } else {
            self.act(role, command, request, out)
        }
    }

    /// A request that is so large that it passes by in pieces, of which these are the first `len` bytes; more are
    /// [told](Self::more) as they come, and its [end](Self::whole). Only what leaves nothing on the connection may.
    pub fn begin_large(&mut self, command: &'static Command, len: usize, out: &mut Vec<u8>) -> Order {
        if self.ledger.is_full() {
            return Order::Wait;
        }
        if let Some(order) = self.doom(command, out) {
            return order;
        }
        let what = if self.ahead.tx { What::Queued { select: None } } else { What::Plain };
        if !self.state.opaque && !Role::may_be_large(command) {
            return self.refuse("ERR the request is too large for this command", out);
        }
        let entry = Entry { whole: false, ..Entry::new(what, command, self.audience(), len) };
        self.ledger.push(entry);
        Order::Forward
    }

    /// So many more bytes of the large request went upstream.
    pub fn more(&mut self, len: usize) {
        self.ledger.grow(len);
    }

    /// The large request went upstream whole.
    pub fn whole(&mut self) {
        self.ledger.end();
    }

    /// Answers a request, which the driver doesn't let through, with this error, in its turn. An open transaction is
    /// spoiled by it.
    pub fn refuse(&mut self, text: &str, out: &mut Vec<u8>) -> Order {
        let mut answer = Vec::new();
        put_error(&mut answer, text);
        if !self.ahead.tx {
            return self.own(answer, out);
        }
        let entry = Entry::spoiler(answer, self.audience(), SPOILER);
        self.ledger.push(entry);
        Order::Send(SPOILER.to_vec())
    }

    /// Goes on with `CLIENT TRACKING … REDIRECT`: the other client's number at the server, if it has a connection of
    /// its own there.
    pub fn redirected(
        &mut self,
        command: &'static Command,
        request: &[u8],
        upstream: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Order {
        let Some(upstream) = upstream else {
            return self.refuse("ERR The client ID you want redirect to does not exist", out);
        };
        let sent = role::redirect(request, upstream);
        let entry = Entry::new(What::Tracking, command, self.audience(), sent.len()).keeping(request);
        self.ledger.push(entry);
        Order::Send(sent)
    }

    /// A transaction that was lost is answered here.
    fn doom(&mut self, command: &'static Command, out: &mut Vec<u8>) -> Option<Order> {
        let doomed = self.doomed.as_mut()?;
        let mut answer = Vec::new();
        match doomed.answer(command, self.state.resp, &mut answer) {
            Verdict::Pass if doomed.is_open() => self.doomed = None,
            Verdict::Pass => {}
            Verdict::Answered => return Some(self.own(answer, out)),
            Verdict::Over => {
                self.doomed = None;
                return Some(self.own(answer, out));
            }
        }
        None
    }

    /// A request outside of a transaction.
    fn act(&mut self, role: Role, command: &'static Command, request: &[u8], out: &mut Vec<u8>) -> Order {
        let what = match role {
            Role::Plain | Role::Exec | Role::Discard => What::Plain,
            Role::Blocking => What::Blocking,
            Role::Wait => return self.wait(command, request),
            Role::Multi => {
                self.ahead.tx = true;
                What::Multi
            }
            Role::Watch => What::Watch,
            Role::Unwatch => What::Unwatch,
            Role::Subscribe(family) => return self.subscribe(family, command, request),
            Role::Unsubscribe(family) => return self.unsubscribe(family, command, request),
            Role::Monitor => What::Monitor,
            Role::Redirect(to) => return Order::Redirect { to },
            Role::Tracking => What::Tracking,
            Role::GetRedir => return self.get_redir(out),
            Role::Caching => What::Caching,
            Role::Reply(mode) => return self.reply_mode(mode, out),
            Role::Flag => What::Flag,
            Role::Debug => What::Debug,
            Role::Unknown => What::Unknown,
            Role::Select(_) | Role::Local(_) if !self.ledger.is_empty() => return Order::Wait,
            Role::Select(_) if self.is_done() => return Order::Local { verb: Verb::Select, quiet: false },
            Role::Select(db) => What::Select(db),
            Role::Local(verb) => {
                let quiet = self.audience() == Audience::Muted;
                return Order::Local { verb, quiet };
            }
        };
        self.forward(what, command, request)
    }

    /// A request inside of a transaction.
    fn queue(&mut self, role: Role, command: &'static Command, request: &[u8], out: &mut Vec<u8>) -> Order {
        let what = match role {
            Role::Exec => What::Exec,
            Role::Discard => What::Discard,
            Role::Multi => return self.own_error(doomed::NESTED, out),
            Role::Watch => return self.own_error(doomed::WATCH_INSIDE, out),
            Role::Select(db) => What::Queued { select: Some(db) },
            Role::Plain | Role::Blocking | Role::Wait | Role::Unwatch | Role::Unknown => {
                What::Queued { select: None }
            }
            Role::Local(Verb::Quit | Verb::Reset) => return self.act(role, command, request, out),
            _ => {
                let name = command.name.replace('|', " ").to_uppercase();
                return self.refuse(&format!("ERR {name} inside MULTI is not allowed"), out);
            }
        };
        if matches!(what, What::Exec | What::Discard) {
            self.ahead.tx = false;
        }
        self.forward(what, command, request)
    }

    fn forward(&mut self, what: What, command: &'static Command, request: &[u8]) -> Order {
        let entry = Entry::new(what, command, self.audience(), request.len()).keeping(request);
        self.ledger.push(entry);
        Order::Forward
    }

    /// `WAIT`, so that it means what this client wrote on any connection.
    fn wait(&mut self, command: &'static Command, request: &[u8]) -> Order {
        let mut sent = Vec::new();
        self.barrier.put(&mut sent);
        self.ledger.push(Entry::ours(What::Barrier, sent.len()));
        sent.extend_from_slice(request);
        let entry = Entry::new(What::Wait, command, self.audience(), request.len());
        self.ledger.push(entry);
        Order::Send(sent)
    }

    fn subscribe(&mut self, family: Family, command: &'static Command, request: &[u8]) -> Order {
        let names = Args::new(request).skip(1).map(Box::from).collect();
        self.forward_bare(What::Subscribe { family, names }, command, request)
    }

    fn unsubscribe(&mut self, family: Family, command: &'static Command, request: &[u8]) -> Order {
        let names: Vec<_> = Args::new(request).skip(1).map(Box::from).collect();
        let names = (!names.is_empty()).then(|| names.into());
        self.forward_bare(What::Unsubscribe { family, names }, command, request)
    }

    /// Forwards what is remembered by its names.
    fn forward_bare(&mut self, what: What, command: &'static Command, request: &[u8]) -> Order {
        // Confirmations come even where replies are switched off (7.0.15, src/pubsub.c, `CLIENT_PUSHING`).
        let _ = self.audience();
        self.ledger.push(Entry::new(what, command, Audience::Client, request.len()));
        Order::Forward
    }

    fn get_redir(&mut self, out: &mut Vec<u8>) -> Order {
        if !self.ledger.is_empty() {
            return Order::Wait;
        }
        let mut answer = Vec::new();
        put_integer(&mut answer, self.state.redirection());
        self.own(answer, out)
    }

    /// `CLIENT REPLY`: only `ON` is answered.
    fn reply_mode(&mut self, mode: Mode, out: &mut Vec<u8>) -> Order {
        // To one that is silent already `SKIP` says nothing (src/networking.c, `clientReplyCommand`).
        if self.ahead.mode != Mode::Off || mode == Mode::On {
            self.ahead.mode = mode;
        }
        if mode != Mode::On {
            return Order::Answered;
        }
        let mut answer = Vec::new();
        put_simple(&mut answer, "OK");
        self.own(answer, out)
    }

    fn own_error(&mut self, text: &str, out: &mut Vec<u8>) -> Order {
        let mut answer = Vec::new();
        put_error(&mut answer, text);
        self.own(answer, out)
    }

    /// Answers in its turn.
    fn own(&mut self, answer: Vec<u8>, out: &mut Vec<u8>) -> Order {
        if self.audience() == Audience::Client {
            self.ledger.push(Entry::own(answer));
            self.ledger.answer(out);
        }
        Order::Answered
    }

    /// Who gets the reply to the request at hand; a `SKIP` is used up by it.
    fn audience(&mut self) -> Audience {
        match self.ahead.mode {
            Mode::On => Audience::Client,
            Mode::Off => Audience::Muted,
            Mode::Skip => {
                self.ahead.mode = Mode::On;
                Audience::Muted
            }
        }
    }

    /// A whole reply, by its kind and its first bytes (512 are enough).
    pub fn reply(&mut self, kind: ReplyKind, head: &[u8]) -> Deliver {
        let deliver = self.begin_reply(kind, head);
        self.end_reply();
        deliver
    }

    /// The answers of our own whose turn has come; ask whenever a reply was passed on whole.
    pub fn answer(&mut self, out: &mut Vec<u8>) {
        self.ledger.answer(out);
    }
}
