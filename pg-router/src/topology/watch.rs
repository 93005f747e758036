//! The watcher: a monitor for each node, the judge over what they report, the publisher of what it says. Kind: driver.
//!
//! It promises: a report is judged the moment it comes; a loss or a doubt quickens all monitors; a verdict is applied to
//! the nodes' endpoints before it is published; nodes beyond the configured ones come from the confirmed primary alone
//! (rule R10).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use proxy_core::drain;
use proxy_core::metrics::Registry;
use proxy_core::net::Addr;
use proxy_core::tasks;
use proxy_core::upstream::{Claim, Cluster, Endpoint, Publisher, Rules, Thresholds, Topology};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use super::chronicle::Chronicle;
use super::gauges::Gauges;
use super::judge::judge;
use super::monitor::{Account, Complaint, Dial, Greeted, Monitor, Pace, Report};
use super::observation::{Moment, NodeKey, NodeView, Sight};
use super::roster::{self, Roster};
use super::status::Snapshot;
use super::verdict::{Decision, Limits, Memory, Reign, Verdict};

/// How many reports may wait for the judge; there is one at a time per node.
const REPORTS: usize = 64;

/// What to watch, and how.
pub struct Settings {
    /// The nodes to begin with.
    pub nodes: Vec<Addr>,
    /// As whom to log in.
    pub account: Account,
    /// How to get there.
    pub dial: Dial,
    /// How often to look.
    pub pace: Pace,
    /// What bounds the judge.
    pub limits: Limits,
    /// Where the monitors put what they are told at login.
    pub greeted: Greeted,
}

/// What traffic met on a connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A connection for writes was greeted with `in_hot_standby=on`.
    HotStandby,
    /// A write was refused with SQLSTATE 25006.
    ReadOnly,
    /// 57P01, 57P02 or 57P03: the server goes away or is not there yet.
    Shutdown,
    /// The connection was refused.
    Refused,
    /// The connection ended without a word.
    Closed,
}

impl Evidence {
    fn as_str(self) -> &'static str {
        match self {
            Self::HotStandby => "hot_standby",
            Self::ReadOnly => "read_only",
            Self::Shutdown => "shutdown",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// The ear and the mouth of the watcher, for everybody else. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    born: Instant,
    snapshot: Mutex<Snapshot>,
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    evidence: prometheus::IntCounterVec,
}

impl Handle {
    /// Traffic met something that speaks against a node: all are looked at again, at once. It is never more than a hint.
    pub fn evidence(&self, addr: &Addr, kind: Evidence) {
        debug!(node = %addr, kind = kind.as_str(), "traffic speaks against a node");
        self.shared.evidence.with_label_values(&[kind.as_str()]).inc();
        self.shared.look_again();
    }

    /// The topology for `/status`.
    pub fn status(&self) -> Value {
        locked(&self.shared.snapshot).to_json(self.shared.born.elapsed())
    }
}

impl Shared {
    fn look_again(&self) {
        locked(&self.endpoints).iter().for_each(|endpoint| endpoint.suspect());
    }
}

/// Nothing that holds one of these locks can leave half a value behind.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watcher of one PostgreSQL cluster.
pub struct Watcher {
    settings: Settings,
    account: Arc<Account>,
    rules: Arc<Rules>,
    publisher: Arc<Publisher>,
    replicas: Arc<Cluster>,
    roster: Roster,
    memory: Memory,
    verdict: Option<Verdict>,
    chronicle: Chronicle,
    gauges: Gauges,
    refused: Option<String>,
    suspect: watch::Sender<bool>,
    reports: mpsc::Sender<Report>,
    inbox: mpsc::Receiver<Report>,
    shared: Arc<Shared>,
}

impl Watcher {
    /// A watcher that goes on from what the publisher remembers; `replicas` is the cluster whose members it sets.
    pub fn new(
        settings: Settings,
        publisher: Arc<Publisher>,
        replicas: Arc<Cluster>,
        registry: &Registry,
    ) -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS);
        let gauges = Gauges::new(registry);
        let shared = Shared {
            born: Instant::now(),
            snapshot: Mutex::default(),
            endpoints: Mutex::default(),
            evidence: gauges.evidence.clone(),
        };
        Self {
            account: Arc::new(settings.account.clone()),
            rules: Arc::new(Rules {
                thresholds: Thresholds { rise: 1, fall: 1 },
                failures: None,
                slow_start: Duration::ZERO,
            }),
            memory: remembered(&publisher),
            settings,
            publisher,
            replicas,
            roster: Roster::default(),
            verdict: None,
            chronicle: Chronicle::default(),
            gauges,
            refused: None,
            suspect: watch::Sender::new(true),
            reports,
            inbox,
            shared: Arc::new(shared),
        }
    }

    /// The handle for everybody else.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Watches until the process terminates; a drain still needs to know the primary.
    pub async fn run(mut self, mut drain: drain::Watch) {
        let nodes = self.settings.nodes.clone();
        nodes.into_iter().for_each(|addr| self.enlist(addr, true));
        let mut beat = interval(self.settings.pace.calm);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(report) = self.inbox.recv() => self.hear(report),
                _ = beat.tick() => {}
                () = drain.terminating() => return,
            }
            while let Ok(report) = self.inbox.try_recv() {
                self.hear(report);
            }
            self.judge();
        }
    }

    /// A node joins: an endpoint and a monitor of its own.
    fn enlist(&mut self, addr: Addr, configured: bool) {
        let key = NodeKey::from(addr.to_string());
        let endpoint = Arc::new(Endpoint::new(addr, 1, Arc::clone(&self.rules), Instant::now().into_std()));
        let monitor = Monitor {
            greeting: self.settings.greeted.clone(),
            key: key.clone(),
            endpoint: Arc::clone(&endpoint),
            account: Arc::clone(&self.account),
            dial: Arc::clone(&self.settings.dial),
            pace: self.settings.pace,
            born: self.shared.born,
            suspect: self.suspect.subscribe(),
            reports: self.reports.clone(),
        };
        if self.roster.has(&key) {
            return;
        }
        let task = tasks::spawn("node monitor", monitor.run());
        self.roster.add(key, endpoint, configured, task);
        *locked(&self.shared.endpoints) = self.roster.endpoints();
    }

    fn dismiss(&mut self, key: &NodeKey) {
        info!(node = %key, "no longer watched");
        self.roster.remove(key);
        self.gauges.forget(key);
        *locked(&self.shared.endpoints) = self.roster.endpoints();
    }

    /// Takes in a report; what has become worse makes everybody look again.
    fn hear(&mut self, report: Report) {
        if let Sight::Lost(loss) = report.sight {
            self.gauges.losses.with_label_values(&[&*report.node, loss.as_str()]).inc();
        }
        let Some(member) = self.roster.get_mut(&report.node) else { return };
        let worse = matches!(member.sight, Sight::Seen(_)) && matches!(report.sight, Sight::Lost(_));
        let seen = matches!(report.sight, Sight::Seen(_));
        member.sight = report.sight;
        member.fresh = true;
        // A node without an observation has nothing new to say about its rights.
        let news = if member.complaint == report.complaint { None } else { report.complaint.clone() };
        if seen || news.is_some() {
            member.complaint = report.complaint;
        }
        if let Some(complaint) = news {
            complain(&report.node, &complaint);
        }
        if worse {
            self.shared.look_again();
        }
    }

    fn judge(&mut self) {
        let now = self.now();
        let nodes = self.roster.views();
        let (verdict, memory) = judge(&self.memory, &nodes, now, &self.settings.limits);
        self.memory = memory;
        self.announce(&verdict);
        self.apply(&verdict);
        self.gauges.show(&nodes, &verdict);
        if self.chronicle.note(&verdict, now, SystemTime::now()) {
            self.gauges.switches.inc();
        }
        self.suspect
            .send_if_modified(|suspect| std::mem::replace(suspect, verdict.suspect) != verdict.suspect);
        self.discover(&verdict, &nodes);
        self.show(nodes, verdict);
    }

    fn now(&self) -> Moment {
        self.shared.born.elapsed()
    }

    /// State changes, for whoever is on call at night.
    fn announce(&self, verdict: &Verdict) {
        let before = self.verdict.as_ref();
        if before.map(|before| &before.primary) != Some(&verdict.primary) {
            match &verdict.primary {
                Decision::Primary(reign) => {
                    info!(node = %reign.node, timeline = reign.timeline, "primary confirmed")
                }
                Decision::Held(reason) => warn!(%reason, "no primary: writes are held"),
            }
        }
        for (node, role) in &verdict.roles {
            let was = before.and_then(|before| before.role(node));
            if was != Some(*role) {
                info!(%node, role = role.as_str(), why = role.why(), "node judged");
            }
        }
        let known = |alert| before.is_some_and(|before| before.alerts.contains(alert));
        for alert in verdict.alerts.iter().filter(|alert| !known(alert)) {
            error!(%alert, "topology alert");
        }
    }

    /// Endpoints first, then the publication: whoever hears of it finds them as they are.
    fn apply(&mut self, verdict: &Verdict) {
        let now = Instant::now().into_std();
        self.roster.observe(verdict, now);
        let replicas = self.roster.pick(verdict.replicas());
        let changed = !roster::same(&self.replicas.endpoints(), &replicas);
        if changed {
            self.replicas.set(replicas);
        }
        match &verdict.primary {
            Decision::Held(held) => drop(self.publisher.lost_primary(held.fences(), now)),
            Decision::Primary(reign) => self.publish(reign, changed),
        }
    }

    fn publish(&mut self, reign: &Reign, changed: bool) {
        let Some(primary) = self.roster.get(&reign.node).map(|member| Arc::clone(&member.endpoint)) else {
            return;
        };
        if !changed && is_published(&self.publisher.current(), &primary, reign) {
            return;
        }
        let claim = Claim {
            epoch: reign.timeline.into(),
            lineage: reign.system_identifier.to_string(),
            primary,
            replicas: Arc::clone(&self.replicas),
        };
        let refused =
            self.publisher.publish(claim, Instant::now().into_std()).err().map(|error| error.to_string());
        if let Some(text) = refused.as_ref().filter(|_| refused != self.refused) {
            error!(error = %text, "the topology is not published");
        }
        self.refused = refused;
    }

    /// Rule R10, and its reverse: who left the table of the confirmed primary is watched no longer.
    fn discover(&mut self, verdict: &Verdict, nodes: &[NodeView]) {
        let Decision::Primary(reign) = &verdict.primary else { return };
        let Some(census) = roster::census(nodes, &reign.node) else { return };
        for key in self.roster.redundant(&census) {
            self.dismiss(&key);
        }
        for addr in self.roster.missing(&census) {
            info!(node = %addr, "discovered in repmgr.nodes");
            self.enlist(addr, false);
        }
    }

    fn show(&mut self, nodes: Vec<NodeView>, verdict: Verdict) {
        let switches = self.chronicle.switches().cloned().collect();
        let refused = self.refused.clone();
        *locked(&self.shared.snapshot) =
            Snapshot { nodes, verdict: Some(verdict.clone()), switches, refused };
        self.verdict = Some(verdict);
    }
}

/// What the state file says, if it is a PostgreSQL's.
fn remembered(publisher: &Publisher) -> Memory {
    let reign = publisher.remembered().and_then(|known| {
        Some(Reign {
            node: NodeKey::from(known.primary),
            node_id: None,
            timeline: known.epoch.try_into().ok()?,
            system_identifier: known.lineage.parse().ok()?,
        })
    });
    reign.map(Memory::restored).unwrap_or_default()
}

fn is_published(topology: &Topology, primary: &Arc<Endpoint>, reign: &Reign) -> bool {
    let same = topology.primary.as_ref().is_some_and(|published| Arc::ptr_eq(published, primary));
    same && topology.epoch == u64::from(reign.timeline)
}

fn complain(node: &NodeKey, complaint: &Complaint) {
    match complaint {
        Complaint::Blinkered => warn!(
            %node,
            "the monitor's user can't see pg_stat_wal_receiver: grant it pg_monitor, or no standby is read from"
        ),
        Complaint::NoRepmgr(words) => warn!(
            %node, error = words,
            "repmgr's tables can't be read: the primary is told by its timeline alone, no node is discovered"
        ),
        Complaint::Fault(words) => warn!(%node, error = words, "node out of sight"),
    }
}

#[cfg(test)]
mod tests;
