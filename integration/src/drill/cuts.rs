//! The two cuts of a network of namespaces that PostgreSQL and Redis are both put through: the router loses sight of a
//! primary that lives on, and a primary loses its followers. Kind: driver.

use std::time::{Duration, Instant};

use super::facts::millis;
use super::scene::{Blow, Scene};
use crate::error::{Error, Result};
use crate::load::tally::Tally;
use crate::netns::{Net, Place};
use crate::progress::say;
use crate::report::Figures;

const RESUME_TIMEOUT: Duration = Duration::from_secs(30);

/// What was on its way when a cut was made is not the cut's.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The primary, and those who follow it.
const FIRST: usize = 1;
const FOLLOWERS: [usize; 2] = [2, 3];

/// The network of a cluster that was started with one.
pub(super) fn network(net: Option<&Net>) -> Result<&Net> {
    net.ok_or_else(|| Error::new("the cluster has no namespaces"))
}

/// What became of the clients while the router did not see the living primary.
pub(super) struct RouterCut {
    healed: Instant,
    resumed: bool,
    acked_meanwhile: u64,
}

impl RouterCut {
    /// Cuts, for so long, and heals.
    pub(super) fn make<C>(scene: &Scene<C>, net: &Net, seconds: u64) -> Result<Self> {
        say("cut: router from the living primary");
        net.cut(Place::Host, Place::Node(FIRST))?;
        std::thread::sleep(ON_ITS_WAY);
        let before = scene.load()?.acked_writes();
        scene.go_on(seconds);
        let acked_meanwhile = scene.load()?.acked_writes() - before;
        net.heal(Place::Host, Place::Node(FIRST))?;
        let healed = Instant::now();
        say("healed");
        let resumed = scene.load()?.acked_after(healed, RESUME_TIMEOUT);
        Ok(Self { healed, resumed, acked_meanwhile })
    }

    pub(super) fn tell(&self, tally: &Tally, figures: &mut Figures) {
        let resumed = tally.first_ack_after(self.healed).filter(|_| self.resumed);
        let resume = resumed.map_or(RESUME_TIMEOUT.as_secs_f64() * 1e3, |at| millis(self.healed, at));
        figures.insert("router_cut_resume_ms".into(), resume.round());
        figures.insert("acked_during_router_cut".into(), self.acked_meanwhile as f64);
    }
}

/// Cuts the primary off from those that follow it.
pub(super) fn cut_off_the_primary(net: &Net) -> Result<Blow> {
    say("cut: primary from its followers");
    let struck = Instant::now();
    FOLLOWERS.into_iter().try_for_each(|id| net.cut(Place::Node(FIRST), Place::Node(id)))?;
    Ok(Blow { struck, victim: FIRST })
}

/// Mends [`cut_off_the_primary`].
pub(super) fn heal_all(net: &Net) -> Result<()> {
    FOLLOWERS.into_iter().try_for_each(|id| net.heal(Place::Node(FIRST), Place::Node(id)))
}
