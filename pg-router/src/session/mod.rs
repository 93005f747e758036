//! One client's conversation with PostgreSQL, as a machine without I/O: which bytes go on, when a server connection is
//! needed and when it is given back. Kind: pure.
//!
//! ```text
//!   client ──▶ downstream ──▶ ledger: what is owed ──▶ server
//!          ◀── upstream ◀──── ReadyForQuery settles ◀──
//!                 │ owed nothing, outside a transaction = the boundary: the lease goes back
//!                 ▼
//!   server lost ──▶ lost: was it executed? ──▶ again elsewhere · a truthful error · answered by `stand_in`
//! ```
//!
//! Bodies are not read: headers are, and the few bytes that decide something. Of a message that is larger than a read,
//! only the header was ever seen here.

pub mod ledger;
mod lost;
mod stand_in;
pub mod vars;

mod downstream;
mod upstream;

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use proxy_core::link::Outbox;
use proxy_core::session::{Ending, Loss, Machine, Step, Then};
use proxy_core::upstream::Endpoint;
use proxy_core::upstream::pool::{Connect, Port, Refusal, Reuse};

use crate::wire::backend::Status;
use crate::wire::error::{Report, put_error};
use crate::wire::frontend;
use ledger::{Kind, Ledger};
use stand_in::StandIn;
use vars::Vars;

/// When a server connection is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// When a transaction ends.
    Transaction,
    /// When the client leaves.
    Session,
}

/// What is kept with a server connection.
pub struct Server {
    /// Its settings now.
    pub vars: Vars,
    /// Its settings at login: what DISCARD ALL brings back.
    pub initial: Vars,
    /// Where a cancel request for it goes, and with which key.
    pub target: Rc<CancelTarget>,
    ledger: Ledger,
    status: Status,
    /// Bytes still to come of a message whose header was seen.
    left: usize,
    /// It carries something of this client's that the settings do not tell.
    marked_by: Option<u64>,
    /// Its last words.
    fatal: Option<Fatal>,
}

/// A FATAL error that a server ended its connection with.
struct Fatal {
    code: String,
    message: String,
}

impl Fatal {
    /// The server says that it interrupted itself between two steps: what was not answered was not committed
    /// (`ProcessInterrupts` in PostgreSQL's tcop/postgres.c holds interrupts off through a commit and its answer; the
    /// wait for a synchronous standby ends with a WARNING instead, and that proves nothing).
    fn proves_rollback(&self) -> bool {
        self.code == "57P01"
    }
}

impl Server {
    /// A connection that has just logged in.
    pub fn new(vars: Vars, target: CancelTarget) -> Self {
        Self {
            initial: vars.clone(),
            vars,
            target: Rc::new(target),
            ledger: Ledger::default(),
            status: Status::Idle,
            left: 0,
            marked_by: None,
            fatal: None,
        }
    }
}

/// How a server connection's running statement is cancelled.
pub struct CancelTarget {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// Its process number for this connection.
    pub pid: i32,
    /// Its secret.
    pub secret: Box<[u8]>,
    /// Cancel requests on their way. While there are any the connection is not given to another client, whose
    /// statement they could hit.
    pub under_way: Cell<u32>,
}

impl CancelTarget {
    /// A connection that nobody cancels yet.
    pub fn new(endpoint: Arc<Endpoint>, pid: i32, secret: Box<[u8]>) -> Self {
        Self { endpoint, pid, secret, under_way: Cell::new(0) }
    }
}

/// What the rest of the worker may know of a session and ask of it.
#[derive(Default)]
pub struct Handle {
    /// The server connection that works for it now.
    pub target: RefCell<Option<Rc<CancelTarget>>>,
    /// Somebody has asked to cancel while it waits for one.
    pub cancelled: Cell<bool>,
}

/// What sessions of a worker have met; plain numbers, which the driver turns into metrics.
#[derive(Default)]
pub struct Tally {
    /// Requests executed again on another connection, as they had not run.
    pub replayed: Cell<u64>,
    /// Requests whose outcome nobody knows (08007).
    pub unknown_outcome: Cell<u64>,
    /// Transactions aborted by the loss of their server (40001).
    pub aborted: Cell<u64>,
    /// Transactions ended at their boundary.
    pub boundaries: Cell<u64>,
    /// Requests that were refused because no server connection could be had in time.
    pub refused: Cell<u64>,
    /// Clients whose bytes broke the protocol.
    pub violations: Cell<u64>,
    /// Writes that a server refused as it takes none (25006): it may be a primary no more.
    pub read_only: Cell<u64>,
}

fn count(cell: &Cell<u64>, n: usize) {
    cell.set(cell.get() + n as u64);
}

/// A client's session. `C` opens its server connections.
pub struct Conversation<C> {
    session: Session,
    opens: PhantomData<C>,
}

impl<C> Conversation<C> {
    /// A session over connections that `C` opens.
    pub fn new(session: Session) -> Self {
        Self { session, opens: PhantomData }
    }
}

impl<C: Connect<State = Server>> Machine for Conversation<C> {
    type Connect = C;

    #[inline]
    fn downstream(&mut self, input: &[u8], client: &mut Outbox, server: Option<Port<'_, Server>>) -> Step {
        self.session.on_client(input, client, server)
    }

    #[inline]
    fn upstream(&mut self, input: &[u8], client: &mut Outbox, server: Port<'_, Server>) -> Step {
        self.session.on_server(input, client, server)
    }

    fn attached(&mut self, server: Port<'_, Server>) {
        self.session.on_lease(server);
    }

    fn lost(&mut self, loss: Loss, client: &mut Outbox, server: &mut Server) -> (Vec<u8>, Then) {
        self.session.on_loss(loss, client, server)
    }

    fn refused(&mut self, refusal: &Refusal, client: &mut Outbox) -> Then {
        self.session.on_refusal(refusal, client)
    }

    fn gave_up(&mut self) -> bool {
        self.session.handle.cancelled.take()
    }

    fn drain(&mut self, client: &mut Outbox, server: Option<Port<'_, Server>>) -> Then {
        self.session.on_drain(client, server)
    }

    fn hung_up(&mut self) -> Ending {
        if self.session.at_boundary() { Ending::Finished } else { Ending::Aborted }
    }
}

/// A client's session, whoever opens its server connections.
pub struct Session {
    id: u64,
    mode: Mode,
    vars: Vars,
    /// Its settings when it was last outside a transaction: what a lost transaction falls back to.
    settled: Vars,
    handle: Rc<Handle>,
    tally: Rc<Tally>,
    /// The client's transaction, as it was last told.
    status: Status,
    /// Bytes still to come of a message whose header was seen.
    left: usize,
    /// Those bytes are dropped.
    dropping: bool,
    /// It holds on to its server connection: a statement was prepared there by name.
    pinned: bool,
    /// Who answers while there is no server.
    stand_in: StandIn,
    /// How often its present request was executed anew.
    replays: u8,
}

impl Session {
    /// The session of a client that has logged in with these settings. `id` is unique on the worker.
    pub fn new(id: u64, mode: Mode, vars: Vars, handle: Rc<Handle>, tally: Rc<Tally>) -> Self {
        Self {
            id,
            mode,
            settled: vars.clone(),
            vars,
            handle,
            tally,
            status: Status::Idle,
            left: 0,
            dropping: false,
            pinned: false,
            stand_in: StandIn::Off,
            replays: 0,
        }
    }

    /// Nobody owes anybody anything.
    fn at_boundary(&self) -> bool {
        self.status == Status::Idle && self.left == 0 && !self.stand_in.is_on()
    }

    fn violation(&mut self, client: &mut Outbox, message: &str) -> Then {
        count(&self.tally.violations, 1);
        put_error(client.buffer(), &Report::fatal("08P01", message));
        Then::Close(Ending::Protocol)
    }

    /// A server connection is ours for a while: it is made to look like the one that the client had before.
    fn on_lease(&mut self, server: Port<'_, Server>) {
        let Port { state, outbox } = server;
        *self.handle.target.borrow_mut() = Some(state.target.clone());
        self.handle.cancelled.set(false);
        if state.marked_by.is_some_and(|id| id != self.id) {
            frontend::put_query(outbox.buffer(), "DISCARD ALL");
            state.ledger.owe_ours(Kind::Reset);
            state.vars = state.initial.clone();
            state.marked_by = None;
        }
        if state.vars.is(&self.vars) || state.vars == self.vars {
            return;
        }
        if self.vars.put_changes(&state.vars, outbox.buffer()) {
            state.ledger.owe_ours(Kind::Adjust);
        }
        state.vars = self.vars.clone();
    }

    /// No server connection can be had: the waiting request is answered with the reason.
    fn on_refusal(&mut self, refusal: &Refusal, client: &mut Outbox) -> Then {
        count(&self.tally.refused, 1);
        self.stand_in = match refusal {
            Refusal::Denied(answer) => {
                client.push(answer);
                return Then::Close(Ending::Upstream);
            }
            Refusal::NoUpstream => StandIn::refuse("57P03", "there is no primary to execute this"),
            Refusal::HoldFull => {
                StandIn::refuse("57P03", "there is no primary, and too many wait for one already")
            }
            Refusal::TimedOut => StandIn::refuse("53300", "no server connection became free in time"),
            Refusal::Cancelled => StandIn::refuse("57014", "canceling statement due to user request"),
        };
        Then::Again
    }

    fn on_drain(&mut self, client: &mut Outbox, server: Option<Port<'_, Server>>) -> Then {
        let owed = server.is_some_and(|server| !server.state.ledger.is_empty());
        if owed || !self.at_boundary() {
            return Then::Again;
        }
        let report = Report::fatal("57P01", "terminating connection: the router is shutting down");
        put_error(client.buffer(), &report.hint("Connect again."));
        Then::Close(Ending::Drained)
    }

    /// How the connection goes back.
    fn reuse(server: &Server) -> Reuse {
        let is_clear = server.target.under_way.get() == 0 && !server.ledger.is_doubtful();
        if is_clear { Reuse::Clean } else { Reuse::Discard }
    }

    /// The server connection is no longer ours.
    fn let_go(&mut self) {
        self.handle.target.take();
        self.pinned = false;
    }
}

#[cfg(test)]
mod tests;
