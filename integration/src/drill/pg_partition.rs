//! Two cuts in a network of namespaces, under load: first the router loses sight of a primary that lives on, then the
//! primary loses its standbys while the router still sees them all. Kind: driver.

use std::collections::HashSet;

use super::cuts::{RouterCut, cut_off_the_primary, heal_all, network};
use super::facts::{Facts, ORDER};
use super::scene::{Aftermath, Scene};
use super::{Cast, PG, Run, Script};
use crate::debian;
use crate::error::Result;
use crate::load;
use crate::pg::ClusterOptions;
use crate::report::Figures;
use crate::router;

pub(super) const SCRIPT: Script = Script {
    name: "pg-partition",
    cast: &Cast { subjects: &[router::PG], packages: &[debian::PG], ..PG },
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

fn play(run: &Run) -> Result<Figures> {
    let mut scene = Scene::set(run, ClusterOptions { namespaces: true, ..ClusterOptions::default() })?;
    let first = RouterCut::make(&scene, network(scene.cluster.net())?, 8)?;
    scene.go_on(4);
    let blow = cut_off_the_primary(network(scene.cluster.net())?)?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(4);
    let facts = scene.facts(blow, aftermath)?;
    heal_all(network(scene.cluster.net())?)?;
    let on_old = load::ids_on(scene.cluster.node(blow.victim))?;
    scene.close()?;
    Ok(figures(&facts, &first, aftermath, &on_old))
}

fn figures(facts: &Facts, first: &RouterCut, aftermath: Aftermath, on_old: &HashSet<i64>) -> Figures {
    let strays: HashSet<i64> = on_old.difference(&facts.present).copied().collect();
    let mut figures = facts.figures();
    first.tell(&facts.tally, &mut figures);
    figures.insert("unacked_on_old".into(), facts.tally.sent_after(aftermath.promoted, &strays) as f64);
    figures
}
