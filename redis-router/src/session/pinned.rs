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

mod ask;
mod ledger;
mod lost;
mod news;
mod role;
mod settle;
mod state;
#[cfg(test)]
mod tests;

pub use ledger::DEPTH;
pub use lost::TOO_LARGE;
pub use state::REMEMBERED;

use crate::command::{Tenure, Verb};
use crate::session::doomed::Doomed;
use crate::wire::build::put_request;
use crate::wire::{ReplyKind, Resp};
use ledger::Ledger;
use role::Mode;
use state::State;

/// The channel of our own to which an empty message is published in front of `WAIT`.
const BARRIER_CHANNEL: &[u8] = b"__redis-router__:wait";

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
    tenure: Tenure,
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
            tenure: Tenure::Settled,
            state: State::new(resp, db),
            ahead: Ahead::default(),
            ledger: Ledger::default(),
            doomed: None,
        }
    }

    /// The server of the connection: how it makes `WAIT` mean something, and how long it has been what it is.
    pub fn meet(&mut self, barrier: Barrier, tenure: Tenure) {
        (self.barrier, self.tenure) = (barrier, tenure);
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
