//! What the server sends. Kind: pure.

use proxy_core::link::Outbox;
use proxy_core::session::{Ending, Step, Then};
use proxy_core::upstream::pool::Port;

use super::ledger::Kind;
use super::vars::Vars;
use super::{Fatal, Server, Session, Status, count};
use crate::wire::backend;
use crate::wire::error::{Report, ServerError, fields, put_error};
use crate::wire::frame::{HEADER, Header};

/// An error of at most this size is read before it is handed on, to see whether it is the connection's last.
const READ_ERROR: usize = 64 * 1024;

/// The server has ended the connection at `at`. What it said before in answer to a request that it did not complete
/// (ParseComplete, BindComplete, a row) came together with its last words, and is withdrawn: nobody has heard it, so
/// that the request may run elsewhere as if it had never been here.
fn last_words(at: usize, answer: Option<usize>, server: &mut Server) -> Step {
    let withdrawn = match server.ledger.front() {
        Some(unit) if unit.touched && !unit.completed => answer.inspect(|_| unit.touched = false),
        _ => None,
    };
    let forward = withdrawn.unwrap_or(at);
    Step { forward, skip: at - forward, then: Then::Lost }
}

/// What becomes of one message.
enum Move {
    Forward,
    Swallow,
    /// Forward it: it was the last of a transaction.
    Boundary,
    /// Its body must be here first.
    Wait,
    /// It was the connection's last, or no message at all.
    Lost,
    /// It refuses to become what the client had.
    Refused,
}

impl Session {
    pub(super) fn on_server(&mut self, input: &[u8], client: &mut Outbox, server: Port<'_, Server>) -> Step {
        let server = server.state;
        if server.left > 0 {
            return self.pass_rest(input, server);
        }
        let mut at = 0;
        // Where the answer to the oldest unit begins, if none of it has gone to the client yet.
        let mut answer = None;
        loop {
            let rest = &input[at..];
            if server.ledger.front().is_some_and(|unit| !unit.touched) {
                answer = Some(at);
            }
            let header = match backend::header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return Step { forward: at, skip: 0, then: Then::More },
                Err(_) => return Step { forward: at, skip: 0, then: Then::Lost },
            };
            let size = header.size();
            match self.judge(header, rest, client, server) {
                Move::Wait => return Step { forward: at, skip: 0, then: Then::More },
                Move::Lost => return last_words(at, answer, server),
                Move::Refused => {
                    return Step { forward: at, skip: 0, then: Then::Close(Ending::Upstream) };
                }
                Move::Swallow => return Step { forward: at, skip: size, then: Then::Again },
                Move::Boundary => return Step { forward: at + size, skip: 0, then: self.detach(server) },
                Move::Forward => {
                    let here = size.min(rest.len());
                    at += here;
                    server.left = size - here;
                    if server.left > 0 {
                        return Step { forward: at, skip: 0, then: Then::More };
                    }
                }
            }
        }
    }

    fn pass_rest(&mut self, input: &[u8], server: &mut Server) -> Step {
        let n = server.left.min(input.len());
        server.left -= n;
        if n == 0 { Step::then(Then::More) } else { Step::forward(n) }
    }

    fn detach(&mut self, server: &mut Server) -> Then {
        count(&self.tally.boundaries, 1);
        self.let_go();
        Then::Detach(Self::reuse(server))
    }

    /// Looks at one message. `rest` begins with it and may end before it does.
    #[inline]
    fn judge(&mut self, header: Header, rest: &[u8], client: &mut Outbox, server: &mut Server) -> Move {
        let ours = server.ledger.front().is_some_and(|unit| unit.kind.is_ours());
        let whole = rest.len() >= header.size();
        match header.tag {
            b'Z' | b'S' | b'C' if !whole => return Move::Wait,
            b'E' if !whole && header.size() <= READ_ERROR => return Move::Wait,
            _ if ours && !whole => return Move::Wait,
            _ => {}
        }
        let body = &rest[HEADER..header.size().min(rest.len())];
        match header.tag {
            b'Z' => return self.on_ready(body, server),
            b'S' => return self.on_parameter(body, client, server),
            b'E' if self.on_error(body, server) => return Move::Lost,
            b'E' if ours => return self.on_refused_setting(body, client, server),
            b'C' if !ours => self.on_complete(body, server),
            b'G' if !ours => server.ledger.copy_in(),
            _ => {}
        }
        if ours {
            return Move::Swallow;
        }
        if let Some(unit) = server.ledger.front() {
            unit.touched = true;
        }
        Move::Forward
    }

    #[inline]
    fn on_ready(&mut self, body: &[u8], server: &mut Server) -> Move {
        let Ok(status) = backend::ready_for_query(body) else {
            return Move::Lost;
        };
        server.status = status;
        let unit = server.ledger.settle();
        if unit.is_some_and(|unit| unit.kind.is_ours()) {
            return Move::Swallow;
        }
        self.status = status;
        self.replays = 0;
        if status == Status::Idle && !self.settled.is(&self.vars) {
            self.settled = self.vars.clone();
        }
        let settled = server.ledger.is_empty() && status == Status::Idle && self.left == 0;
        if settled && !self.keeps_lease() { Move::Boundary } else { Move::Forward }
    }

    /// A setting was changed. While our own requests are answered, the client hears of it only where PostgreSQL spells
    /// a value in another way than the client did.
    fn on_parameter(&mut self, body: &[u8], client: &mut Outbox, server: &mut Server) -> Move {
        let Ok((name, value)) = backend::parameter_status(body) else {
            return Move::Swallow; // not text: no client could read it either
        };
        let followed = Vars::follows(name);
        server.vars.set(name, value);
        match server.ledger.front().map(|unit| unit.kind) {
            Some(Kind::Reset) => {}
            Some(Kind::Adjust) if followed => {
                if self.vars.set(name, value) {
                    backend::put_parameter_status(client.buffer(), name, value);
                }
            }
            Some(Kind::Adjust) => {}
            _ => {
                self.vars.set(name, value);
                return Move::Forward;
            }
        }
        Move::Swallow
    }

    /// True if this is the connection's last word: the client need not hear it, as the connection is not its.
    fn on_error(&mut self, body: &[u8], server: &mut Server) -> bool {
        server.ledger.copy_over();
        let error = fields(body);
        if error.code() == Some("25006") {
            count(&self.tally.read_only, 1);
        }
        let fatal = error.is_fatal();
        if fatal {
            let ServerError { code, message, .. } = ServerError::read(body);
            server.fatal = Some(Fatal { code, message });
        }
        fatal
    }

    /// A setting that the client asked for at login is none, or the connection could not be made new: as PostgreSQL
    /// refuses the former at login, so do we, as soon as we know. Going on would mean settings that nobody wished for.
    #[cold]
    fn on_refused_setting(&mut self, body: &[u8], client: &mut Outbox, server: &Server) -> Move {
        let behind = server.ledger.units().filter(|unit| !unit.kind.is_ours()).count();
        count(&self.tally.unknown_outcome, behind);
        let error = ServerError::read(body);
        let hint = "A setting of this session could not be taken over to a server connection.";
        put_error(client.buffer(), &Report::fatal(&error.code, &error.message).hint(hint));
        Move::Refused
    }

    /// The tag says whether the connection now carries something that settings do not tell.
    #[inline]
    fn on_complete(&mut self, body: &[u8], server: &mut Server) {
        if let Some(unit) = server.ledger.front() {
            unit.completed = true;
        }
        let Ok(tag) = backend::command_complete(body) else { return };
        let alone = server.ledger.units().len() <= 1; // else something behind it may have been prepared anew
        match tag {
            b"SET" | b"LISTEN" | b"PREPARE" | b"DECLARE CURSOR" | b"LOAD" | b"CREATE TABLE" => {
                server.marked_by = Some(self.id);
            }
            b"DISCARD ALL" if alone => {
                server.marked_by = None;
                self.pinned = false;
            }
            b"DEALLOCATE ALL" if alone => self.pinned = false,
            _ => {}
        }
    }
}
