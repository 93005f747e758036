//! Answers in PostgreSQL's place while there is no server to ask: after a transaction was lost with its server, and
//! when no server connection could be had. Kind: pure.
//!
//! ```text
//!   Failed(first) ──any statement──▶ Failed          COMMIT ──▶ 40001, Off    (first: it must not look like a success)
//!   Failed ──any statement──▶ 25P02                  ROLLBACK, COMMIT ──▶ "ROLLBACK", Off
//!   Refuse ──first statement──▶ its error, Off
//!   each error inside extended messages: SkipToSync, then as above
//! ```

use proxy_core::link::Outbox;
use proxy_core::session::{Ending, Step, Then};

use super::{Session, Status};
use crate::statement::{self, PlainEnd};
use crate::wire::error::{Report, put_error};
use crate::wire::frame::{HEADER, Header};
use crate::wire::{backend, frontend};

/// A statement of at most this size is read to see whether it ends the transaction; ROLLBACK is short.
const READ: usize = 1024;

/// ParameterDescription of a statement without parameters.
const NO_PARAMETERS: [u8; 7] = *b"t\0\0\0\x06\0\0";

/// NoData: the statement returns no rows.
const NO_DATA: [u8; 5] = *b"n\0\0\0\x04";

/// Who answers.
#[derive(Debug, Default)]
pub(super) enum StandIn {
    /// The server.
    #[default]
    Off,
    /// A transaction has failed with its server. The apology is still to be made.
    Failed(Option<Apology>),
    /// As above, and a COMMIT or ROLLBACK is under way in extended messages.
    Ending(Option<Apology>, PlainEnd),
    /// Nothing can be executed now.
    Refuse(Apology),
    /// An error was sent inside of extended messages; they are ignored up to Sync (documentation, 55.2.3).
    SkipToSync(Status),
}

/// An error to be sent.
#[derive(Debug, Clone)]
pub(super) struct Apology {
    code: String,
    message: String,
}

impl Default for Apology {
    fn default() -> Self {
        Self::new(
            "40001",
            "the server of this transaction was lost before it committed; the transaction was rolled back",
        )
    }
}

impl Apology {
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let report = Report::error(&self.code, &self.message);
        let report = match self.code.as_str() {
            "40001" => report.hint("Retry the transaction."),
            "25P02" => report,
            _ => report.hint("Nothing was executed."),
        };
        put_error(out, &report);
    }
}

impl StandIn {
    pub(super) fn failed(apology: Option<Apology>) -> Self {
        Self::Failed(apology)
    }

    pub(super) fn refuse(code: &str, message: &str) -> Self {
        Self::Refuse(Apology::new(code, message))
    }

    pub(super) fn skip_to_sync(status: Status) -> Self {
        Self::SkipToSync(status)
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }
}

impl Session {
    /// Answers one message.
    pub(super) fn stand_in_for_server(&mut self, input: &[u8], client: &mut Outbox) -> Step {
        let header = match frontend::header(input) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::then(Then::More),
            Err(error) => return Step::then(self.violation(client, &error.to_string())),
        };
        if header.tag == b'X' {
            return Step::then(Then::Close(Ending::Finished));
        }
        let size = header.size();
        if size <= READ && input.len() < size {
            return Step::then(Then::More);
        }
        let text = (size <= READ).then(|| &input[..size]);
        self.answer(header, text, client.buffer());
        self.left = size.saturating_sub(input.len());
        self.dropping = self.left > 0;
        Step::skip(size.min(input.len()))
    }

    fn answer(&mut self, header: Header, message: Option<&[u8]>, out: &mut Vec<u8>) {
        match (header.tag, &self.stand_in) {
            (b'S', _) => self.answer_sync(out),
            (_, StandIn::SkipToSync(_)) | (b'd' | b'c' | b'f' | b'H', _) => {}
            (b'Q' | b'F', _) => self.answer_query(plain_end(message), out),
            (_, StandIn::Ending(..)) => self.answer_ending(header.tag, message, out),
            (b'C', _) => out.extend_from_slice(&backend::CLOSE_COMPLETE),
            (b'P', StandIn::Failed(apology)) => match plain_end(message) {
                Some(end) => {
                    self.stand_in = StandIn::Ending(apology.clone(), end);
                    out.extend_from_slice(&backend::PARSE_COMPLETE);
                }
                None => self.refuse_message(out),
            },
            _ => self.refuse_message(out),
        }
    }

    /// An error inside of extended messages.
    fn refuse_message(&mut self, out: &mut Vec<u8>) {
        let status = self.refuse_statement(out);
        self.stand_in = StandIn::SkipToSync(status);
    }

    /// A whole request in one message.
    fn answer_query(&mut self, end: Option<PlainEnd>, out: &mut Vec<u8>) {
        let status = match (end, &self.stand_in) {
            (Some(end), StandIn::Failed(_)) => self.end_transaction(end, out),
            _ => self.refuse_statement(out),
        };
        self.ready(status, out);
    }

    /// The extended messages between the Parse of COMMIT or ROLLBACK and its Sync.
    fn answer_ending(&mut self, tag: u8, message: Option<&[u8]>, out: &mut Vec<u8>) {
        match tag {
            b'B' => out.extend_from_slice(&backend::BIND_COMPLETE),
            b'D' => {
                if message.is_some_and(|message| message.get(HEADER) == Some(&b'S')) {
                    out.extend_from_slice(&NO_PARAMETERS);
                }
                out.extend_from_slice(&NO_DATA);
            }
            b'E' => {
                if let StandIn::Ending(apology, end) = std::mem::take(&mut self.stand_in) {
                    self.stand_in = StandIn::Failed(apology);
                    let status = self.end_transaction(end, out);
                    self.stand_in = StandIn::SkipToSync(status);
                }
            }
            b'C' => out.extend_from_slice(&backend::CLOSE_COMPLETE),
            _ => self.refuse_message(out),
        }
    }

    fn answer_sync(&mut self, out: &mut Vec<u8>) {
        let status = match std::mem::take(&mut self.stand_in) {
            StandIn::SkipToSync(status) => status,
            StandIn::Failed(apology) | StandIn::Ending(apology, _) => {
                self.stand_in = StandIn::Failed(apology);
                Status::Failed
            }
            StandIn::Off | StandIn::Refuse(_) => Status::Idle,
        };
        self.ready(status, out);
    }

    /// COMMIT or ROLLBACK of a transaction that is gone. A first COMMIT fails aloud: its client believes that all went
    /// well, and few read the tag that says ROLLBACK.
    fn end_transaction(&mut self, end: PlainEnd, out: &mut Vec<u8>) -> Status {
        match &self.stand_in {
            StandIn::Failed(Some(apology)) if end == PlainEnd::Commit => apology.put(out),
            _ => backend::put_command_complete(out, "ROLLBACK"),
        }
        Status::Idle
    }

    fn refuse_statement(&mut self, out: &mut Vec<u8>) -> Status {
        match std::mem::take(&mut self.stand_in) {
            StandIn::Failed(apology) | StandIn::Ending(apology, _) => {
                apology.unwrap_or_else(in_failed_transaction).put(out);
                Status::Failed
            }
            StandIn::Refuse(apology) => {
                apology.put(out);
                Status::Idle
            }
            StandIn::Off | StandIn::SkipToSync(_) => Status::Idle,
        }
    }

    fn ready(&mut self, status: Status, out: &mut Vec<u8>) {
        backend::put_ready_for_query(out, status);
        self.status = status;
        match (status, &self.stand_in) {
            (Status::Failed, StandIn::Failed(_)) => {}
            (Status::Failed, _) => self.stand_in = StandIn::Failed(None),
            _ => self.stand_in = StandIn::Off,
        }
    }
}

fn in_failed_transaction() -> Apology {
    Apology::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}

/// COMMIT or ROLLBACK, if that is all that the message says.
fn plain_end(message: Option<&[u8]>) -> Option<PlainEnd> {
    let message = message?;
    let body = message.get(HEADER..)?;
    match message[0] {
        b'Q' => statement::plain_end(frontend::query(body).ok()?),
        b'P' => statement::plain_end(frontend::parse(body).ok()?.query),
        _ => None,
    }
}
