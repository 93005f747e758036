//! A witness beside the router: asks every node each 5 ms over kept-open connections who it is, and remembers when the
//! answer changed. Its clock is what drills measure the router against. Kind: driver.

mod pg;
mod redis;

use crate::{Result, wait::eventually};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    time::{interval, sleep, timeout},
};

/// The time between two looks; what it sees is at most this late.
const PERIOD: Duration = Duration::from_millis(5);

/// A server that says nothing for so long is down in every sense that matters to a client.
const SILENCE: Duration = Duration::from_millis(500);

/// A login costs both sides thousands of hashes; a slow one on a busy machine isn't a dead server.
const LOGIN: Duration = Duration::from_secs(2);

/// What a node was seen to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It refuses, or doesn't answer within half a second.
    Down,
    /// It calls itself a standby, or a replica.
    Standby,
    /// It calls itself the primary, or a master.
    Primary,
}

/// One change of what a node was seen to be.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The node's id.
    pub node: usize,
    /// When the answer arrived.
    pub at: Instant,
    /// What the node is from then on.
    pub seen: Seen,
}

/// A cluster whose nodes can be watched.
pub trait Watched {
    /// How one of its nodes is asked.
    type Witness: Witness;
    /// One for each node, with its id.
    fn witnesses(&self) -> Vec<(usize, Self::Witness)>;
}

/// How one node is asked who it is.
pub trait Witness: Send + 'static {
    /// A connection that stays open.
    type Connection: Send;
    /// Opens one.
    fn open(&self) -> impl Future<Output = Result<Self::Connection>> + Send;
    /// Asks once.
    fn look(connection: &mut Self::Connection) -> impl Future<Output = Result<Seen>> + Send;
}

/// Watches until it is dropped, on a thread of its own.
#[derive(Debug)]
pub struct Watcher {
    changes: Changes,
    _stop: oneshot::Sender<()>,
}

type Changes = Arc<Mutex<Vec<Change>>>;

impl Watcher {
    /// Starts watching; returns when every node was seen once.
    pub fn start(cluster: &impl Watched) -> Result<Self> {
        let witnesses = cluster.witnesses();
        let (count, changes) = (witnesses.len(), Changes::default());
        let (stop, stopped) = oneshot::channel();
        spawn(witnesses, changes.clone(), stopped)?;
        let watcher = Self { changes, _stop: stop };
        eventually(Duration::from_secs(10), "a first look at every node", || {
            match watcher.changes().len() {
                seen if seen >= count => Ok(()),
                seen => Err(format!("{seen} of {count}")),
            }
        })?;
        Ok(watcher)
    }

    /// Every change so far, oldest first; the first one of each node is what it was at the start.
    pub fn changes(&self) -> Vec<Change> {
        lock(&self.changes).clone()
    }

    /// When the first node other than `than` turned primary after `after`.
    pub fn promoted(&self, after: Instant, than: usize) -> Option<Change> {
        self.first(after, |change| change.seen == Seen::Primary && change.node != than)
    }

    /// When `node` was first seen down after `after`.
    pub fn down(&self, after: Instant, node: usize) -> Option<Instant> {
        self.first(after, |change| change.seen == Seen::Down && change.node == node).map(|change| change.at)
    }

    /// The first change after `after` that `wanted` accepts.
    pub fn first(&self, after: Instant, wanted: impl Fn(&Change) -> bool) -> Option<Change> {
        lock(&self.changes).iter().find(|change| change.at >= after && wanted(change)).copied()
    }
}

fn spawn<W: Witness>(
    witnesses: Vec<(usize, W)>,
    changes: Changes,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("watcher".into()).spawn(move || {
        let watching = async {
            for (node, witness) in witnesses {
                tokio::spawn(watch(node, witness, changes.clone()));
            }
            let _ = stopped.await;
        };
        runtime.block_on(watching);
    })?;
    Ok(())
}

/// The life of one node, connection after connection. A node that ends a connection and takes another at once is not
/// down: Sentinel has a promoted replica cut its clients.
async fn watch<W: Witness>(node: usize, witness: W, changes: Changes) {
    loop {
        if let Ok(Ok(mut connection)) = timeout(LOGIN, witness.open()).await
            && follow::<W>(node, &mut connection, &changes).await == End::Closed
        {
            continue;
        }
        record(node, Seen::Down, &changes);
        sleep(PERIOD).await;
    }
}

/// How a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Silent,
}

/// Asks until an answer fails to come.
async fn follow<W: Witness>(node: usize, connection: &mut W::Connection, changes: &Changes) -> End {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        match timeout(SILENCE, W::look(connection)).await {
            Ok(Ok(seen)) => record(node, seen, changes),
            Ok(Err(_)) => return End::Closed,
            Err(_) => return End::Silent,
        }
        ticks.tick().await;
    }
}

fn record(node: usize, seen: Seen, changes: &Changes) {
    let mut changes = lock(changes);
    if changes.iter().rev().find(|change| change.node == node).is_none_or(|last| last.seen != seen) {
        changes.push(Change { node, at: Instant::now(), seen });
    }
}

fn lock(changes: &Mutex<Vec<Change>>) -> MutexGuard<'_, Vec<Change>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_recorded() {
        let changes = Changes::default();
        for (node, seen) in [(1, Seen::Primary), (2, Seen::Standby), (1, Seen::Primary), (1, Seen::Down)] {
            record(node, seen, &changes);
        }
        let seen: Vec<_> = lock(&changes).iter().map(|change| (change.node, change.seen)).collect();
        assert_eq!(seen, [(1, Seen::Primary), (2, Seen::Standby), (1, Seen::Down)]);
    }
}
