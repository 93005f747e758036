//! The server connection is gone: what became of what it was doing? Kind: pure.
//!
//! | what was in flight | proof that it did not run | the client gets |
//! |---|---|---|
//! | nothing, outside a transaction | – | nothing: it does not notice |
//! | nothing, inside a transaction | – | 40001 at its next statement, then 25P02 until it ends the transaction |
//! | an autocommit request | FATAL 57P01, or never sent, or it only reads | it is run again |
//! | an autocommit request, partly answered | FATAL 57P01 before CommandComplete | 40001 |
//! | an autocommit request | none | 08007: outcome unknown |
//! | a statement inside a transaction | it is not its end | 40001, then as above |
//! | COMMIT or what may be one | FATAL 57P01 | 40001 |
//! | COMMIT or what may be one | none | 08007 |

use proxy_core::link::Outbox;
use proxy_core::session::{Ending, Loss, Then};

use super::ledger::{Kind, Ledger, Unit};
use super::stand_in::{Apology, StandIn};
use super::{Fatal, Server, Session, Status, count};
use crate::statement::{self, Ending as Ends};
use crate::wire::error::{Report, put_error};
use crate::wire::{backend, frame, frontend};

/// How often one request is executed anew. A failover that hits the second attempt too is likely; an administrator
/// who terminates the same statement a third time means it.
const MAX_REPLAYS: u8 = 2;

/// What becomes of the oldest unit in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It did not run, or running it twice is harmless: all that is in flight is run elsewhere.
    Again,
    /// It was rolled back.
    Aborted,
    /// Nobody knows.
    Unknown,
}

/// What is known of the oldest unit in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    /// The client's transaction before it.
    pub status: Status,
    pub unit: Unit,
    /// Its bytes, if they were kept.
    pub bytes: Option<&'a [u8]>,
    /// As above, with what is in flight behind it.
    pub in_flight: Option<&'a [u8]>,
    pub alone: bool,
    /// The server said, or we know, that it was not executed to its end.
    pub proof: bool,
    /// It may be executed anew once more.
    pub replays_left: bool,
}

pub(super) fn fate(case: &Case<'_>) -> Fate {
    match case.status {
        Status::Idle => autocommit(case),
        // What has completed may have been the COMMIT itself, whatever the server said afterwards.
        _ if (case.proof && !case.unit.completed) || !may_have_committed(case) => Fate::Aborted,
        _ => Fate::Unknown,
    }
}

/// Whether anything in flight, not the oldest unit alone, may have ended the transaction. A failed one commits nothing
/// by its end, but what comes behind that may.
fn may_have_committed(case: &Case<'_>) -> bool {
    match case.in_flight.map_or(Ends::Maybe, ends_transaction) {
        Ends::No => false,
        Ends::Yes if case.status == Status::Failed => {
            case.in_flight.is_none_or(|bytes| statements(bytes).count() > 1)
        }
        _ => true,
    }
}

fn autocommit(case: &Case<'_>) -> Fate {
    let harmless = || case.alone && case.bytes.is_some_and(only_reads);
    let repeatable = case.bytes.is_some() && !case.unit.touched && case.replays_left;
    match case.proof {
        true if case.bytes.is_some_and(commits_midway) => Fate::Unknown,
        true if repeatable => Fate::Again,
        true if !case.unit.completed => Fate::Aborted,
        false if repeatable && harmless() => Fate::Again,
        false if case.unit.touched && !case.unit.completed && harmless() => Fate::Aborted,
        _ => Fate::Unknown,
    }
}

/// The statements in a unit's bytes. `None`: there is something in it whose text we do not have.
fn statements(unit: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = unit;
    std::iter::from_fn(move || {
        loop {
            let (message, behind) = frame::split(rest).ok().flatten()?;
            rest = behind;
            match message.tag {
                b'Q' => return Some(frontend::query(message.body).ok()),
                b'P' => return Some(frontend::parse(message.body).ok().map(|parse| parse.query)),
                // A portal of a statement that was prepared before, or a function by number: unknown text.
                b'B' if frontend::bind(message.body).is_ok_and(|bind| bind.statement.is_empty()) => {}
                b'B' | b'F' => return Some(None),
                _ => {}
            }
        }
    })
}

fn only_reads(unit: &[u8]) -> bool {
    let mut any = false;
    statements(unit).all(|sql| {
        any = true;
        sql.is_some_and(statement::reads_only)
    }) && any
}

/// A procedure or a DO block may commit and go on: that it was interrupted proves nothing.
fn commits_midway(unit: &[u8]) -> bool {
    statements(unit).flatten().any(statement::may_commit_midway)
}

/// Whether nothing in extended messages takes effect before their Sync. COMMIT does, and so does what was prepared
/// before and may be one.
fn commits_at_sync(unit: &[u8]) -> bool {
    ends_transaction(unit) == Ends::No && !commits_midway(unit)
}

fn ends_transaction(unit: &[u8]) -> Ends {
    let ends = |sql: Option<&[u8]>| sql.map_or(Ends::Maybe, statement::ends_transaction);
    match statements(unit).map(ends).find(|ends| *ends != Ends::No) {
        Some(ends) => ends,
        None => Ends::No,
    }
}

impl Session {
    pub(super) fn on_loss(
        &mut self,
        loss: Loss,
        client: &mut Outbox,
        server: &mut Server,
    ) -> (Vec<u8>, Then) {
        let keeps = self.mode == super::Mode::Session;
        self.let_go();
        let mut ledger = std::mem::take(&mut server.ledger);
        let fatal = server.fatal.take();
        let ours = ledger.units().take_while(|unit| unit.kind.is_ours()).count();
        for _ in 0..ours {
            ledger.settle();
        }
        if keeps {
            return self.end_with_server(&ledger, client, fatal);
        }
        if server.left > 0 {
            return self.end_in_half_a_message(&ledger);
        }
        let Some(unit) = ledger.units().next().copied() else {
            self.lost_at_rest(fatal, client);
            return (Vec::new(), Then::Again);
        };
        let case = Case {
            status: self.status,
            unit,
            bytes: bytes_of(unit, &ledger),
            in_flight: ledger.kept(),
            alone: ledger.units().len() == 1,
            proof: self.has_proof(loss, unit, &ledger, fatal.as_ref()),
            replays_left: self.replays < MAX_REPLAYS,
        };
        match fate(&case) {
            Fate::Again => (self.again(&ledger), Then::Again),
            Fate::Aborted => (self.aborted(unit, &ledger, client, fatal), Then::Again),
            Fate::Unknown => {
                self.unknown(&ledger, client);
                (Vec::new(), Then::Again)
            }
        }
    }

    /// A unit was certainly not executed to its end if the server says so, if its last bytes never left us, or if the
    /// client has not sent them yet.
    fn has_proof(&self, loss: Loss, unit: Unit, ledger: &Ledger, fatal: Option<&Fatal>) -> bool {
        let (Loss::Cut { unsent } | Loss::Fenced { unsent }) = loss;
        let incomplete = ledger.units().len() == 1 && (unsent > 0 || self.left > 0);
        let unsynced = unit.open && !unit.completed;
        let whole = unit.kind == Kind::Simple || bytes_of(unit, ledger).is_some_and(commits_at_sync);
        fatal.is_some_and(Fatal::proves_rollback) || ((incomplete || unsynced) && whole)
    }

    /// In session mode the client's settings, prepared statements and temporary tables are gone with the server: it
    /// must log in anew to know.
    fn end_with_server(
        &mut self,
        ledger: &Ledger,
        client: &mut Outbox,
        fatal: Option<Fatal>,
    ) -> (Vec<u8>, Then) {
        let unknown = ledger.units().filter(|unit| !unit.kind.is_ours()).count();
        count(&self.tally.unknown_outcome, unknown);
        let message = fatal.map(|fatal| fatal.message);
        let message = message.as_deref().unwrap_or("the server connection of this session was lost");
        put_error(client.buffer(), &Report::fatal("57P01", message));
        (Vec::new(), Then::Close(Ending::Upstream))
    }

    /// The client waits for the rest of a message that nobody has: no word of ours could be told from it.
    fn end_in_half_a_message(&mut self, ledger: &Ledger) -> (Vec<u8>, Then) {
        count(&self.tally.unknown_outcome, ledger.units().len());
        (Vec::new(), Then::Close(Ending::Upstream))
    }

    /// What a transaction has set is undone with it. The server can't say so any more.
    fn undo_settings(&mut self, client: &mut Outbox) {
        for ((name, before), (_, now)) in self.settled.iter().zip(self.vars.iter()) {
            if before != now {
                backend::put_parameter_status(client.buffer(), name, before);
            }
        }
        self.vars = self.settled.clone();
    }

    fn lost_at_rest(&mut self, fatal: Option<Fatal>, client: &mut Outbox) {
        self.undo_settings(client);
        match self.status {
            Status::Idle => {}
            Status::Transaction => {
                count(&self.tally.aborted, 1);
                self.stand_in = StandIn::failed(Some(apology(fatal)));
            }
            Status::Failed => self.stand_in = StandIn::failed(None),
        }
    }

    /// All that is in flight is read again, as if it had just come.
    fn again(&mut self, ledger: &Ledger) -> Vec<u8> {
        count(&self.tally.replayed, 1);
        self.replays += 1;
        self.left = 0; // the message that was under way begins anew, and its rest follows
        ledger.kept().unwrap_or_default().to_vec()
    }

    /// The oldest unit is answered with an error; what was behind it is answered as PostgreSQL would.
    fn aborted(&mut self, unit: Unit, ledger: &Ledger, client: &mut Outbox, fatal: Option<Fatal>) -> Vec<u8> {
        count(&self.tally.aborted, 1);
        self.undo_settings(client);
        let in_transaction = self.status != Status::Idle;
        let apology = (self.status != Status::Failed).then(|| apology(fatal));
        let kept = ledger.kept();
        if in_transaction && !unit.touched && kept.is_some() {
            self.stand_in = StandIn::failed(apology);
            self.left = 0;
            return kept.unwrap_or_default().to_vec(); // the stand-in answers it all
        }
        self.break_off(unit, client, &apology.unwrap_or_default(), in_transaction);
        let behind = kept.and_then(|kept| kept.get(unit.bytes..)).unwrap_or_default();
        if !behind.is_empty() {
            (self.left, self.dropping) = (0, false); // a message under way begins anew
        }
        behind.to_vec()
    }

    /// Ends the answer to a unit that was partly answered or whose text is gone.
    fn break_off(&mut self, unit: Unit, client: &mut Outbox, apology: &Apology, in_transaction: bool) {
        apology.put(client.buffer());
        self.dropping = self.left > 0;
        self.status = if in_transaction { Status::Failed } else { Status::Idle };
        if unit.open {
            self.stand_in = StandIn::skip_to_sync(self.status);
            return;
        }
        backend::put_ready_for_query(client.buffer(), self.status);
        if in_transaction {
            self.stand_in = StandIn::failed(None);
        }
    }

    /// Each unit in flight may or may not have been executed.
    fn unknown(&mut self, ledger: &Ledger, client: &mut Outbox) {
        self.undo_settings(client);
        self.status = Status::Idle;
        self.dropping = self.left > 0;
        let units = ledger.units().filter(|unit| !unit.kind.is_ours());
        for unit in units {
            count(&self.tally.unknown_outcome, 1);
            let message =
                "the connection to the server was lost while it executed this; its outcome is unknown";
            let report =
                Report::error("08007", message).hint("Look whether it took effect before you repeat it.");
            put_error(client.buffer(), &report);
            if unit.open && unit.kind == Kind::Extended {
                self.stand_in = StandIn::skip_to_sync(Status::Idle);
            } else {
                backend::put_ready_for_query(client.buffer(), Status::Idle);
            }
        }
    }
}

fn bytes_of(unit: Unit, ledger: &Ledger) -> Option<&[u8]> {
    ledger.kept().and_then(|kept| kept.get(..unit.bytes.min(kept.len())))
}

/// The error for a transaction that was lost with its server.
fn apology(fatal: Option<Fatal>) -> Apology {
    match fatal {
        // The server's own reason, where it is about this session and not about the server.
        Some(fatal) if fatal.code.starts_with("25P") => Apology::new(&fatal.code, &fatal.message),
        _ => Apology::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(sql: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        frontend::put_query(&mut bytes, sql);
        bytes
    }

    #[derive(Clone, Copy, Default)]
    struct Known {
        proof: bool,
        touched: bool,
        completed: bool,
    }

    #[track_caller]
    fn check(status: Status, sql: &str, known: Known, expected: Fate) {
        let bytes = query(sql);
        let unit = Unit {
            kind: Kind::Simple,
            bytes: bytes.len(),
            open: false,
            touched: known.touched,
            completed: known.completed,
        };
        let case = Case {
            status,
            unit,
            bytes: Some(&bytes),
            in_flight: Some(&bytes),
            alone: true,
            proof: known.proof,
            replays_left: true,
        };
        assert_eq!(fate(&case), expected, "{sql}");
    }

    const INSERT: &str = "insert into t values (1)";
    const PROOF: Known = Known { proof: true, touched: false, completed: false };
    const NONE: Known = Known { proof: false, touched: false, completed: false };

    #[test]
    fn an_autocommit_write_without_an_answer_is_unknown() {
        check(Status::Idle, INSERT, NONE, Fate::Unknown);
    }

    #[test]
    fn an_autocommit_write_that_provably_did_not_run_is_run_again() {
        check(Status::Idle, INSERT, PROOF, Fate::Again);
    }

    #[test]
    fn what_is_partly_answered_is_not_run_again() {
        check(Status::Idle, INSERT, Known { touched: true, ..PROOF }, Fate::Aborted);
        check(Status::Idle, INSERT, Known { touched: true, completed: true, proof: true }, Fate::Unknown);
    }

    #[test]
    fn a_read_is_run_again_in_any_case() {
        check(Status::Idle, "select 1", NONE, Fate::Again);
        check(Status::Idle, "select nextval('s')", NONE, Fate::Unknown);
    }

    #[test]
    fn a_transaction_that_never_sent_commit_is_aborted() {
        check(Status::Transaction, INSERT, NONE, Fate::Aborted);
        check(Status::Transaction, "select 1", NONE, Fate::Aborted);
    }

    #[test]
    fn what_may_commit_before_it_is_interrupted_is_not_run_again() {
        check(Status::Idle, "call p()", PROOF, Fate::Unknown);
        check(Status::Idle, "do $$ begin commit; end $$", PROOF, Fate::Unknown);
        check(Status::Transaction, "call p()", PROOF, Fate::Aborted);
    }

    #[test]
    fn what_follows_the_end_of_a_failed_transaction_is_unknown() {
        check(Status::Failed, "rollback", NONE, Fate::Aborted);
        check(Status::Failed, INSERT, NONE, Fate::Aborted);
        check(Status::Failed, "rollback; insert into t values (1)", NONE, Fate::Unknown);
    }

    #[test]
    fn a_commit_without_an_answer_is_unknown() {
        check(Status::Transaction, "COMMIT", NONE, Fate::Unknown);
        check(Status::Transaction, "insert into t values (1); commit", NONE, Fate::Unknown);
        check(Status::Transaction, "COMMIT", PROOF, Fate::Aborted);
    }
}
