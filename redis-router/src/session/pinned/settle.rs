//! The server's side of a client with a connection of its own: whose a reply is, and what it makes of the connection.
//! Kind: pure.

use super::ledger::{Audience, Entry, What};
use super::news::{confirmation, confirmed, is_news};
use super::state::Tx;
use super::{Deliver, Pinned};
use crate::command::proves_not_run;
use crate::wire::ReplyKind;

impl Pinned {
    /// A reply begins, of which this is the kind and the beginning: 512 bytes, or all of it. For replies that stream by;
    /// [`reply`](Self::reply) is for the others.
    pub fn begin_reply(&mut self, kind: ReplyKind, head: &[u8]) -> Deliver {
        let deliver = self.judge(kind, head);
        self.ledger.midway = matches!(deliver, Deliver::ToClient);
        deliver
    }

    /// The reply that began has ended, and went where it should.
    pub fn end_reply(&mut self) {
        self.ledger.midway = false;
    }

    /// Nothing that may run only once is under way behind what was [turned away](Deliver::Replay): the connection may
    /// be left without making an outcome unknown. The last `unsent` bytes that were ordered have not left.
    pub fn may_hang_up(&self, unsent: usize) -> bool {
        !self.ledger.under_way(unsent).any(|entry| match &entry.what {
            What::Plain | What::Unknown | What::Exec => entry.is_write(),
            _ => false,
        })
    }

    fn judge(&mut self, kind: ReplyKind, head: &[u8]) -> Deliver {
        if self.state.opaque {
            if kind != ReplyKind::Push {
                self.ledger.pop();
            }
            return Deliver::ToClient;
        }
        if is_news(kind, head, &self.state) {
            return Deliver::ToClient;
        }
        let turned = self.ledger.turned > 0;
        let Some(front) = self.ledger.front() else {
            return if kind == ReplyKind::Push { Deliver::ToClient } else { Deliver::Stray };
        };
        match front.what {
            What::Subscribe { .. } | What::Unsubscribe { .. } => {
                if turned {
                    Deliver::Stray
                } else {
                    self.confirm(kind, head)
                }
            }
            _ if kind == ReplyKind::Push => Deliver::ToClient,
            // What a module says of its own proves nothing.
            What::Unknown if !turned => self.settle(kind),
            _ if kind == ReplyKind::Error && proves_not_run(front.command, head, self.tenure) => {
                self.turn_away()
            }
            _ if turned => self.pass_over(kind, head),
            _ => self.settle(kind),
        }
    }

    /// The server did not run the command: it stays in the ledger, for the next connection.
    fn turn_away(&mut self) -> Deliver {
        if let Some(front) = self.ledger.front() {
            front.not_run = true;
        }
        self.ledger.turn();
        Deliver::Replay
    }

    /// A reply behind one that was turned away: it would come too early, so it is asked for again.
    fn pass_over(&mut self, kind: ReplyKind, head: &[u8]) -> Deliver {
        let Some(front) = self.ledger.front() else { return Deliver::Stray };
        let ran = match front.what {
            What::Plain | What::Unknown => {
                front.is_write() && !(kind == ReplyKind::Error && front.is_atomic())
            }
            What::Exec => kind == ReplyKind::Other,
            _ => false,
        };
        if ran {
            // A write that ran, behind one that did not: the server changed its mind. Its answer can't be given in its
            // turn; what is unknown from here on is answered so.
            return Deliver::Stray;
        }
        front.not_run |= !head.is_empty();
        self.ledger.turn();
        Deliver::Replay
    }

    /// One more confirmation of a subscription, or what refuses it.
    fn confirm(&mut self, kind: ReplyKind, head: &[u8]) -> Deliver {
        let Some((family, on)) = confirmation(kind, head, self.state.resp) else {
            return self.refuse_subscription(kind);
        };
        let Some(front) = self.ledger.front() else { return Deliver::Stray };
        let audience = front.audience;
        let done = match &mut front.what {
            What::Subscribe { family: asked, names } if on && *asked == family => {
                let name = names.pop_front();
                let done = names.is_empty();
                if let Some(name) = name.filter(|_| audience == Audience::Client) {
                    self.state.subscribed(family, name);
                }
                done
            }
            What::Unsubscribe { family: asked, names } if !on && *asked == family => {
                let name = names.as_mut().map(|names| names.pop_front().unwrap_or_default());
                let listed = names.as_ref().map(|names| names.is_empty());
                self.state.unsubscribed(family, name.as_deref().or_else(|| confirmed(head)));
                listed.unwrap_or_else(|| self.state.subs.of(family).is_empty())
            }
            _ => return if kind == ReplyKind::Push { Deliver::ToClient } else { Deliver::Stray },
        };
        if done {
            self.ledger.pop();
        }
        deliver_to(audience)
    }

    /// What comes in a confirmation's place: an error ends the request, and a push is news.
    fn refuse_subscription(&mut self, kind: ReplyKind) -> Deliver {
        match kind {
            ReplyKind::Push => Deliver::ToClient,
            ReplyKind::Error => match self.ledger.pop() {
                // Ours, in the client's name: it believes that it subscribes.
                Some(entry) if entry.audience == Audience::Nobody => Deliver::Stray,
                _ => Deliver::ToClient,
            },
            _ => Deliver::Stray,
        }
    }

    /// The reply to the oldest request.
    fn settle(&mut self, kind: ReplyKind) -> Deliver {
        let Some(entry) = self.ledger.pop() else { return Deliver::Stray };
        if let What::Barrier = entry.what {
            return self.settle_barrier(kind);
        }
        let audience = entry.audience;
        let spoiled = if let What::Spoiler(answer) = &entry.what { Some(answer.clone()) } else { None };
        if audience != Audience::Nobody {
            self.apply(entry, kind);
        } else if kind == ReplyKind::Error && entry.what.must_succeed() {
            return Deliver::Stray;
        } else if let What::Tracking = entry.what {
            self.state.flushed = false;
        }
        match spoiled {
            Some(answer) if audience == Audience::Client => Deliver::Instead(answer),
            _ => deliver_to(audience),
        }
    }

    /// Without the barrier `WAIT` would answer for nothing: the client is told why there is none, in its place.
    fn settle_barrier(&mut self, kind: ReplyKind) -> Deliver {
        if kind != ReplyKind::Error {
            return Deliver::Swallow;
        }
        let audience =
            self.ledger.front().map(|wait| std::mem::replace(&mut wait.audience, Audience::Nobody));
        deliver_to(audience.unwrap_or(Audience::Nobody))
    }

    /// What the reply makes of the connection.
    fn apply(&mut self, entry: Entry, kind: ReplyKind) {
        let state = &mut self.state;
        let failed = kind == ReplyKind::Error;
        let caching = if matches!(entry.what, What::Caching) { state.caching.take() } else { None };
        state.caching = None;
        match entry.what {
            What::Queued { select } => self.queued(&entry, select),
            What::Spoiler(_) => self.queued(&entry, None),
            What::Multi if failed => self.unbegin(),
            What::Multi => state.tx = Some(Tx::default()),
            What::Exec => self.executed(kind),
            What::Caching => state.caching = if failed { caching } else { entry.request },
            _ if failed => {}
            What::Discard => {
                state.tx = None;
                state.watched = false;
            }
            What::Watch => state.watched = true,
            What::Unwatch => state.watched = false,
            What::Monitor => state.monitor = true,
            What::Tracking => {
                state.spoiled = true;
                state.tracked(entry.request);
            }
            What::Flag => state.flagged(entry.request),
            What::Debug => state.opaque = true,
            What::Select(db) => state.select(db),
            What::Unknown => state.stuck = true,
            _ => {}
        }
    }

    fn queued(&mut self, entry: &Entry, select: Option<u32>) {
        if let Some(tx) = &mut self.state.tx {
            tx.queue(entry.request.as_deref());
            tx.writes |= entry.is_write() && !matches!(entry.what, What::Spoiler(_));
            tx.select = select.or(tx.select);
        }
    }

    fn executed(&mut self, kind: ReplyKind) {
        let tx = self.state.tx.take();
        self.state.watched = false;
        let executed = kind == ReplyKind::Other;
        if let Some(db) = tx.and_then(|tx| tx.select).filter(|_| executed) {
            self.state.select(db);
        }
    }

    /// `MULTI` was refused, so what came behind it was not part of a transaction.
    fn unbegin(&mut self) {
        let mut ended = false;
        for entry in self.ledger.behind() {
            match entry.what {
                What::Queued { .. } | What::Spoiler(_) => entry.what = What::Plain,
                What::Exec | What::Discard => {
                    entry.what = What::Plain;
                    ended = true;
                    break;
                }
                _ => {}
            }
        }
        self.ahead.tx &= ended;
    }
}

fn deliver_to(audience: Audience) -> Deliver {
    if audience == Audience::Client { Deliver::ToClient } else { Deliver::Swallow }
}
