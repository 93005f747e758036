//! One cluster, and the tasks that keep it. Kind: driver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use proxy_core::admin::Latch;
use proxy_core::app::Context;
use proxy_core::error::{Error, Result};
use proxy_core::net::{Addr, SocketOptions};
use proxy_core::tasks;
use proxy_core::tls::ClientTls;
use proxy_core::upstream::{Beat, Cluster, Endpoint, Health, Prober, Rules, Thresholds};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::discovery::Names;
use super::probe::HttpProbe;
use super::roster::{Record, Roster};
use crate::config::{self, Check, CheckKind, Config, Policy, Sticky, Target};
use crate::queue::{
    Balance, CLASSES, Class, Limits, Member, QueueMetrics, QueueStatus, Scheduler, Shed, Slot, Tag, Terms,
    Ticket, digest,
};

/// How often gauges are told, and the shares of fresh replicas counted anew.
const BEAT: Duration = Duration::from_millis(250);

/// Between two checks of a replica about which there is doubt.
const FAST: Duration = Duration::from_millis(100);

/// The process is ready when all replicas were asked once, or after so long: it has files and pages to serve, too.
const READY_AFTER: Duration = Duration::from_secs(5);

/// Checks that only connect, where none is configured.
const CONNECT_INTERVAL: Duration = Duration::from_secs(2);

/// A cluster as it is to be, read from the configuration and found to be possible.
#[derive(Debug)]
pub(super) struct Plan {
    config: config::Cluster,
    terms: Terms,
    classes: Vec<String>,
    tls: Option<Arc<ClientTls>>,
    names: Arc<Names>,
    sockets: SocketOptions,
}

impl Plan {
    pub(super) fn new(cluster: &config::Cluster, config: &Config) -> Result<Self> {
        let alpn: &[&[u8]] = if cluster.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        let tls = cluster.tls.as_ref().map(|tls| ClientTls::new(tls.config(alpn)?)).transpose()?;
        let classes: Vec<_> = config.class_names().into_iter().map(str::to_owned).collect();
        Ok(Self {
            terms: terms(cluster, &classes),
            classes,
            tls: tls.map(Arc::new),
            names: Arc::new(Names::new(cluster.resolution.clone())?),
            sockets: config.sockets,
            config: cluster.clone(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }
}

fn terms(cluster: &config::Cluster, classes: &[String]) -> Terms {
    let balance = match cluster.policy {
        Policy::LeastInFlight => Balance::LeastInFlight,
        Policy::RoundRobin => Balance::RoundRobin,
        Policy::TwoChoices => Balance::TwoChoices,
        Policy::Hash => Balance::Hash,
    };
    let queue = &cluster.queue;
    let mut per_class = [usize::MAX; CLASSES];
    for (limit, class) in per_class.iter_mut().zip(classes) {
        *limit = queue.max_of_class.get(class).copied().unwrap_or(usize::MAX);
    }
    let limits = Limits {
        max: queue.max,
        per_class,
        reserved: queue.reserved,
        low_share_percent: queue.low_share_percent.min(100),
        timeout: queue.timeout,
    };
    Terms { balance, limits, panic_percent: cluster.panic_mode.then_some(cluster.panic_below.min(100)) }
}

/// One cluster, shared by all workers.
#[derive(Debug)]
pub struct ClusterState {
    name: String,
    plan: ArcSwap<Plan>,
    members: Arc<Cluster>,
    scheduler: Arc<Scheduler>,
    roster: Mutex<Roster>,
    /// For the cookie's value where no key is configured.
    salt: [u8; 16],
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl ClusterState {
    pub(super) fn new(plan: Plan, context: &Context) -> Result<Self> {
        let name = plan.config.name.clone();
        let classes: Vec<_> = plan.classes.iter().map(String::as_str).collect();
        let metrics = QueueMetrics::new(&context.registry, &name, &classes);
        let roster = Roster::new(&plan.config.upstreams, plan.config.slots);
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| Error::config(format!("no random numbers: {error}")))?;
        let state = Self {
            members: Arc::new(Cluster::new(&name, [])),
            scheduler: Scheduler::new(plan.terms.clone(), metrics),
            roster: Mutex::new(roster),
            salt,
            tasks: Mutex::default(),
            plan: ArcSwap::from_pointee(plan),
            name,
        };
        state.apply(&state.lock_roster());
        Ok(state)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// TLS towards its replicas.
    pub fn tls(&self) -> Option<Arc<ClientTls>> {
        self.plan.load().tls.clone()
    }

    /// The cookie that keeps clients at one replica, if there is one; its value is [`Slot::tag`].
    pub fn sticky(&self) -> Option<Sticky> {
        self.plan.load().config.sticky.clone()
    }

    /// A slot, if one can be had at once: no waiting, no `await`.
    pub fn try_slot(&self, ticket: &Ticket, now: tokio::time::Instant) -> Option<Slot> {
        self.scheduler.try_slot(ticket, now)
    }

    /// A slot, as soon as it is this request's turn. Dropping the future leaves the queue; a slot that was just given
    /// to it goes on to the next.
    ///
    /// # Errors
    /// Why there is none for this request.
    pub async fn slot(&self, ticket: &Ticket) -> std::result::Result<Slot, Shed> {
        self.scheduler.slot(ticket).await
    }

    /// In how many seconds somebody of this class who is turned away may try again (`Retry-After`).
    pub fn retry_after(&self, class: Class) -> u32 {
        let least = self.plan.load().config.queue.retry_after.as_secs();
        self.scheduler.retry_after(class).max(u32::try_from(least).unwrap_or(u32::MAX))
    }

    /// Its replicas.
    pub const fn members(&self) -> &Arc<Cluster> {
        &self.members
    }

    /// The names of the classes, the most urgent one first.
    pub(super) fn classes(&self) -> Vec<String> {
        self.plan.load().classes.clone()
    }

    pub(super) fn queue(&self) -> QueueStatus {
        self.scheduler.status()
    }

    /// An operator's weight for a replica; 0 gives it nothing. Whether there is such a replica.
    pub(super) fn set_weight(&self, addr: &Addr, weight: u16) -> bool {
        let mut roster = self.lock_roster();
        let known = roster.set_weight(addr, weight);
        self.apply(&roster);
        known
    }

    /// Another configuration.
    pub(super) fn adopt(self: &Arc<Self>, plan: Plan, context: &Context) {
        let mut roster = self.lock_roster();
        *roster = Roster::new(&plan.config.upstreams, plan.config.slots).after(&roster);
        self.scheduler.configure(plan.terms.clone());
        self.plan.store(Arc::new(plan));
        self.apply(&roster);
        drop(roster);
        if self.is_running() {
            self.stop();
            self.start(context, None);
        }
    }

    /// Who belongs to the cluster, told to those who need to know. The lock on the roster makes this one at a time.
    fn apply(&self, roster: &Roster) {
        let plan = self.plan.load();
        let found = roster.members();
        let members = found.iter().map(|found| (found.addr.clone(), found.weight));
        self.members.update(members, rules(&plan.config), Instant::now());
        let endpoints = self.members.endpoints();
        let key = plan.config.sticky.as_ref().and_then(|sticky| sticky.key.as_ref());
        let salt = key.map_or(&self.salt[..], |key| key.expose().as_bytes());
        let member = |(endpoint, found): (&Arc<Endpoint>, &super::roster::Found)| {
            let name = found.addr.to_string();
            let tag = tag(salt, &self.name, &name);
            Member { endpoint: endpoint.clone(), slots: found.slots, tag, name: digest(name.as_bytes()) }
        };
        self.scheduler.sync(&endpoints.iter().zip(&found).map(member).collect::<Vec<_>>());
    }

    pub(super) fn is_running(&self) -> bool {
        !self.lock_tasks().is_empty()
    }

    pub(super) fn stop(&self) {
        self.lock_tasks().drain(..).for_each(|task| task.abort());
    }

    /// Asks names and replicas from now on; `latch` is dropped once all have been asked.
    pub(super) fn start(self: &Arc<Self>, context: &Context, latch: Option<Latch>) {
        let plan = self.plan.load_full();
        let (mut end, drain) = (context.drain.watch(), &context.drain);
        let mut started = vec![tasks::spawn_essential("cluster", self.clone().keep(latch), drain)];
        let (check, beat) = checks(&plan.config);
        let probe = HttpProbe::new(check, plan.tls.clone(), plan.sockets);
        let prober = Prober::new(self.members.clone(), probe, beat);
        started.push(tasks::spawn_essential(
            "prober",
            async move { prober.run(end.terminating()).await },
            drain,
        ));
        let names = self.lock_roster().names();
        if !names.is_empty() {
            let state = self.clone();
            let follow =
                async move { plan.names.follow(&names, |name, records| state.heard(name, records)).await };
            started.push(tasks::spawn_essential("discovery", follow, drain));
        }
        self.lock_tasks().extend(started);
    }

    fn heard(&self, name: &Target, records: Option<Vec<Record>>) {
        let mut roster = self.lock_roster();
        if records.is_some_and(|records| roster.learn(name, records)) {
            tracing::info!(cluster = self.name, %name, replicas = roster.members().len(), "name stands for others now");
            self.apply(&roster);
        }
    }

    /// Tells the scheduler who turned, and whose share grows.
    async fn keep(self: Arc<Self>, latch: Option<Latch>) {
        let mut turns = self.members.turns();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asked = self.all_asked();
        let ready = async {
            let _late = timeout(READY_AFTER, asked).await; // files and pages can be served all the same
            drop(latch);
            std::future::pending::<()>().await;
        };
        let mut ready = std::pin::pin!(ready);
        loop {
            tokio::select! {
                turned = turns.changed() => {
                    turned.expect("the sender lives in `members`, which we hold");
                    self.scheduler.refresh();
                }
                _ = beat.tick() => self.tick(),
                () = &mut ready => {}
            }
        }
    }

    fn tick(&self) {
        let now = Instant::now();
        if self.members.endpoints().iter().any(|endpoint| endpoint.is_fresh(now)) {
            self.scheduler.refresh();
        }
        self.scheduler.measure();
    }

    /// Waits until every name was answered for and every replica has been asked.
    async fn all_asked(&self) {
        let (mut changes, mut turns) = (self.members.changes(), self.members.turns());
        let unasked = |endpoint: &Arc<Endpoint>| endpoint.health() == Health::Unknown;
        while !self.lock_roster().is_complete() || self.members.endpoints().iter().any(unasked) {
            tokio::select! {
                _ = changes.changed() => {}
                _ = turns.changed() => {}
            }
        }
    }

    fn lock_roster(&self) -> MutexGuard<'_, Roster> {
        // A roster is never left half changed.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From this the address can't be told, nor tried: whoever wants to try needs the salt.
fn tag(salt: &[u8], cluster: &str, addr: &str) -> Tag {
    let mut hash = Sha256::new();
    for part in [salt, cluster.as_bytes(), addr.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Tag::from_digest(&hash.finalize())
}

fn rules(cluster: &config::Cluster) -> Rules {
    let (rise, fall) = cluster.check.as_ref().map_or((1, 3), |check| (check.rise, check.fall));
    Rules {
        thresholds: Thresholds { rise, fall },
        failures: Some(cluster.ejection.failures),
        slow_start: cluster.slow_start,
    }
}

/// What is asked, and when.
fn checks(cluster: &config::Cluster) -> (Check, Beat) {
    let connect = || Check { kind: CheckKind::Connect, interval: CONNECT_INTERVAL, ..Check::default() };
    let check = cluster.check.clone().unwrap_or_else(connect);
    let (interval, timeout) = (check.interval, check.timeout);
    (check, Beat { interval, timeout, fast_interval: FAST.min(interval), ..Beat::default() })
}
