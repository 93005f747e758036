//! The stage of a Redis drill: a fresh cluster under Sentinel, a subject before it, and clients of all kinds on the
//! subject. Kind: driver.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use super::Run;
use super::facts::{FAILED_COMMANDS, Facts, Trail};
use super::scene::{Aftermath, Blow, Counters, Scene};
use crate::direct::Watcher;
use crate::error::Result;
use crate::load::Load;
use crate::load::redis::{RedisLoad, ids_on};
use crate::peers::{HaproxyRedis, Subject};
use crate::redis::{Cluster, ClusterOptions, Role};
use crate::report::Figures;
use crate::router::{self, RedisRouterOptions, Router};

/// The figures that every drill of Redis reports, in the order in which they are read.
pub(super) const ORDER: [&str; 13] = [
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
    "held",
    "replayed",
];

const COUNTERS: Counters =
    Counters { held: "redis_router_held_total", replayed: "redis_router_replayed_total" };

/// Sentinel lets a second master be for 8 s (four hellos) before it demotes it, and demotion erases what it took.
const DEMOTION: Duration = Duration::from_secs(10);
/// A drill looks at the old master's keys this often.
const LOOK: Duration = Duration::from_secs(1);

/// A scene, and what was seen on the old master.
pub(super) struct RedisScene {
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
        let subject: Box<dyn Subject> = match run.subject {
            router::REDIS => {
                let options =
                    RedisRouterOptions { dir: Some(folder.clone()), ..RedisRouterOptions::new(&run.router) };
                Box::new(Router::start(&cluster, &options)?)
            }
            _ => Box::new(HaproxyRedis::following(&cluster)?),
        };
        let watcher = Watcher::start(&cluster)?;
        let load =
            Load::start(RedisLoad { session_length: run.session_length, ..RedisLoad::new(subject.addr()) })?;
        let (load, subject, quick) = (Some(load), Some(subject), run.quick);
        let scene = Scene { load, subject, watcher, cluster, folder, counters: COUNTERS, quick };
        scene.go_on(2);
        Ok(Self { scene, elsewhere: HashSet::new() })
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

    /// Ends the load and gathers what was seen.
    pub(super) fn figures(&mut self, blow: Blow, aftermath: Aftermath) -> Result<Figures> {
        Ok(figures(&self.facts(blow, aftermath)?))
    }

    /// The same before it is made into figures.
    pub(super) fn facts(&mut self, blow: Blow, aftermath: Aftermath) -> Result<Facts> {
        let seen = self.scene.end()?;
        let present = ids_on(self.scene.cluster.master()?)?;
        let trail = Trail::Elsewhere(std::mem::take(&mut self.elsewhere));
        Ok(seen.facts(blow, aftermath, present, trail, FAILED_COMMANDS))
    }

    /// Stops clients, subject and servers, in this order.
    pub(super) fn close(self) -> Result<()> {
        let Scene { load, subject, watcher, cluster, .. } = self.scene;
        drop((load, subject, watcher));
        cluster.stop()
    }
}

/// What every drill reports, and what only Redis has.
pub(super) fn figures(facts: &Facts) -> Figures {
    let mut figures = facts.figures();
    figures.insert("wrong_answers".into(), facts.tally.wrong_answers().count() as f64);
    figures.insert("missed_messages".into(), facts.tally.missed_messages() as f64);
    figures
}
