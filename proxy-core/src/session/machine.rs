//! A protocol without I/O: what a session's machine is told, and what it orders. Kind: pure.

use crate::link::Outbox;
use crate::upstream::pool::{Connect, Port, Refusal, Reuse};

/// What the machine orders about the bytes that it was shown: forward the first `forward` of them to the other side,
/// drop the next `skip`, then do `then`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Bytes to hand on unchanged.
    pub forward: usize,
    /// Bytes behind those that the machine has used up.
    pub skip: usize,
    /// What comes next.
    pub then: Then,
}

impl Step {
    /// Forward `n`, then show me the rest.
    pub fn forward(n: usize) -> Self {
        Self { forward: n, skip: 0, then: Then::Again }
    }

    /// Drop `n`, then show me the rest.
    pub fn skip(n: usize) -> Self {
        Self { forward: 0, skip: n, then: Then::Again }
    }

    /// Leave the bytes where they are.
    pub fn then(then: Then) -> Self {
        Self { forward: 0, skip: 0, then }
    }
}

/// What the session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Show me the rest of these bytes.
    Again,
    /// Keep the rest until more bytes have come.
    More,
    /// Keep the rest; lease an upstream connection, then show it to me again.
    Attach,
    /// Give the lease back, then show me what the client has sent meanwhile.
    Detach(Reuse),
    /// The upstream connection is broken: give it up, and tell me by [`Machine::lost`].
    Lost,
    /// Flush to the client and end.
    Close(Ending),
}

/// How a session ended; a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client said good-bye or closed at a boundary.
    Finished,
    /// The client vanished in the middle of something.
    Aborted,
    /// We asked it to leave.
    Drained,
    /// We cut it at the deadline of a drain.
    Terminated,
    /// It broke the protocol.
    Protocol,
    /// Its upstream was lost and the protocol has no way to go on.
    Upstream,
}

impl Ending {
    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Aborted => "aborted",
            Self::Drained => "drained",
            Self::Terminated => "terminated",
            Self::Protocol => "protocol",
            Self::Upstream => "upstream",
        }
    }
}

/// How an upstream connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It ended or failed. `unsent` bytes at the end of what was forwarded have never reached the kernel.
    Cut {
        /// Forwarded bytes that were certainly not sent.
        unsent: usize,
    },
    /// Its endpoint is no longer what it was leased as; we hang up.
    Fenced {
        /// As in [`Loss::Cut`].
        unsent: usize,
    },
}

/// A protocol without I/O: every decision of a session is made here.
pub trait Machine {
    /// How upstream connections of this protocol are opened, and what is kept with each.
    type Connect: Connect;

    /// The client has sent `input`. Without a lease `upstream` is `None`, and nothing may be forwarded.
    fn downstream(
        &mut self,
        input: &[u8],
        client: &mut Outbox,
        upstream: Option<Port<'_, State<Self>>>,
    ) -> Step;

    /// The leased upstream has sent `input`.
    fn upstream(&mut self, input: &[u8], client: &mut Outbox, upstream: Port<'_, State<Self>>) -> Step;

    /// A lease was taken; what is pushed here goes before the client's bytes.
    fn attached(&mut self, upstream: Port<'_, State<Self>>);

    /// The lease was lost. Bytes that must be read again (to be executed elsewhere, or answered here) are returned.
    fn lost(&mut self, loss: Loss, client: &mut Outbox, state: &mut State<Self>) -> (Vec<u8>, Then);

    /// No lease could be had for what [`Then::Attach`] asked.
    fn refused(&mut self, refusal: &Refusal, client: &mut Outbox) -> Then;

    /// Somebody waits for this lease no longer (a cancel request): asked at each wake-up while waiting.
    fn gave_up(&mut self) -> bool;

    /// We drain: say good-bye and close if this is a boundary, else go on and do so at the next one.
    fn drain(&mut self, client: &mut Outbox, upstream: Option<Port<'_, State<Self>>>) -> Then;

    /// The client closed its side: at a boundary, or in the middle of something.
    fn hung_up(&mut self) -> Ending;
}

pub(super) type State<M> = <<M as Machine>::Connect as Connect>::State;
