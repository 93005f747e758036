//! Transactions that come whole, which need no connection of their own. Kind: driver.

use super::driver::{Session, Taken};
use crate::command::{self, CommandId, Route};
use crate::site::Nature;
use crate::wire::{Args, Framed, RequestFramer, Span};

/// A transaction from `MULTI` to its end.
struct Whole {
    len: usize,
    replies: u32,
    nature: Nature,
    /// The command that ends it, by which it is counted.
    end: CommandId,
}

impl Session {
    /// A transaction that has come whole, and holds nothing that changes the connection, goes as one.
    pub(super) fn take_transaction(&mut self, bytes: &[u8], first: Span) -> Taken {
        let Some(whole) = self.gather(bytes, first) else { return Taken::Aside(first.len) };
        if whole.nature == Nature::Write && self.site.common.barrier.raised() {
            return Taken::Barred;
        }
        let request = &bytes[..whole.len];
        self.mux.enter(&self.down, request, whole.nature, whole.replies, whole.end);
        Taken::Used(whole.len)
    }

    /// Looks ahead from `MULTI` to its `EXEC`.
    fn gather(&self, bytes: &[u8], first: Span) -> Option<Whole> {
        let mut whole = Whole { len: first.len, replies: 1, nature: Nature::Read, end: CommandId::UNKNOWN };
        let mut framer = RequestFramer::default();
        while let Ok(Framed::Whole(span)) = framer.next(&bytes[whole.len..], &self.limits) {
            let request = &bytes[whole.len..whole.len + span.len];
            let args = Args::new(request);
            let mut names = args.clone();
            let command = command::find(names.next()?, names.next());
            whole.len += span.len;
            whole.replies += 1;
            // What Redis refuses for its form does not end a transaction, however it is called.
            if whole.len > self.terms.large || span.inline || !command.takes(span.argc) {
                return None;
            }
            match command::route(command, args.clone()) {
                // Not DISCARD: an ACL may refuse it, which leaves the transaction open.
                Route::Local(command::Verb::Exec) => {
                    whole.end = command.id;
                    return Some(whole);
                }
                Route::Shared if self.terms.refuses(command).is_none() => {
                    if let Some(script) = command.script() {
                        self.note_script(script, args);
                    }
                    if !command.replayable() {
                        whole.nature = Nature::Write;
                    }
                }
                _ => return None,
            }
        }
        None
    }
}
