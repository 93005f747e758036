//! The client's side of a client with a connection of its own: where a request goes, and what it will be owed. Kind: pure.

use super::ledger::{Audience, Entry, What};
use super::role::{self, Mode, Role};
use super::state::Family;
use super::{Order, Pinned};
use crate::command::{Command, Verb};
use crate::session::doomed::{self, Doomed, Verdict};
use crate::wire::build::{put_error, put_integer, put_simple};
use crate::wire::{Args, Resp};

/// A request that no server takes, so that it spoils the transaction that it is part of: `GET` without a key.
const SPOILER: &[u8] = b"*1\r\n$3\r\nGET\r\n";

impl Pinned {
    /// The client's next whole request.
    pub fn request(&mut self, command: &'static Command, request: &[u8], out: &mut Vec<u8>) -> Order {
        if self.ledger.is_full() {
            return Order::Wait;
        }
        let argc = u32::try_from(Args::new(request).count()).unwrap_or(u32::MAX);
        if self.doomed.is_some()
            && let Some(order) = self.doom(command, command.takes(argc), out)
        {
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
        if let Some(order) = self.doom(command, true, out) {
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
        self.doomed.iter_mut().for_each(Doomed::spoil);
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
    fn doom(&mut self, command: &'static Command, takes: bool, out: &mut Vec<u8>) -> Option<Order> {
        let doomed = self.doomed.as_mut()?;
        let mut answer = Vec::new();
        match doomed.answer(command, takes, self.state.resp, &mut answer) {
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
            Role::Select(_) | Role::Local(_) if self.ledger.is_busy() => return Order::Wait,
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
        if self.ledger.is_busy() {
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
}
