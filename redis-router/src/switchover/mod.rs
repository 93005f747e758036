//! A planned failover with nothing lost: hold writes, let the replicas catch up, have a Sentinel promote one, go on.
//! Kind: driver.
//!
//! ```text
//!   connect to all ─► raise the barrier ─► pause the master ─► replicas have caught up ─► SENTINEL FAILOVER
//!                          │                    ▲ renewed all the while                        │
//!                          │                    └──────────── watcher publishes the new one ◄──┘
//!        lower it  ◄───────┴── any failure, any deadline: unpause, say why       │
//!            ▲                                                                   │
//!            └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Two barriers. Ours holds the writes of our own clients, before they are sent. `CLIENT PAUSE … WRITE` holds those of other
//! routers and of clients that have come directly. Each pause is shorter than `down-after-milliseconds`, so that if we
//! die, the master is free again before anybody could take it for dead; it is renewed for as long as it is needed.

mod cli;
mod paused;

use std::sync::Arc;
use std::time::Duration;

use proxy_core::net::Addr;
use proxy_core::upstream::Topology;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

pub use cli::cli;

use self::paused::Paused;
use crate::topology::{Cast, Control, Fault, Handle, Raised, read_info};

/// How long the writes that are on their way to the master get to arrive, once no more are sent.
const SETTLE: Duration = Duration::from_millis(30);

/// How long others may take, while writes are held.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// The replicas, to catch up.
    catch_up: Duration,
    /// A Sentinel, to promote one.
    promote: Duration,
}

const DEADLINES: Deadlines = Deadlines { catch_up: Duration::from_secs(3), promote: Duration::from_secs(10) };

/// How long the old master stays paused for those who have not heard of the new one, at most.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Between two looks at the replicas.
const LOOK: Duration = Duration::from_millis(5);

/// How long a switchover may take in all, with room for connecting.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What a switchover did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The old master.
    pub from: String,
    /// The new one.
    pub to: String,
    /// Its epoch.
    pub epoch: u64,
    /// Whether the old master took the pause, so that clients of other routers lost nothing either.
    pub paused: bool,
    /// For how long writes were held.
    pub held_ms: u64,
    /// Of these, until the replicas had all that was written.
    pub caught_up_ms: u64,
}

/// Why nothing was switched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Somebody else is at it.
    #[error("a switchover is under way")]
    Busy,
    /// There is no master to switch from.
    #[error("there is no master now: {0}")]
    NoMaster(&'static str),
    /// A failover is in progress, or no Sentinel speaks for the master.
    #[error("the topology is not settled: a failover is in progress, or no Sentinel speaks for the master")]
    Unsettled,
    /// There is nobody to promote.
    #[error("no replica is in sight that could be promoted")]
    NoReplica,
    /// A Sentinel might promote a replica that is not in step.
    #[error("{node} is not in step ({why}), and a Sentinel might promote it")]
    Unfit {
        /// Which node.
        node: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody who is needed does not answer.
    #[error("{who} does not answer: {words}")]
    Unreachable {
        /// Who.
        who: String,
        /// What happened.
        words: String,
    },
    /// A replica did not catch up in time.
    #[error("{node} did not catch up in time: it lacks {lacks} bytes of the master's stream")]
    Behind {
        /// Which replica.
        node: String,
        /// How much it lacks.
        lacks: u64,
    },
    /// No Sentinel began.
    #[error("no Sentinel begins: {0}")]
    Refused(String),
    /// Nobody was promoted in time. A failover that was begun may still come to its end.
    #[error("no replica was promoted in time; the failover may still come to its end")]
    NotPromoted,
}

impl Failure {
    /// The status of HTTP for it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Busy | Self::NoMaster(_) | Self::Unsettled | Self::NoReplica | Self::Unfit { .. } => 409,
            Self::Unreachable { .. } | Self::Refused(_) => 502,
            Self::Behind { .. } | Self::NotPromoted => 504,
        }
    }

    fn unreachable(who: &Addr, fault: Fault) -> Self {
        Self::Unreachable { who: who.to_string(), words: fault.words }
    }
}

/// Switches to a replica, by the Sentinels' choice.
///
/// # Errors
/// Why it did not; then the barrier is lowered and the master not paused any more.
pub async fn switch_over(handle: &Handle) -> Result<Report, Failure> {
    switch_over_within(handle, DEADLINES).await
}

async fn switch_over_within(handle: &Handle, deadlines: Deadlines) -> Result<Report, Failure> {
    let outcome = match Stage::prepare(handle, deadlines).await {
        Ok(stage) => stage.perform().await,
        Err(failure) => Err(failure),
    };
    match &outcome {
        Ok(report) => info!(
            master = handle.master(),
            from = report.from,
            to = report.to,
            held_ms = report.held_ms,
            "switched over"
        ),
        Err(failure) => warn!(master = handle.master(), %failure, "not switched over"),
    }
    outcome
}

/// Everybody who is needed, each on a connection that is open: nothing is held before.
struct Stage<'a> {
    handle: &'a Handle,
    deadlines: Deadlines,
    cast: Cast,
    master: Paused,
    replicas: Vec<(Addr, Control)>,
    sentinel: Control,
}

impl<'a> Stage<'a> {
    async fn prepare(handle: &'a Handle, deadlines: Deadlines) -> Result<Self, Failure> {
        let cast = handle.cast().map_err(Failure::NoMaster)?;
        check(&cast)?;
        let (sentinel, down_after) = find_sentinel(handle, &cast).await?;
        let control = reach(handle, &cast.master).await?;
        let master = Paused::new(control, down_after, handle.patience());
        let mut replicas = Vec::new();
        for addr in &cast.replicas {
            replicas.push((addr.clone(), reach(handle, addr).await?));
        }
        Ok(Self { handle, deadlines, cast, master, replicas, sentinel })
    }

    async fn perform(mut self) -> Result<Report, Failure> {
        let raised = self.handle.barrier().raise().ok_or(Failure::Busy)?;
        let began = Instant::now();
        match self.hand_over(began).await {
            Ok(report) => {
                let report = lower(raised, report, began).await;
                self.aftermath().await;
                Ok(report)
            }
            Err(failure) => {
                self.master.unpause().await;
                drop(raised);
                Err(failure)
            }
        }
    }

    /// All while writes are held.
    async fn hand_over(&mut self, began: Instant) -> Result<Report, Failure> {
        let topology = self.handle.topology();
        sleep(SETTLE).await;
        let paused =
            self.master.pause().await.map_err(|fault| Failure::unreachable(&self.cast.master, fault))?;
        self.catch_up().await?;
        let caught_up_ms = millis(began);
        self.fail_over().await?;
        let (to, epoch) = self.promoted(topology).await?;
        let from = self.cast.master.to_string();
        Ok(Report { from, to, epoch, paused, held_ms: 0, caught_up_ms })
    }

    /// Waits until every replica that might be chosen has what the master has now.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let (patience, master) = (self.handle.patience(), &self.cast.master);
        let goal = self.master.offset().await.map_err(|fault| Failure::unreachable(master, fault))?;
        let deadline = Instant::now() + self.deadlines.catch_up;
        for (addr, control) in &mut self.replicas {
            loop {
                let reached =
                    offset(control, patience).await.map_err(|fault| Failure::unreachable(addr, fault))?;
                if reached >= goal {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(Failure::Behind { node: addr.to_string(), lacks: goal - reached });
                }
                self.master.keep(sleep(LOOK)).await;
            }
        }
        Ok(())
    }

    async fn fail_over(&mut self) -> Result<(), Failure> {
        let words = ["SENTINEL", "FAILOVER", self.handle.master()];
        let reply = self.sentinel.ask(&words, self.handle.patience()).await;
        let reply = reply.map_err(|fault| Failure::Refused(fault.words))?;
        match reply.error() {
            Some(error) => Err(Failure::Refused(error.to_owned())),
            None => Ok(()),
        }
    }

    /// Waits for the watcher, who sees the promotion before anybody else does.
    async fn promoted(
        &mut self,
        mut topology: watch::Receiver<Arc<Topology>>,
    ) -> Result<(String, u64), Failure> {
        let (old, epoch) = (self.cast.master.clone(), self.cast.epoch);
        let other = |seen: &Arc<Topology>| {
            seen.epoch > epoch && seen.primary.as_ref().is_some_and(|primary| *primary.addr() != old)
        };
        let published = async { topology.wait_for(other).await.ok().map(|seen| Arc::clone(&seen)) };
        let found = self.master.keep(timeout(self.deadlines.promote, published)).await;
        let seen = found.ok().flatten().ok_or(Failure::NotPromoted)?;
        let primary = seen.primary.as_ref().ok_or(Failure::NotPromoted)?;
        Ok((primary.addr().to_string(), seen.epoch))
    }

    /// Others may not have heard yet: until a Sentinel has confirmed the new master, the old one takes no writes.
    async fn aftermath(mut self) {
        let handle = self.handle.clone();
        let confirmed = async {
            while handle.cast().is_ok_and(|cast| cast.unsettled) {
                sleep(LOOK * 10).await;
            }
        };
        let _ = self.master.keep(timeout(AFTERMATH, confirmed)).await; // the pause ends by itself
    }
}

/// The barrier falls once every worker knows where to go.
async fn lower(raised: Raised, report: Report, began: Instant) -> Report {
    raised.lower().await;
    Report { held_ms: millis(began), ..report }
}

fn check(cast: &Cast) -> Result<(), Failure> {
    if cast.unsettled {
        return Err(Failure::Unsettled);
    }
    if cast.replicas.is_empty() {
        return Err(Failure::NoReplica);
    }
    match cast.unfit.first() {
        Some((node, why)) => Err(Failure::Unfit { node: node.clone(), why }),
        None => Ok(()),
    }
}

async fn reach(handle: &Handle, addr: &Addr) -> Result<Control, Failure> {
    handle.reach_node(addr).await.map_err(|fault| Failure::unreachable(addr, fault))
}

/// The first Sentinel that answers, and after what time it would take the master for dead.
async fn find_sentinel(handle: &Handle, cast: &Cast) -> Result<(Control, Duration), Failure> {
    let mut words = "none is in sight".to_owned();
    for addr in &cast.sentinels {
        match ask_sentinel(handle, addr).await {
            Ok(found) => return Ok(found),
            Err(fault) => words = fault.words,
        }
    }
    Err(Failure::Refused(words))
}

async fn ask_sentinel(handle: &Handle, addr: &Addr) -> Result<(Control, Duration), Fault> {
    let mut control = handle.reach_sentinel(addr).await?;
    let reply = control.ask(&["SENTINEL", "MASTER", handle.master()], handle.patience()).await?;
    let down_after = reply.field("down-after-milliseconds").and_then(|text| text.parse().ok());
    Ok((control, down_after.map_or(paused::DEFAULT_DOWN_AFTER, Duration::from_millis)))
}

/// How far a node is.
async fn offset(control: &mut Control, patience: Duration) -> Result<u64, Fault> {
    let reply = control.ask(&["INFO", "replication"], patience).await?;
    let read = reply.text().and_then(|info| read_info(info, "", Duration::ZERO));
    let unread = || Fault::unusable(reply.error().unwrap_or("INFO replication tells no offset"));
    read.map(|seen| seen.offset).ok_or_else(unread)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
