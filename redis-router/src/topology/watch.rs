//! The watcher of one master: hears Sentinels and nodes, judges, publishes. Kind: driver.
//!
//! It promises: what was heard is judged the moment it comes; a loss or a doubt makes everybody look again; a verdict is
//! applied to the nodes' endpoints before it is published; only Sentinels name nodes, within the allow-list.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proxy_core::drain;
use proxy_core::metrics::Registry;
use proxy_core::net::Addr;
use proxy_core::tasks;
use proxy_core::upstream::{Claim, Cluster, Endpoint, Publisher, Rules, Thresholds, Topology};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use super::barrier::Raised;
use super::chronicle::{Chronicle, Record};
use super::control::Fault;
use super::council::Council;
use super::event::{Event, Tracker};
use super::gauges::Gauges;
use super::handle::{Handle, Shared};
use super::judge::judge;
use super::lag::Yardstick;
use super::observation::{Moment, NodeKey, Observation, Sight};
use super::probe::{Glass, Looked, Probe};
use super::roster::{self, Roster};
use super::sentinel::{self, Beat, Heard, Sentinel};
use super::settings::Settings;
use super::status::Snapshot;
use super::verdict::{Decision, Limits, Memory, Reign, Verdict};

/// How many reports may wait for the judge; there are few at a time per Sentinel and node.
const REPORTS: usize = 256;

/// How often time alone is judged.
const TICK: Duration = Duration::from_millis(100);

/// Reports with their senders' names, on their way to the watcher.
struct Letters<T> {
    sender: mpsc::Sender<(NodeKey, T)>,
    inbox: mpsc::Receiver<(NodeKey, T)>,
}

impl<T> Letters<T> {
    fn new() -> Self {
        let (sender, inbox) = mpsc::channel(REPORTS);
        Self { sender, inbox }
    }
}

/// The watcher of one master.
pub struct Watcher {
    settings: Arc<Settings>,
    limits: Limits,
    rules: Arc<Rules>,
    beat: Arc<Beat>,
    glass: Arc<Glass>,
    publisher: Arc<Publisher>,
    replicas: Arc<Cluster>,
    council: Council,
    roster: Roster,
    tracker: Tracker,
    yardstick: Yardstick,
    memory: Memory,
    verdict: Option<Verdict>,
    /// Writes wait for a promotion that is about to come.
    raised: Option<Raised>,
    chronicle: Chronicle,
    gauges: Gauges,
    refused: Option<String>,
    suspect: watch::Sender<bool>,
    said: Letters<Heard>,
    looked: Letters<Looked>,
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
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared::new(Arc::clone(&settings), Arc::clone(&publisher)));
        Self {
            limits: settings.limits(),
            rules: Arc::new(Rules {
                thresholds: Thresholds { rise: 1, fall: 1 },
                failures: None,
                slow_start: Duration::ZERO,
            }),
            beat: Arc::new(settings.beat(shared.born())),
            glass: Arc::new(settings.glass(shared.born())),
            memory: remembered(&publisher, &settings.master),
            gauges: Gauges::new(&settings.master, registry),
            settings,
            publisher,
            replicas,
            council: Council::default(),
            roster: Roster::default(),
            tracker: Tracker::default(),
            yardstick: Yardstick::default(),
            verdict: None,
            raised: None,
            chronicle: Chronicle::default(),
            refused: None,
            suspect: watch::Sender::new(true),
            said: Letters::new(),
            looked: Letters::new(),
            shared,
        }
    }

    /// The handle for everybody else.
    pub fn handle(&self) -> Handle {
        self.shared.handle()
    }

    /// Watches until the process terminates; a drain still needs to know the master.
    pub async fn run(mut self, mut drain: drain::Watch) {
        for addr in self.settings.sentinels.clone() {
            self.ask(addr, true);
        }
        self.watch_the_remembered();
        let mut tick = interval(TICK.min(self.settings.pace.calm));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((key, heard)) = self.said.inbox.recv() => self.hear(&key, heard),
                Some((key, looked)) = self.looked.inbox.recv() => self.see(&key, looked),
                _ = tick.tick() => {}
                () = drain.terminating() => return,
            }
            self.take_in_the_rest();
            self.judge();
        }
    }

    fn take_in_the_rest(&mut self) {
        while let Ok((key, heard)) = self.said.inbox.try_recv() {
            self.hear(&key, heard);
        }
        while let Ok((key, looked)) = self.looked.inbox.try_recv() {
            self.see(&key, looked);
        }
    }

    /// A Sentinel joins: two tasks of its own.
    fn ask(&mut self, addr: Addr, configured: bool) {
        let key = NodeKey::from(addr.to_string());
        if self.council.has(&key) {
            return;
        }
        let sentinel = Sentinel {
            key: key.clone(),
            addr,
            beat: Arc::clone(&self.beat),
            wake: Arc::new(Notify::new()),
            suspect: self.suspect.subscribe(),
            reports: self.said.sender.clone(),
        };
        let wake = Arc::clone(&sentinel.wake);
        let ear = tasks::spawn("sentinel events", sentinel.clone().listen());
        let mouth = tasks::spawn("sentinel", sentinel.inquire());
        self.council.add(key, configured, wake, [ear, mouth]);
        self.shared.set_bells(self.council.bells());
    }

    /// Somebody names a node: it is watched from now on.
    fn name(&mut self, addr: &Addr) {
        let now = self.now();
        if self.roster.name(addr, now) || !self.roster.has_room() {
            return;
        }
        info!(master = self.settings.master, node = %addr, "watched from now on");
        let born = Instant::now().into_std();
        let endpoint = Arc::new(Endpoint::new(addr.clone(), 1, Arc::clone(&self.rules), born));
        let (glass, reports) = (Arc::clone(&self.glass), self.looked.sender.clone());
        let probed = Arc::clone(&endpoint);
        self.roster.add(endpoint, now, |interest| {
            let key = probed.addr().to_string().into();
            let probe = Probe { key, endpoint: probed, glass, interest, reports };
            tasks::spawn("node probe", probe.run())
        });
        self.shared.set_endpoints(self.roster.endpoints());
    }

    /// The master of an earlier run may be the only one whom nobody else tells of.
    fn watch_the_remembered(&mut self) {
        let remembered = self.memory.claim.as_ref().and_then(|claim| claim.node.parse().ok());
        if let Some(addr) = remembered {
            self.name(&addr);
        }
    }

    /// Takes in what a Sentinel says.
    fn hear(&mut self, key: &NodeKey, heard: Heard) {
        let sight = sentinel::sight(&heard);
        let Some(member) = self.council.get_mut(key) else { return };
        if let Some(sight) = sight {
            member.sight = sight;
        }
        match heard {
            Heard::Answer { master, census, .. } => {
                member.complaint = None;
                member.census = census.clone();
                self.name(&master);
                census.replicas.iter().for_each(|addr| self.name(addr));
                self.meet_other_sentinels();
            }
            Heard::Lost(fault) => {
                self.gauges.lost(key, fault.loss.as_str());
                complain(&mut member.complaint, &fault, || {
                    warn!(sentinel = %key, error = fault.words, "Sentinel out of sight");
                });
            }
            Heard::Event(event) => self.hear_event(key, &event),
            Heard::Deaf(words) => {
                if member.deaf.as_ref() != Some(&words) {
                    warn!(sentinel = %key, error = words, "its events are not heard: it is asked all the same");
                }
                member.deaf = Some(words);
                self.tracker.forget(key);
            }
        }
    }

    fn hear_event(&mut self, key: &NodeKey, event: &Event) {
        debug!(sentinel = %key, ?event, "event");
        let candidate = match event {
            Event::Candidate(addr) if self.settings.allowed.allows(addr) => {
                Some(self.settings.address_map.reach(addr.clone()))
            }
            _ => None,
        };
        if let Some(addr) = &candidate {
            self.name(addr);
        }
        let candidate = candidate.map(|addr| addr.to_string().into());
        let now = self.now();
        self.tracker.hear(key, event, candidate, now);
    }

    fn meet_other_sentinels(&mut self) {
        for key in self.council.redundant() {
            info!(sentinel = %key, "asked no longer");
            self.council.remove(&key);
            self.gauges.forget_sentinel(&key);
        }
        for addr in self.council.missing() {
            info!(sentinel = %addr, "another Sentinel is known by the others");
            self.ask(addr, false);
        }
    }

    /// Takes in what was seen of a node; what has become worse makes everybody look again.
    fn see(&mut self, key: &NodeKey, looked: Looked) {
        match looked {
            Looked::Seen(observation) => self.see_well(key, observation),
            Looked::Lost(fault) => {
                self.gauges.lost(key, fault.loss.as_str());
                let Some(node) = self.roster.get_mut(key) else { return };
                let worse = matches!(node.sight, Sight::Seen(_));
                (node.sight, node.fresh) = (Sight::Lost(fault.loss), true);
                complain(&mut node.complaint, &fault, || {
                    warn!(node = %key, error = fault.words, "node out of sight");
                });
                if worse {
                    self.shared.look_again();
                }
            }
            Looked::Hint => self.shared.look_again(),
        }
    }

    fn see_well(&mut self, key: &NodeKey, mut observation: Observation) {
        if self.memory.claim.as_ref().is_some_and(|claim| claim.node == *key) && observation.is_master() {
            self.yardstick.note(observation.at, observation.offset);
        }
        observation.lag = self.yardstick.lag(observation.at, observation.offset);
        let Some(node) = self.roster.get_mut(key) else { return };
        (node.sight, node.fresh, node.complaint) = (Sight::Seen(Arc::new(observation)), true, None);
    }

    fn judge(&mut self) {
        let now = self.now();
        let (sentinels, nodes) = (self.council.views(), self.roster.views());
        let candidacy = self.tracker.candidacy().cloned();
        let (verdict, memory) =
            judge(&self.memory, &sentinels, &nodes, candidacy.as_ref(), now, &self.limits);
        self.memory = memory;
        self.tracker.settle(&self.memory, now);
        self.announce(&verdict);
        self.apply(&verdict);
        self.brace(&verdict);
        let record = Record {
            verdict: &verdict,
            memory: &self.memory,
            sentinels: &sentinels,
            nodes: &nodes,
            candidacy: candidacy.as_ref(),
            now,
            wall: SystemTime::now(),
        };
        if self.chronicle.note(&record) {
            self.gauges.switches.inc();
        }
        self.gauges.show(&sentinels, &nodes, &verdict);
        self.pay_attention(&verdict);
        self.forget_nodes(now);
        let switches = self.chronicle.switches().cloned().collect();
        self.shared.show(Snapshot {
            sentinels,
            nodes,
            candidacy,
            verdict: Some(verdict.clone()),
            switches,
            refused: self.refused.clone(),
        });
        self.verdict = Some(verdict);
    }

    fn now(&self) -> Moment {
        self.shared.now()
    }

    /// State changes, for whoever is on call at night.
    fn announce(&self, verdict: &Verdict) {
        let (before, master) = (self.verdict.as_ref(), self.settings.master.as_str());
        if before.map(|before| &before.master) != Some(&verdict.master) {
            match &verdict.master {
                Decision::Master(reign) => {
                    info!(master, node = %reign.node, epoch = reign.epoch, why = verdict.ground.as_str(), "master confirmed");
                }
                Decision::Held(reason) => warn!(master, %reason, "no master: writes are held"),
            }
        }
        for (node, standing) in &verdict.standings {
            if before.and_then(|before| before.standing(node)) != Some(*standing) {
                info!(master, %node, role = standing.as_str(), why = standing.why(), "node judged");
            }
        }
        let known = |alert| before.is_some_and(|before| before.alerts.contains(alert));
        for alert in verdict.alerts.iter().filter(|alert| !known(alert)) {
            error!(master, %alert, "topology alert");
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
        match &verdict.master {
            Decision::Held(held) => drop(self.publisher.lost_primary(held.fences(), now)),
            Decision::Master(reign) => self.publish(reign, verdict.anew, changed),
        }
    }

    fn publish(&mut self, reign: &Reign, anew: bool, changed: bool) {
        let Some(primary) = self.roster.get(&reign.node).map(|node| Arc::clone(&node.endpoint)) else {
            return;
        };
        if !changed && is_published(&self.publisher.current(), &primary, reign) {
            return;
        }
        let claim = Claim {
            epoch: reign.epoch,
            lineage: self.settings.master.clone(),
            primary,
            replicas: Arc::clone(&self.replicas),
        };
        let now = Instant::now().into_std();
        if anew {
            self.publisher.overrule(claim, now);
            self.refused = None;
            return;
        }
        let refused = self.publisher.publish(claim, now).err().map(|error| error.to_string());
        if let Some(text) = refused.as_ref().filter(|_| refused != self.refused) {
            error!(error = %text, "the topology is not published");
        }
        self.refused = refused;
    }

    /// Holds writes back that a master would take along when it is replaced in a moment. Where somebody else has raised
    /// the barrier, that does it.
    fn brace(&mut self, verdict: &Verdict) {
        if verdict.handing_over {
            if self.raised.is_none() {
                self.raised = self.shared.barrier().raise();
            }
        } else if let Some(raised) = self.raised.take() {
            tasks::spawn("barrier", raised.lower());
        }
    }

    /// Who is watched closely from now on.
    fn pay_attention(&self, verdict: &Verdict) {
        let candidacy = self.tracker.candidacy().filter(|candidacy| !candidacy.aborted);
        self.roster.watch_closely(candidacy.map(|candidacy| &candidacy.node), verdict.suspect);
        self.suspect
            .send_if_modified(|suspect| std::mem::replace(suspect, verdict.suspect) != verdict.suspect);
    }

    fn forget_nodes(&mut self, now: Moment) {
        let memory = &self.memory;
        let reigns = [&memory.claim, &memory.reigning, &memory.provisional];
        let mut kept: Vec<NodeKey> = reigns.into_iter().flatten().map(|reign| reign.node.clone()).collect();
        // While no Sentinel answers, nobody can name anybody.
        let blind = !self.council.members().any(|member| matches!(member.sight, Sight::Seen(_)));
        if blind {
            return;
        }
        kept.extend(self.tracker.candidacy().map(|candidacy| candidacy.node.clone()));
        let gone = self.roster.forget(&kept.iter().collect::<Vec<_>>(), now);
        for key in &gone {
            info!(node = %key, "watched no longer: no Sentinel names it");
            self.gauges.forget_node(key);
        }
        if !gone.is_empty() {
            self.shared.set_endpoints(self.roster.endpoints());
        }
    }
}

/// What the state file says, if it is about this master.
fn remembered(publisher: &Publisher, master: &str) -> Memory {
    let known = publisher.remembered().filter(|known| known.lineage == master);
    let reign = known.map(|known| Reign { node: NodeKey::from(known.primary), epoch: known.epoch });
    reign.map(Memory::restored).unwrap_or_default()
}

fn is_published(topology: &Topology, primary: &Arc<Endpoint>, reign: &Reign) -> bool {
    let same = topology.primary.as_ref().is_some_and(|published| Arc::ptr_eq(published, primary));
    same && topology.epoch == reign.epoch
}

/// Says once what is wrong, until it is mended or something else is.
fn complain(known: &mut Option<String>, fault: &Fault, say: impl FnOnce()) {
    if known.as_ref() != Some(&fault.words) {
        say();
        *known = Some(fault.words.clone());
    }
}

#[cfg(test)]
mod tests;
