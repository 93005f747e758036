//! Two cuts in a network of namespaces, under load: first the router loses sight of a primary that lives on, then the
//! primary loses its standbys while the router still sees them all. Kind: driver.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::facts::{Facts, ORDER, millis};
use super::scene::{Aftermath, Blow, Scene};
use super::{NO_PEERS, Run, Script};
use crate::debian;
use crate::error::{Error, Result};
use crate::load;
use crate::netns::{Net, Place};
use crate::pg::ClusterOptions;
use crate::progress::say;
use crate::report::Figures;
use crate::router;

pub(super) const SCRIPT: Script = Script {
    name: "pg-partition",
    router: router::PG,
    subjects: &[router::PG],
    packages: &[debian::PG, NO_PEERS],
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "First cut: router from the living primary, for a while. Nobody is promoted, so nothing may be written \
             anywhere; the clients wait, and router_cut_resume_ms is the time from the healing to the first acknowledged \
             write. Second cut: primary from its standbys. It can acknowledge nothing (synchronous_standby_names), repmgrd \
             promotes a standby, and all other figures but blackout_ms, which is the longer one of both cuts, tell of \
             this one. unacked_on_old counts writes without an acknowledgement that the old primary nevertheless holds.",
};

const RESUME_TIMEOUT: Duration = Duration::from_secs(30);

/// What the first cut showed.
struct FirstCut {
    healed: Instant,
    resumed: bool,
    acked_meanwhile: u64,
}

fn play(run: &Run) -> Result<Figures> {
    let mut scene = Scene::set(run, ClusterOptions { namespaces: true, ..ClusterOptions::default() })?;
    let first = cut_off_the_router(&scene)?;
    scene.go_on(4);
    let blow = cut_off_the_primary(&scene)?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(4);
    let facts = scene.facts(blow, aftermath)?;
    heal_all(&scene)?;
    let on_old = load::ids_on(scene.cluster.node(blow.victim))?;
    scene.close()?;
    Ok(figures(&facts, &first, aftermath, &on_old))
}

fn cut_off_the_router(scene: &Scene) -> Result<FirstCut> {
    say("cut: router from the living primary");
    net(scene)?.cut(Place::Host, Place::Node(1))?;
    // What was on its way when the cut was made is not the cut's.
    std::thread::sleep(Duration::from_millis(100));
    let before = scene.load()?.acked_writes();
    scene.go_on(8);
    let acked_meanwhile = scene.load()?.acked_writes() - before;
    net(scene)?.heal(Place::Host, Place::Node(1))?;
    let healed = Instant::now();
    say("healed");
    let resumed = scene.load()?.acked_after(healed, RESUME_TIMEOUT);
    Ok(FirstCut { healed, resumed, acked_meanwhile })
}

fn cut_off_the_primary(scene: &Scene) -> Result<Blow> {
    say("cut: primary from its standbys");
    let struck = Instant::now();
    for standby in [2, 3] {
        net(scene)?.cut(Place::Node(1), Place::Node(standby))?;
    }
    Ok(Blow { struck, victim: 1 })
}

fn heal_all(scene: &Scene) -> Result<()> {
    [2, 3].into_iter().try_for_each(|standby| net(scene)?.heal(Place::Node(1), Place::Node(standby)))
}

fn net(scene: &Scene) -> Result<&Net> {
    scene.cluster.net().ok_or_else(|| Error::new("the cluster has no namespaces"))
}

fn figures(facts: &Facts, first: &FirstCut, aftermath: Aftermath, on_old: &HashSet<i64>) -> Figures {
    let strays: HashSet<i64> = on_old.difference(&facts.present).copied().collect();
    let resumed = facts.tally.first_ack_after(first.healed).filter(|_| first.resumed);
    let resume = resumed.map_or(RESUME_TIMEOUT.as_secs_f64() * 1e3, |at| millis(first.healed, at));
    let mut figures = facts.figures();
    figures.insert("router_cut_resume_ms".into(), resume.round());
    figures.insert("acked_during_router_cut".into(), first.acked_meanwhile as f64);
    figures.insert("unacked_on_old".into(), facts.tally.sent_after(aftermath.promoted, &strays) as f64);
    figures
}
