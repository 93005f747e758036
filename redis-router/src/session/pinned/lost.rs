//! The connection is gone: what of it can be made again, what is sent again, and what must be told. Kind: pure.
//!
//! | what was under way | if the server can't have run it | if it may have |
//! |---|---|---|
//! | a read, a blocking call, a subscription, `WATCH` | sent again | sent again |
//! | a write | sent again | answered [`UNKNOWN`] |
//! | `WAIT` | answered 0 | answered 0 |
//! | a transaction | begun again, with what was queued | its `EXEC` answered [`UNKNOWN`], if it writes |
//! | a transaction behind an answered `WATCH` | its `EXEC` answered nil | the same, unless sent: [`UNKNOWN`] |
//!
//! A blocking call that popped something in the very moment of the loss has lost it, as any client's would have.

use std::collections::VecDeque;

use super::ledger::{Audience, Entry, What};
use super::state::{Family, State, Tx};
use super::{Pinned, Recovery};
use crate::answers::UNKNOWN;
use crate::session::doomed::{Doomed, Fate};
use crate::wire::Resp;
use crate::wire::build::{put_array_header, put_error, put_integer, put_request, put_simple};

/// What a client is told whose request did not run, and was too large to be kept for another time. Clients know the
/// code: they try again.
pub const TOO_LARGE: &str =
    "LOADING the connection to Redis was lost: the command did not run, and was too large to be kept";

/// What a client with a cache is told that must drop all of it (RESP3 alone has it).
const FLUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

impl Pinned {
    /// The connection is lost, or must not be used any more; the last `unsent` bytes that were ordered never left. What
    /// can be answered now goes to `out`, the rest in its turn.
    pub fn lost(&mut self, unsent: usize, out: &mut Vec<u8>) -> Recovery {
        self.ledger.unsend(unsent);
        if self.ledger.midway || self.state.is_irreplaceable() {
            return Recovery { cut: true, ..Recovery::default() };
        }
        if self.state.tracking.is_some() && self.state.resp == Resp::V3 && !self.state.flushed {
            out.extend_from_slice(FLUSH);
            self.state.flushed = true;
        }
        let old = self.ledger.take();
        let mut plan = Plan::new(self);
        plan.resume();
        plan.go_on(old);
        let recovery = plan.done();
        self.ledger.answer(out);
        recovery
    }

    /// The client is someone else now, or speaks another version: its connection is left for one that is logged in so.
    /// Nothing may be owed.
    pub fn moved(&mut self, resp: Resp, db: u32, out: &mut Vec<u8>) -> Recovery {
        self.state.resp = resp;
        self.state.db = db;
        self.lost(0, out)
    }

    /// No other connection came in time: all that waits is answered with this error. What the client subscribes to or
    /// tracks is remembered; [`lost`](Self::lost) tells how to go on, once there is a connection again.
    pub fn give_up(&mut self, text: &str, out: &mut Vec<u8>) {
        let mut error = Vec::new();
        put_error(&mut error, text);
        let mut ended = false;
        for entry in self.ledger.take() {
            ended |= matches!(entry.what, What::Exec | What::Discard);
            match entry.what {
                What::Own(answer) => out.extend_from_slice(&answer),
                _ if entry.audience == Audience::Client => out.extend_from_slice(&error),
                _ => {}
            }
        }
        if self.ahead.tx {
            self.doomed = Some(Doomed::open(Fate::Abort));
        } else if self.state.watched && !ended {
            self.doomed = Some(Doomed::watching());
        }
        self.ahead.tx = false;
        self.state.tx = None;
        self.state.watched = false;
    }
}

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is queued again.
    Again,
    /// It was sent whole, writes, and nobody knows.
    Unknown,
    /// It can't be had any more.
    Doomed(Fate),
}

struct Plan<'a> {
    pinned: &'a mut Pinned,
    recovery: Recovery,
    /// What was watched is lost, so the next transaction is.
    watch_lost: bool,
    /// `WATCH` is sent again.
    watches: bool,
    /// The transaction that is open where the plan has come to.
    open: Option<Outcome>,
}

impl<'a> Plan<'a> {
    fn new(pinned: &'a mut Pinned) -> Self {
        let watch_lost = std::mem::take(&mut pinned.state.watched);
        Self { pinned, recovery: Recovery::default(), watch_lost, watches: false, open: None }
    }

    fn state(&self) -> &State {
        &self.pinned.state
    }

    /// Makes the connection what it was.
    fn resume(&mut self) {
        for request in self.state().flags.clone() {
            self.ours(What::Flag, &request);
        }
        if let Some(request) = self.state().tracking.clone() {
            self.ours(What::Tracking, &request);
        }
        if self.state().monitor {
            self.ours(What::Monitor, b"*1\r\n$7\r\nMONITOR\r\n");
        }
        Family::ALL.into_iter().for_each(|family| self.resubscribe(family));
        if let Some(request) = self.state().caching.clone() {
            self.ours(What::Caching, &request);
        }
    }

    fn resubscribe(&mut self, family: Family) {
        let names: VecDeque<_> = self.state().subs.of(family).iter().cloned().collect();
        if names.is_empty() {
            return;
        }
        self.recovery.resubscribed += names.len();
        let request = request_of(family.subscribe(), names.iter());
        self.ours(What::Subscribe { family, names }, &request);
    }

    fn go_on(&mut self, mut old: VecDeque<Entry>) {
        if let Some(tx) = self.pinned.state.tx.take() {
            let outcome = self.outcome(Some(&tx), &old);
            self.open = Some(outcome);
            if outcome == Outcome::Again {
                self.queue_again(tx);
            }
        }
        while let Some(entry) = old.pop_front() {
            self.recovery.discard |= !entry.whole;
            // What was ours belonged to the old connection.
            if entry.audience == Audience::Nobody && !matches!(entry.what, What::Own(_)) {
                continue;
            }
            if let What::Multi = entry.what {
                self.open = Some(self.outcome(None, &old));
            }
            match self.open {
                Some(outcome) => self.in_transaction(entry, outcome),
                None => self.alone(entry),
            }
        }
    }

    /// What becomes of the transaction of which this was queued already, and whose rest is at the front of `rest`.
    fn outcome(&self, begun: Option<&Tx>, rest: &VecDeque<Entry>) -> Outcome {
        let mut writes = begun.is_some_and(|tx| tx.writes);
        let mut forgotten = begun.is_some_and(|tx| tx.forgotten);
        let mut sent = false;
        // What was ours is in `begun`.
        for entry in rest.iter().filter(|entry| entry.audience != Audience::Nobody) {
            match entry.what {
                What::Exec => {
                    sent = !entry.not_run;
                    break;
                }
                What::Discard => break,
                What::Queued { .. } => {
                    writes |= entry.is_write();
                    forgotten |= entry.request.is_none();
                }
                _ => {}
            }
        }
        match () {
            () if sent && writes => Outcome::Unknown,
            () if self.watch_lost => Outcome::Doomed(Fate::Nil),
            () if forgotten => Outcome::Doomed(Fate::Abort),
            () => Outcome::Again,
        }
    }

    fn queue_again(&mut self, tx: Tx) {
        self.ours(What::Multi, b"*1\r\n$5\r\nMULTI\r\n");
        self.recovery.send.extend_from_slice(&tx.queue);
        self.recovery.replayed += tx.len;
        // One entry for each reply; the bytes are those of the first.
        let mut len = tx.queue.len();
        for _ in 0..tx.len {
            let queued = Entry::ours(What::Queued { select: None }, std::mem::take(&mut len));
            self.pinned.ledger.push(queued);
        }
        self.pinned.state.tx = Some(tx);
    }

    fn in_transaction(&mut self, entry: Entry, outcome: Outcome) {
        let ends = matches!(entry.what, What::Exec | What::Discard);
        match (outcome, &entry.what) {
            (Outcome::Again, _) => self.again(entry),
            (_, What::Own(_)) => self.pinned.ledger.push(entry),
            (_, What::Multi | What::Discard) => self.answer(&entry, |out| put_simple(out, "OK")),
            (_, What::Spoiler(answer)) => {
                let answer = answer.clone();
                self.answer(&entry, |out| out.extend_from_slice(&answer));
            }
            (Outcome::Unknown, What::Exec) => self.unknown(&entry),
            (Outcome::Doomed(fate), What::Exec) => {
                let resp = self.state().resp;
                self.answer(&entry, |out| fate.put(resp, out));
            }
            _ => self.answer(&entry, |out| put_simple(out, "QUEUED")),
        }
        if ends {
            self.end(outcome);
        }
    }

    /// A transaction ends, and what was watched for it.
    fn end(&mut self, outcome: Outcome) {
        if outcome != Outcome::Again && self.watches {
            // In the client's name, as it takes back what the client will be told it watches.
            let unwatch = Entry { audience: Audience::Muted, ..Entry::ours(What::Unwatch, 0) };
            self.again(unwatch.keeping(b"*1\r\n$7\r\nUNWATCH\r\n"));
        }
        self.open = None;
        self.watch_lost = false;
        self.watches = false;
    }

    fn alone(&mut self, entry: Entry) {
        match entry.what {
            What::Own(_) => self.pinned.ledger.push(entry),
            What::Watch if self.watch_lost => self.answer(&entry, |out| put_simple(out, "OK")),
            What::Unwatch if self.watch_lost => {
                self.watch_lost = false;
                self.answer(&entry, |out| put_simple(out, "OK"));
            }
            What::Watch => {
                self.watches = true;
                self.again(entry);
            }
            What::Wait => {
                let aof = entry.command.name == "waitaof";
                self.answer(&entry, |out| put_nobody(out, aof));
            }
            What::Subscribe { family, names } => {
                let request = request_of(family.subscribe(), names.iter());
                let what = What::Subscribe { family, names };
                self.again(Entry { what, request: Some(request.into()), ..entry });
            }
            What::Unsubscribe { family, names } => {
                let request = request_of(family.unsubscribe(), names.iter().flatten());
                let what = What::Unsubscribe { family, names };
                self.again(Entry { what, request: Some(request.into()), ..entry });
            }
            What::Plain | What::Unknown if entry.is_write() && !entry.not_run => self.unknown(&entry),
            _ => self.again(entry),
        }
    }

    /// Sends it again, or for the first time.
    fn again(&mut self, mut entry: Entry) {
        let Some(request) = entry.request.take().filter(|_| !matches!(entry.what, What::Own(_))) else {
            return match entry.what {
                What::Own(_) => self.pinned.ledger.push(entry),
                _ => self.answer(&entry, |out| put_error(out, TOO_LARGE)),
            };
        };
        self.recovery.replayed += 1;
        self.recovery.send.extend_from_slice(&request);
        let keeps = !matches!(entry.what, What::Subscribe { .. } | What::Unsubscribe { .. });
        entry.len = request.len();
        entry.not_run = false;
        entry.request = Some(request).filter(|_| keeps);
        self.pinned.ledger.push(entry);
    }

    fn unknown(&mut self, entry: &Entry) {
        self.recovery.unknown += 1;
        self.answer(entry, |out| put_error(out, UNKNOWN));
    }

    /// Answers in the server's place, if the client wants to hear it.
    fn answer(&mut self, entry: &Entry, put: impl FnOnce(&mut Vec<u8>)) {
        if entry.audience == Audience::Client {
            let mut answer = Vec::new();
            put(&mut answer);
            self.pinned.ledger.push(Entry::own(answer));
        }
    }

    /// Sends something of which the client hears nothing.
    fn ours(&mut self, what: What, request: &[u8]) {
        self.recovery.send.extend_from_slice(request);
        self.pinned.ledger.push(Entry::ours(what, request.len()));
    }

    fn done(self) -> Recovery {
        let pinned = self.pinned;
        if let Some(Outcome::Doomed(fate)) = self.open {
            pinned.doomed = Some(Doomed::open(fate));
            pinned.ahead.tx = false;
        } else if self.watch_lost {
            pinned.doomed = Some(Doomed::watching());
        }
        self.recovery
    }
}

fn request_of<'a>(verb: &[u8], names: impl Iterator<Item = &'a Box<[u8]>>) -> Vec<u8> {
    let args: Vec<&[u8]> = std::iter::once(verb).chain(names.map(|name| &**name)).collect();
    let mut request = Vec::new();
    put_request(&mut request, &args);
    request
}

/// That nobody has acknowledged anything, as far as is known.
fn put_nobody(out: &mut Vec<u8>, aof: bool) {
    if aof {
        put_array_header(out, 2);
        put_integer(out, 0);
    }
    put_integer(out, 0);
}
