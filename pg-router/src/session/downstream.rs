//! What the client sends. Kind: pure.

use proxy_core::link::Outbox;
use proxy_core::session::{Ending, Step, Then};
use proxy_core::upstream::pool::Port;

use super::{Mode, Server, Session, Status};
use crate::wire::frontend;

/// The header and the first byte of a Parse: enough to see whether the statement has a name.
const PARSE_PREFIX: usize = 6;

impl Session {
    pub(super) fn on_client(
        &mut self,
        input: &[u8],
        client: &mut Outbox,
        server: Option<Port<'_, Server>>,
    ) -> Step {
        if self.left > 0 && (self.dropping || self.stand_in.is_on()) {
            return self.drop_rest(input);
        }
        if self.stand_in.is_on() {
            return self.stand_in_for_server(input, client);
        }
        match server {
            Some(server) => self.forward(input, client, server.state),
            None => self.before_lease(input, client),
        }
    }

    fn drop_rest(&mut self, input: &[u8]) -> Step {
        let n = self.left.min(input.len());
        self.left -= n;
        self.dropping = self.left > 0;
        if n == 0 { Step::then(Then::More) } else { Step::skip(n) }
    }

    /// At the boundary: is this worth a server connection?
    fn before_lease(&mut self, input: &[u8], client: &mut Outbox) -> Step {
        let header = match frontend::header(input) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::then(Then::More),
            Err(error) => return Step::then(self.violation(client, &error.to_string())),
        };
        match header.tag {
            b'X' => Step::then(Then::Close(Ending::Finished)),
            b'p' => Step::then(self.violation(client, "a password was sent after authentication")),
            // COPY data that crossed the server's error, and a Flush with nothing to flush.
            b'd' | b'c' | b'f' | b'H' => {
                self.left = header.size();
                self.dropping = true;
                self.drop_rest(input)
            }
            _ => {
                self.handle.cancelled.set(false); // an earlier request to cancel found nothing to cancel
                Step::then(Then::Attach)
            }
        }
    }

    /// Walks the headers of as many messages as there are, and hands them on in one piece.
    fn forward(&mut self, input: &[u8], client: &mut Outbox, server: &mut Server) -> Step {
        let mut at = self.left.min(input.len());
        self.left -= at;
        let then = loop {
            if self.left > 0 {
                break Then::More;
            }
            let rest = &input[at..];
            let header = match frontend::header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break Then::More,
                Err(error) => break self.violation(client, &error.to_string()),
            };
            let size = header.size();
            match header.tag {
                b'Q' | b'F' => server.ledger.owe_simple(size),
                b'S' => server.ledger.sync(size),
                b'P' => {
                    if rest.len() < PARSE_PREFIX {
                        break Then::More;
                    }
                    if rest[PARSE_PREFIX - 1] != 0 {
                        self.pinned = true;
                        server.marked_by = Some(self.id);
                    }
                    server.ledger.owe_extended(size);
                }
                b'B' | b'D' | b'E' | b'C' => server.ledger.owe_extended(size),
                b'H' => server.ledger.flush(size),
                b'd' => server.ledger.overflow(),
                b'c' | b'f' => {
                    server.ledger.overflow();
                    server.ledger.copy_over();
                }
                b'X' => break self.leave(server),
                _ => break self.violation(client, "a password was sent after authentication"),
            }
            let here = size.min(rest.len());
            self.left = size - here;
            at += here;
        };
        server.ledger.keep(&input[..at]);
        Step { forward: at, skip: 0, then }
    }

    /// Terminate with a lease in hand: in session mode the connection may serve another, if it is at rest.
    fn leave(&mut self, server: &mut Server) -> Then {
        if server.ledger.is_empty() && server.status == Status::Idle {
            server.marked_by = Some(self.id);
            self.let_go();
            return Then::Detach(Self::reuse(server));
        }
        Then::Close(Ending::Finished)
    }

    /// Whether the lease is kept beyond a transaction's end.
    pub(super) fn keeps_lease(&self) -> bool {
        self.mode == Mode::Session || self.pinned
    }
}
