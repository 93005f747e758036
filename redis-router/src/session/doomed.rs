//! The stand-in for a transaction that was lost with its connection. Kind: pure.
//!
//! A transaction that can't be committed any more is not an error: its client is told what Redis would tell it. What it
//! watched may have changed while nobody looked, so `EXEC` answers nil, which every client takes as *try again*; a
//! transaction whose queued commands are gone is aborted.
//!
//! ```text
//!   Watching ──MULTI──▶ Open ──EXEC──▶ nil │ EXECABORT
//!      │                  └──DISCARD──▶ OK
//!      └──UNWATCH──▶ OK
//! ```

use crate::command::Command;
use crate::wire::Resp;
use crate::wire::build::{put_error, put_null_array, put_simple};

/// Redis' own text for a transaction that it discarded.
pub const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Redis' own text for `MULTI` in a transaction.
pub(super) const NESTED: &str = "ERR MULTI calls can not be nested";

/// Redis' own text for `WATCH` in a transaction.
pub(super) const WATCH_INSIDE: &str = "ERR WATCH inside MULTI is not allowed";

/// What `EXEC` will answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nil: a watched key may have changed.
    Nil,
    /// `EXECABORT`: what was queued is gone.
    Abort,
}

impl Fate {
    /// The answer to `EXEC`.
    pub fn put(self, resp: Resp, out: &mut Vec<u8>) {
        match self {
            Self::Nil => put_null_array(out, resp),
            Self::Abort => put_error(out, EXECABORT),
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is no part of the transaction: run it as ever. `RESET` and `QUIT` are among these, and end the stand-in.
    Pass,
    /// Answered.
    Answered,
    /// Answered, and the transaction is over: the stand-in is of no more use.
    Over,
}

/// A transaction that was lost, from the loss to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doomed {
    fate: Fate,
    open: bool,
}

impl Doomed {
    /// For a client that watches and has not begun: its next transaction answers nil.
    pub fn watching() -> Self {
        Self { fate: Fate::Nil, open: false }
    }

    /// For a client in the middle of `MULTI`.
    pub fn open(fate: Fate) -> Self {
        Self { fate, open: true }
    }

    /// Whether the client is in the middle of `MULTI`.
    pub fn is_open(self) -> bool {
        self.open
    }

    /// One of its commands was refused: a transaction that is open will be aborted, whatever else is the matter with it.
    pub fn spoil(&mut self) {
        if self.open {
            self.fate = Fate::Abort;
        }
    }

    /// Answers the client's next command, if it is part of the transaction. `takes`: Redis takes it with so many
    /// arguments.
    pub fn answer(&mut self, command: &Command, takes: bool, resp: Resp, out: &mut Vec<u8>) -> Verdict {
        match (self.open, command.name) {
            (true, name) | (false, name @ ("multi" | "watch" | "unwatch")) if !takes => {
                self.reject(name, out)
            }
            (true, name) => self.answer_open(name, resp, out),
            (false, name) => self.answer_watching(name, out),
        }
    }

    /// As Redis rejects a command for its form (src/server.c, `rejectCommand`): `EXEC` discards the transaction by it.
    fn reject(&mut self, name: &str, out: &mut Vec<u8>) -> Verdict {
        let text = format!("wrong number of arguments for '{name}' command");
        if name == "exec" {
            put_error(out, &format!("EXECABORT Transaction discarded because of: {text}"));
            return Verdict::Over;
        }
        self.spoil();
        put_error(out, &format!("ERR {text}"));
        Verdict::Answered
    }

    fn answer_watching(&mut self, name: &str, out: &mut Vec<u8>) -> Verdict {
        match name {
            "multi" => self.open = true,
            // What is watched in addition changes nothing.
            "watch" => {}
            "unwatch" => {
                put_simple(out, "OK");
                return Verdict::Over;
            }
            _ => return Verdict::Pass,
        }
        put_simple(out, "OK");
        Verdict::Answered
    }

    fn answer_open(&mut self, name: &str, resp: Resp, out: &mut Vec<u8>) -> Verdict {
        match name {
            "reset" | "quit" => return Verdict::Pass,
            "exec" => {
                self.fate.put(resp, out);
                return Verdict::Over;
            }
            "discard" => {
                put_simple(out, "OK");
                return Verdict::Over;
            }
            "multi" => put_error(out, NESTED),
            "watch" => put_error(out, WATCH_INSIDE),
            _ => put_simple(out, "QUEUED"),
        }
        Verdict::Answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    /// Shows the stand-in one command after the other; each is written with what is answered and what comes of it.
    #[track_caller]
    fn check(mut doomed: Doomed, resp: Resp, conversation: &[(&str, &str, Verdict)]) {
        for &(line, answer, verdict) in conversation {
            let mut out = Vec::new();
            let command = find(line.split(' ').next().unwrap().as_bytes(), None);
            let takes = command.takes(line.split(' ').count() as u32);
            let came = doomed.answer(command, takes, resp, &mut out);
            assert_eq!((String::from_utf8_lossy(&out).trim_end(), came), (answer, verdict), "{line}");
        }
    }

    #[test]
    fn a_lost_watch_makes_the_next_exec_answer_nil() {
        use Verdict::{Answered, Over, Pass};
        let to_the_end = [
            ("GET k", "", Pass),
            ("WATCH k", "+OK", Answered),
            ("EXEC", "", Pass),
            ("DISCARD", "", Pass),
            ("MULTI", "+OK", Answered),
            ("SET k v", "+QUEUED", Answered),
            ("WATCH k", "-ERR WATCH inside MULTI is not allowed", Answered),
            ("MULTI", "-ERR MULTI calls can not be nested", Answered),
        ];
        for (resp, nil) in [(Resp::V2, "*-1"), (Resp::V3, "_")] {
            check(Doomed::watching(), resp, &[&to_the_end[..], &[("EXEC", nil, Over)]].concat());
        }
    }

    #[test]
    fn a_lost_transaction_is_aborted() {
        let doomed = Doomed::open(Fate::Abort);
        check(doomed, Resp::V3, &[("INCR k", "+QUEUED", Verdict::Answered), ABORTED]);
    }

    #[test]
    fn a_client_can_end_what_was_lost() {
        use Verdict::{Over, Pass};
        check(Doomed::watching(), Resp::V2, &[("UNWATCH", "+OK", Over)]);
        check(Doomed::open(Fate::Nil), Resp::V2, &[("DISCARD", "+OK", Over)]);
        check(Doomed::open(Fate::Nil), Resp::V2, &[("RESET", "", Pass), ("QUIT", "", Pass)]);
    }

    const ABORTED: (&str, &str, Verdict) =
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors.", Verdict::Over);

    #[test]
    fn what_has_a_wrong_number_of_arguments_is_refused_as_redis_refuses_it() {
        use Verdict::{Answered, Over, Pass};
        let refusal = |name: &str| format!("-ERR wrong number of arguments for '{name}' command");
        let (multi, watch, unwatch) = (refusal("multi"), refusal("watch"), refusal("unwatch"));
        let unopened = [
            ("MULTI x", &*multi, Answered),
            ("WATCH", &*watch, Answered),
            ("UNWATCH x", &*unwatch, Answered),
            ("GET", "", Pass),
            ("EXEC", "", Pass),
        ];
        check(Doomed::watching(), Resp::V2, &unopened);
        let discarded =
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
        check(Doomed::open(Fate::Nil), Resp::V2, &[("EXEC x", discarded, Over)]);
    }

    #[test]
    fn a_transaction_with_a_refused_command_is_aborted_whatever_it_watched() {
        let get = ("GET", "-ERR wrong number of arguments for 'get' command", Verdict::Answered);
        check(Doomed::open(Fate::Nil), Resp::V2, &[get, ABORTED]);
        let mut refused = Doomed::open(Fate::Nil);
        refused.spoil();
        check(refused, Resp::V2, &[ABORTED]);
    }
}
