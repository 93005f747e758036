//! The stage of a Redis drill: a fresh cluster under Sentinel, a subject before it, and clients of all kinds on the
//! subject. Kind: driver.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::Run;
use super::facts::{FAILED_COMMANDS, Facts, Trail, millis};
use super::scene::{Aftermath, Blow, Counters, Scene};
use crate::companions::{Companions, Memories};
use crate::direct::{Change, Seen, Watcher};
use crate::error::Result;
use crate::load::Load;
use crate::load::redis::{RedisLoad, ids_on};
use crate::peers::{HaproxyRedis, Subject};
use crate::process::Spec;
use crate::progress::say;
use crate::redis::{Cluster, ClusterOptions, MASTER, Role, UNKNOWN_OUTCOME};
use crate::report::Figures;
use crate::router::{self, RedisRouterOptions, Router};

/// The figures that every drill of Redis reports, in the order in which they are read.
pub(super) const ORDER: [&str; 17] = [
    FAILED_COMMANDS,
    "unknown_outcome",
    "lost_acked_writes",
    "misrouted_writes",
    "disconnected_clients",
    "wrong_answers",
    "blackout_ms",
    "resume_after_promotion_ms",
    "detect_ms",
    "promote_ms",
    "missed_messages",
    "celery_lost",
    "celery_twice",
    "celery_dead",
    "celery_gave_up",
    "held",
    "replayed",
];

const COUNTERS: Counters =
    Counters { held: "redis_router_held_total", replayed: "redis_router_replayed_total" };

const SWITCHOVER: Duration = Duration::from_secs(60);
const PROMOTION: Duration = Duration::from_secs(30);

/// Sentinel lets a second master be for 8 s (four hellos) before it demotes it, and demotion erases what it took.
const DEMOTION: Duration = Duration::from_secs(10);
/// A drill looks at the old master's keys this often.
const LOOK: Duration = Duration::from_secs(1);

/// A scene with real applications in it, and what was seen on the old master.
pub(super) struct RedisScene {
    companions: Option<Companions>,
    scene: Scene<Cluster>,
    elsewhere: HashSet<i64>,
}

/// It has all of a scene.
impl Deref for RedisScene {
    type Target = Scene<Cluster>;

    fn deref(&self) -> &Scene<Cluster> {
        &self.scene
    }
}

impl DerefMut for RedisScene {
    fn deref_mut(&mut self) -> &mut Scene<Cluster> {
        &mut self.scene
    }
}

impl RedisScene {
    /// A cluster and the load on it, warmed up.
    pub(super) fn set(run: &Run, options: ClusterOptions) -> Result<Self> {
        let cluster = Cluster::start(&options)?;
        let folder = cluster.dir().join(router::REDIS);
        let subject = subject(run, &cluster, &folder)?;
        let companions = Some(Companions::start(cluster.dir(), subject.addr())?);
        let watcher = Watcher::start(&cluster)?;
        let load =
            Load::start(RedisLoad { session_length: run.session_length, ..RedisLoad::new(subject.addr()) })?;
        let (load, subject, quick) = (Some(load), Some(subject), run.quick);
        let scene = Scene { load, subject, watcher, cluster, folder, counters: COUNTERS, quick };
        scene.go_on(2);
        Ok(Self { companions, scene, elsewhere: HashSet::new() })
    }

    /// Lets the load run until Sentinel has demoted the old master, and notes which ids are there until then.
    pub(super) fn watch_old_master(&mut self, id: usize) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < DEMOTION && self.look_at(id)? {}
        Ok(())
    }

    /// Notes which ids are on a server that should get none, if it calls itself master, and lets the load run a while.
    pub(super) fn look_at(&mut self, id: usize) -> Result<bool> {
        let node = self.scene.cluster.node(id);
        let claims = matches!(node.role(), Ok(Role::Master { .. }));
        if claims {
            self.elsewhere.extend(ids_on(node)?);
        }
        std::thread::sleep(LOOK);
        Ok(claims)
    }

    /// Ends the clients and gathers what was seen.
    pub(super) fn figures(&mut self, blow: Blow, aftermath: Aftermath) -> Result<Figures> {
        self.facts(blow, aftermath).map(|(_, figures)| figures)
    }

    /// The same with the facts behind the figures.
    pub(super) fn facts(&mut self, blow: Blow, aftermath: Aftermath) -> Result<(Facts, Figures)> {
        let seen = self.scene.end()?;
        let memories = self.companions.take().map(Companions::finish).transpose()?.unwrap_or_default();
        let master = self.scene.cluster.master()?;
        let present = ids_on(master)?;
        let to_master = |change: &Change| change.node == master.id() && change.seen == Seen::Primary;
        let last = self.scene.watcher.first(aftermath.promoted, to_master);
        let last = last.map_or(aftermath.promoted, |change| change.at);
        let trail = Trail::Elsewhere { ids: std::mem::take(&mut self.elsewhere), last };
        let facts = seen.facts(blow, aftermath, present, trail, FAILED_COMMANDS);
        tell_losses(&facts);
        let mut figures = facts.figures();
        add(&mut figures, "wrong_answers", facts.tally.wrong_answers().count());
        add(&mut figures, "missed_messages", facts.tally.missed_messages() as usize);
        add_memories(&mut figures, &memories);
        Ok((facts, figures))
    }

    /// Stops clients, subject and servers, in this order.
    pub(super) fn close(self) -> Result<()> {
        let Scene { load, subject, watcher, cluster, .. } = self.scene;
        drop((self.companions, load, subject, watcher));
        cluster.stop()
    }
}

/// Our router with a folder of its own, or the peer.
pub(super) fn subject(run: &Run, cluster: &Cluster, folder: &Path) -> Result<Box<dyn Subject>> {
    Ok(match run.subject {
        router::REDIS | UNASKED => {
            let dir = Some(folder.to_path_buf());
            let options = RedisRouterOptions { dir, ..RedisRouterOptions::new(&run.router) };
            Box::new(Router::start(cluster, &options)?)
        }
        _ => Box::new(HaproxyRedis::following(cluster)?),
    })
}

/// Our router when somebody tells Sentinel to fail over, and the router nothing.
pub(super) const UNASKED: &str = "redis-router-unasked";

/// A planned switchover, by our router's own command where there is one, by Sentinel's otherwise.
pub(super) fn switch_over(run: &Run, cluster: &Cluster, admin: Option<SocketAddr>) -> Result<()> {
    let Some(admin) = admin.filter(|_| run.subject == router::REDIS) else {
        return cluster.order_failover();
    };
    let command = ["switchover", MASTER, "--admin", &format!("http://{admin}")];
    Spec::new(run.router.to_string_lossy()).args(command).output(SWITCHOVER).map(drop)
}

/// One of many failovers: planned, or a crash after which the dead master is started again. Returns when another server
/// is master and everybody follows it; says when the old one was struck.
pub(super) fn fail_over(
    run: &Run,
    cluster: &Cluster,
    admin: Option<SocketAddr>,
    crash: bool,
) -> Result<SystemTime> {
    let old = cluster.settled()?;
    let struck = SystemTime::now();
    if crash {
        old.kill_9()?;
    } else {
        switch_over(run, cluster, admin)?;
    }
    let (new, _) = cluster.promoted(old.id(), PROMOTION)?;
    say(format_args!("{}: {} after {}", if crash { "crash" } else { "switchover" }, new.name(), old.name()));
    if crash {
        old.start()?;
    }
    cluster.settled().map(|_| struck)
}

/// Says when writes were sent and acknowledged that are gone: before the promotion, replication alone explains it.
fn tell_losses(facts: &Facts) {
    let after = |at: Instant| millis(facts.promoted, at) - millis(at, facts.promoted);
    let mut lost: Vec<_> = facts.tally.lost_writes(&facts.present).collect();
    lost.sort_by_key(|write| std::cmp::Reverse(write.sent));
    for write in lost.into_iter().take(8) {
        let (id, sent, ended) = (write.id.unwrap_or_default(), after(write.sent), after(write.ended));
        say(format_args!(
            "  lost: {id}, sent {sent:+.1} ms and acknowledged {ended:+.1} ms after the promotion"
        ));
    }
}

/// What the applications noticed counts as what the load's clients noticed.
fn add_memories(figures: &mut Figures, (tasks, pages): &Memories) {
    let errors = || tasks.errors.iter().chain(&pages.errors);
    let unknown = errors().filter(|text| text.contains(UNKNOWN_OUTCOME)).count();
    errors().take(5).for_each(|text| say(format_args!("  an application: {text}")));
    add(figures, FAILED_COMMANDS, errors().count() - unknown);
    add(figures, "unknown_outcome", unknown + tasks.gave_up);
    add(figures, "wrong_answers", pages.wrong.len());
    add(figures, "disconnected_clients", tasks.cut_off.min(1));
    add(figures, "celery_gave_up", tasks.gave_up);
    add(figures, "celery_tasks", tasks.sent);
    add(figures, "celery_lost", tasks.lost.len());
    add(figures, "celery_twice", tasks.twice);
    add(figures, "celery_dead", usize::from(!tasks.alive));
    add(figures, "django_turns", pages.turns as usize);
}

pub(super) fn add(figures: &mut Figures, name: &str, count: usize) {
    *figures.entry(name.into()).or_default() += count as f64;
}
