//! One Redis node: an open connection, a question on each beat. Kind: driver.
//!
//! ```text
//!   connect, log in ─► INFO ─► report ─► wait ─┬─ beat ──────► about to be promoted? ROLE first, INFO once it changes
//!          ▲                    ▲              ├─ suspicion ─► at once
//!          │                    └──────────────┘
//!          └─ the connection ended: at once again. A promotion and a demotion both cut all connections
//!             (`sentinelSendSlaveOf`), so that this is the earliest sign of either, and no sign of death
//! ```

use std::sync::Arc;
use std::time::Duration;

use proxy_core::upstream::Endpoint;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::answer;
use super::control::{Access, Control, Fault, loss_of};
use super::discovery::AllowList;
use super::observation::{Loss, NodeKey, Observation};
use super::reply::{Reply, info_field};

/// However many ask for it, a node is not looked at more often.
const FLOOR: Duration = Duration::from_millis(2);

/// Between two looks at each node while there is doubt about the master.
const QUICK: Duration = Duration::from_millis(100);

/// Between two attempts to connect to a node that is down.
const RETRY: Duration = Duration::from_millis(50);

/// How closely a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// All is well.
    Calm,
    /// There is doubt about the master.
    Doubt,
    /// This one is about to be promoted.
    Candidate,
}

/// What a probe says to the watcher.
#[derive(Debug)]
pub(super) enum Looked {
    /// What it saw.
    Seen(Observation),
    /// It saw nothing.
    Lost(Fault),
    /// The connection ended: something has happened, and the others may know what.
    Hint,
}

/// How all nodes of a master are looked at.
pub(super) struct Glass {
    pub(super) access: Arc<Access>,
    pub(super) allowed: AllowList,
    pub(super) calm: Duration,
    pub(super) suspect: Duration,
    pub(super) patience: Duration,
    pub(super) born: Instant,
}

/// The probe of one node.
pub(super) struct Probe {
    pub(super) key: NodeKey,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) glass: Arc<Glass>,
    pub(super) interest: watch::Receiver<Interest>,
    pub(super) reports: mpsc::Sender<(NodeKey, Looked)>,
}

/// A connection to a node, and what it has told so far.
struct Session {
    control: Control,
    run_id: String,
    last: Observation,
}

impl Probe {
    /// Looks until nobody listens any more.
    pub(super) async fn run(mut self) {
        while !self.reports.is_closed() {
            match self.open().await {
                Ok(session) => {
                    let opened = Instant::now();
                    let fault = self.watch(session).await;
                    if fault.loss != Loss::Closed {
                        self.report(Looked::Lost(fault)).await;
                    }
                    self.report(Looked::Hint).await;
                    if opened.elapsed() < RETRY {
                        sleep(self.glass.suspect).await; // it lets us in and throws us out: not in a tight circle
                    }
                }
                Err(fault) => {
                    self.report(Looked::Lost(fault)).await;
                    self.rest().await;
                }
            }
        }
    }

    async fn report(&self, looked: Looked) {
        // The watcher is gone: so are we, at the next turn of the loop.
        let _ = self.reports.send((self.key.clone(), looked)).await;
    }

    /// Until a node that is away is tried again.
    async fn rest(&mut self) {
        let floor = if self.is_candidate() { self.glass.suspect } else { RETRY };
        sleep(floor).await;
        if *self.interest.borrow_and_update() == Interest::Calm {
            tokio::select! {
                () = sleep(self.glass.calm.saturating_sub(floor)) => {}
                () = self.endpoint.suspected() => {}
                _ = self.interest.changed() => {}
            }
        }
    }

    fn is_candidate(&self) -> bool {
        *self.interest.borrow() == Interest::Candidate
    }

    /// Connects, and looks once.
    async fn open(&self) -> Result<Session, Fault> {
        let glass = &self.glass;
        let mut control = Control::open(self.endpoint.addr(), &glass.access, &glass.allowed).await?;
        let replies = control
            .ask_all(
                &[&["INFO", "server"], &["INFO", "persistence"], &["INFO", "replication"]],
                glass.patience,
            )
            .await?;
        let field =
            |index: usize, name| replies.get(index).and_then(Reply::text).and_then(|t| info_field(t, name));
        if field(1, "loading") == Some("1") {
            return Err(Fault::new(Loss::Unready, "it is loading its data"));
        }
        let run_id = field(0, "run_id").unwrap_or_default().to_owned();
        let last = self.read(replies.get(2), &run_id)?;
        self.report(Looked::Seen(last.clone())).await;
        Ok(Session { control, run_id, last })
    }

    fn read(&self, reply: Option<&Reply>, run_id: &str) -> Result<Observation, Fault> {
        let reply = reply.ok_or_else(|| Fault::new(Loss::Unusable, "no answer to INFO"))?;
        if let Some(error) = reply.error() {
            return Err(Fault::new(loss_of(error), format!("INFO: {error}")));
        }
        let read = answer::read(reply.text().unwrap_or_default(), run_id, self.glass.born.elapsed());
        read.ok_or_else(|| Fault::new(Loss::Unusable, "INFO replication tells no role"))
    }

    /// Asks on each beat until the connection ends.
    async fn watch(&mut self, mut session: Session) -> Fault {
        loop {
            if let Err(fault) = self.wait(&mut session.control).await {
                return fault;
            }
            if let Err(fault) = self.look(&mut session).await {
                return fault;
            }
        }
    }

    async fn wait(&mut self, control: &mut Control) -> Result<(), Fault> {
        sleep(FLOOR).await;
        let beat = match *self.interest.borrow_and_update() {
            Interest::Calm => self.glass.calm,
            Interest::Doubt => QUICK.min(self.glass.calm),
            Interest::Candidate => self.glass.suspect,
        };
        tokio::select! {
            fault = control.ended() => Err(fault),
            () = sleep(beat.saturating_sub(FLOOR)) => Ok(()),
            () = self.endpoint.suspected() => Ok(()),
            _ = self.interest.changed() => Ok(()),
        }
    }

    async fn look(&self, session: &mut Session) -> Result<(), Fault> {
        if self.is_candidate() && self.look_at_role(session).await? {
            return Ok(());
        }
        let reply = session.control.ask(&["INFO", "replication"], self.glass.patience).await?;
        session.last = self.read(Some(&reply), &session.run_id)?;
        self.report(Looked::Seen(session.last.clone())).await;
        Ok(())
    }

    /// The small question; false if it is not answered (a user without `+role`), or if the role has changed, which is told
    /// at once, and the rest should follow.
    async fn look_at_role(&self, session: &mut Session) -> Result<bool, Fault> {
        let reply = session.control.ask(&["ROLE"], self.glass.patience).await?;
        let Some(seen) = answer::read_role(&reply, &session.last, self.glass.born.elapsed()) else {
            return Ok(false);
        };
        let changed = seen.is_master() != session.last.is_master();
        session.last = seen.clone();
        self.report(Looked::Seen(seen)).await;
        Ok(!changed)
    }
}
