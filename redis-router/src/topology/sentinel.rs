//! One Sentinel: an ear on its events, and a mouth that asks who the master is. Kind: driver.
//!
//! ```text
//!   ear    connect ─► PSUBSCRIBE * ─► event ─► report, and wake the mouth
//!   mouth  connect ─► ask ─► report ─► wait ─┬─ beat (quick while a failover is in progress)
//!             ▲         ▲                    ├─ woken by the ear, or by a doubt
//!             │         └────────────────────┘
//!             └─ the connection ended: once more at once, then with patience
//! ```
//!
//! Events are a reason to ask, never an answer: the leader of a failover tells `+switch-master` last of all, up to
//! `failover-timeout` after the others.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::backoff::Backoff;
use proxy_core::net::Addr;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::control::{Access, Control, Fault};
use super::discovery::{AddressMap, AllowList};
use super::event::Event;
use super::observation::{Loss, Moment, NodeKey, Sight, Testimony};
use super::reply::Reply;
use super::testimony::{self, Peer, Statement, Unread};

/// Between two questions while something is going on.
const QUICK: Duration = Duration::from_millis(100);

/// Between two attempts to get answers that agree with one another.
const TORN: Duration = Duration::from_millis(5);

/// How often torn answers are asked for again in a row.
const TORN_TRIES: u32 = 20;

/// Between two attempts to connect, at most.
const RETRY: Duration = Duration::from_secs(2);

/// What a Sentinel's tasks say to the watcher.
#[derive(Debug)]
pub(super) enum Heard {
    /// What it answered, and whom else it knows.
    Answer { testimony: Testimony, master: Addr, census: Census },
    /// It does not answer.
    Lost(Fault),
    /// What it published.
    Event(Event),
    /// Its events are not heard, or no longer.
    Deaf(String),
}

/// Whom a Sentinel knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// The Sentinel's own run id.
    pub(super) run_id: String,
    pub(super) replicas: Vec<Addr>,
    pub(super) peers: Vec<Peer>,
}

/// What all Sentinels of a master are asked about, and how.
pub(super) struct Beat {
    pub(super) master: String,
    pub(super) access: Arc<Access>,
    pub(super) allowed: AllowList,
    pub(super) address_map: AddressMap,
    pub(super) calm: Duration,
    pub(super) patience: Duration,
    pub(super) born: Instant,
}

/// The tasks of one Sentinel.
#[derive(Clone)]
pub(super) struct Sentinel {
    pub(super) key: NodeKey,
    pub(super) addr: Addr,
    pub(super) beat: Arc<Beat>,
    pub(super) wake: Arc<Notify>,
    pub(super) suspect: watch::Receiver<bool>,
    pub(super) reports: mpsc::Sender<(NodeKey, Heard)>,
}

impl Sentinel {
    async fn report(&self, heard: Heard) {
        // The watcher is gone: so are we, at the next turn of the loop.
        let _ = self.reports.send((self.key.clone(), heard)).await;
    }

    async fn connect(&self) -> Result<Control, Fault> {
        // Sentinels are configured or were checked when they were discovered.
        Control::open(&self.addr, &self.beat.access, &AllowList::default()).await
    }

    /// Hears events until nobody listens any more.
    pub(super) async fn listen(self) {
        let mut backoff = Backoff::new(QUICK, RETRY);
        while !self.reports.is_closed() {
            let fault = match self.subscribe().await {
                Ok(control) => {
                    backoff.reset();
                    self.hear_events(control).await
                }
                Err(fault) => fault,
            };
            self.report(Heard::Deaf(fault.words)).await;
            self.wake.notify_one();
            sleep(backoff.next_delay(fastrand::u32(..))).await;
        }
    }

    async fn subscribe(&self) -> Result<Control, Fault> {
        let mut control = self.connect().await?;
        let reply = control.ask(&["PSUBSCRIBE", "*"], self.beat.patience).await?;
        match reply.error() {
            Some(error) => Err(Fault::new(Loss::Unusable, format!("PSUBSCRIBE: {error}"))),
            None => Ok(control),
        }
    }

    async fn hear_events(&self, mut control: Control) -> Fault {
        loop {
            match control.hear().await {
                Ok(message) => self.hear_event(&message).await,
                Err(fault) => return fault,
            }
        }
    }

    async fn hear_event(&self, message: &Reply) {
        let parts = message.list().unwrap_or_default();
        let part = |index: usize| parts.get(index).and_then(Reply::text);
        let event =
            part(2).zip(part(3)).and_then(|(channel, text)| Event::read(&self.beat.master, channel, text));
        if let Some(event) = event {
            self.wake.notify_one();
            self.report(Heard::Event(event)).await;
        }
    }

    /// Asks until nobody listens any more.
    pub(super) async fn inquire(mut self) {
        let mut backoff = Backoff::new(QUICK, RETRY);
        while !self.reports.is_closed() {
            let opened = self.connect().await;
            let fault = match opened {
                Ok(control) => match self.converse(control).await {
                    // It had answered before: a restarted Sentinel is back at once, and nothing is lost.
                    (true, fault) if fault.loss == Loss::Closed => {
                        backoff.reset();
                        continue;
                    }
                    (_, fault) => fault,
                },
                Err(fault) => fault,
            };
            self.report(Heard::Lost(fault)).await;
            let delay = backoff.next_delay(fastrand::u32(..));
            tokio::select! {
                () = sleep(delay) => {}
                () = self.woken_after(QUICK) => {}
            }
        }
    }

    /// Somebody wants to know; but not more often than this is a Sentinel that is away called upon.
    async fn woken_after(&self, floor: Duration) {
        sleep(floor).await;
        self.wake.notified().await;
    }

    /// Asks on each beat until the connection ends; tells whether there was any answer.
    async fn converse(&mut self, mut control: Control) -> (bool, Fault) {
        let run_id = match control.ask(&["SENTINEL", "MYID"], self.beat.patience).await {
            Ok(reply) => reply.text().unwrap_or_default().to_owned(), // an error before Redis 6.2
            Err(fault) => return (false, fault),
        };
        let mut answered = false;
        loop {
            match self.ask(&mut control, &run_id).await {
                Ok(quick) => {
                    answered = true;
                    if let Err(fault) = self.wait(&mut control, quick).await {
                        return (answered, fault);
                    }
                }
                Err(fault) => return (answered, fault),
            }
        }
    }

    /// One question; tells whether the next one should follow quickly.
    async fn ask(&self, control: &mut Control, run_id: &str) -> Result<bool, Fault> {
        let (statement, census) = self.statement(control, run_id).await?;
        let named = |addr: &Addr| self.beat.allowed.allows(addr);
        if !named(&statement.master) {
            let words = format!("it names {}, which is not allowed", statement.master);
            return Err(Fault::new(Loss::NotAllowed, words));
        }
        let quick = statement.failover.is_some();
        let master = self.beat.address_map.reach(statement.master.clone());
        let testimony = testify(statement, &master, self.beat.born.elapsed());
        self.report(Heard::Answer { testimony, master, census: self.within(census) }).await;
        Ok(quick)
    }

    async fn statement(&self, control: &mut Control, run_id: &str) -> Result<(Statement, Census), Fault> {
        let mut tries = 0;
        loop {
            let replies = self.questions(control).await?;
            let [address, master, replicas, peers] = replies.as_slice() else {
                return Err(Fault::new(Loss::Unusable, "answers are missing"));
            };
            match testimony::read(address, master) {
                Ok(statement) => {
                    let (replicas, peers) = (testimony::replicas(replicas), testimony::peers(peers));
                    return Ok((statement, Census { run_id: run_id.to_owned(), replicas, peers }));
                }
                Err(Unread::Torn) if tries < TORN_TRIES => tries += 1,
                Err(unread) => return Err(Fault::new(unread.loss(), unread.words())),
            }
            sleep(TORN).await;
        }
    }

    async fn questions(&self, control: &mut Control) -> Result<Vec<Reply>, Fault> {
        let master = self.beat.master.as_str();
        let replies = control
            .ask_all(
                &[
                    &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master],
                    &["SENTINEL", "MASTER", master],
                    // The name that Redis before 5 knows, too.
                    &["SENTINEL", "SLAVES", master],
                    &["SENTINEL", "SENTINELS", master],
                ],
                self.beat.patience,
            )
            .await?;
        Ok(replies)
    }

    /// The census in the addresses by which we reach them, without those that may not be named.
    fn within(&self, census: Census) -> Census {
        let reach = |addr: Addr| {
            let allowed = self.beat.allowed.allows(&addr);
            allowed.then(|| self.beat.address_map.reach(addr))
        };
        let replicas = census.replicas.into_iter().filter_map(reach).collect();
        let peer = |peer: Peer| Some(Peer { addr: reach(peer.addr)?, run_id: peer.run_id });
        Census { run_id: census.run_id, replicas, peers: census.peers.into_iter().filter_map(peer).collect() }
    }

    async fn wait(&mut self, control: &mut Control, quick: bool) -> Result<(), Fault> {
        let quick = quick || *self.suspect.borrow_and_update();
        let beat = if quick { QUICK.min(self.beat.calm) } else { self.beat.calm };
        tokio::select! {
            fault = control.ended() => Err(fault),
            () = sleep(beat) => Ok(()),
            () = self.wake.notified() => Ok(()),
            _ = self.suspect.changed() => Ok(()),
        }
    }
}

fn testify(statement: Statement, master: &Addr, at: Moment) -> Testimony {
    Testimony {
        at,
        master: master.to_string().into(),
        epoch: statement.epoch,
        failover: statement.failover,
        flags: statement.flags,
        quorum: statement.quorum,
        others: statement.others,
    }
}

/// What the judge gets to see of a report.
pub(super) fn sight(heard: &Heard) -> Option<Sight<Testimony>> {
    match heard {
        Heard::Answer { testimony, .. } => Some(Sight::Seen(Arc::new(testimony.clone()))),
        Heard::Lost(fault) => Some(Sight::Lost(fault.loss)),
        Heard::Event(_) | Heard::Deaf(_) => None,
    }
}
