//! After a failover the old primary is started again by hand, as a second primary that accepts writes; then routers are
//! started that at first see nobody but it. Kind: driver.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::facts::{Facts, ORDER};
use super::scene::{Blow, Scene, router_options, tell_failures};
use super::{Cast, PG, Run, Script};
use crate::error::{Context, Result};
use crate::load::tally::Tally;
use crate::load::{self, Load, LoadOptions};
use crate::pg::{Account, Cluster, ClusterOptions};
use crate::progress::say;
use crate::report::Figures;
use crate::router::{self, Router};

pub(super) const SCRIPT: Script = Script {
    name: "pg-old-primary-returns",
    cast: &Cast { subjects: &[router::PG, "haproxy"], ..PG },
    order: &ORDER,
    session_length: Some(100),
    runs: 5,
    play,
    remark: "Crash, promotion, then the old primary is started by hand: a second primary that would take and acknowledge \
             writes. The load goes on for ten seconds; its clients log in anew after every 100 statements. Then two routers are started while the other nodes hang, one \
             with the first router's state and one without any: acked_while_blind counts what was acknowledged through \
             them before the others came back. misrouted_writes counts everything that reached the old primary after \
             its return, acknowledged or not, through any of the three routers. HAProxy shows what a role check alone does.",
};

const OLD: usize = 1;
const SURVIVORS: [usize; 2] = [2, 3];
const BLIND_CLIENTS: usize = 8;
const RESUME_TIMEOUT: Duration = Duration::from_secs(15);
/// The ids of the loads lie this far apart.
const ID_RANGE: i64 = 1_000_000_000;

/// What a router did that at first saw nobody but the old primary.
struct Blind {
    tally: Tally,
    acked_while_blind: u64,
    resumed: bool,
}

fn play(run: &Run) -> Result<Figures> {
    let mut scene = Scene::set(run, ClusterOptions::default())?;
    let blow = Blow { struck: Instant::now(), victim: OLD };
    scene.cluster.node(OLD).kill_9()?;
    let aftermath = scene.watch(blow)?;
    scene.go_on(2);
    let returned = return_by_hand(&scene.cluster)?;
    scene.go_on(if run.quick { 10 } else { 12 });
    let mut facts = scene.facts(blow, aftermath)?;
    drop(scene.subject.take());
    let state = scene.folder.as_path();
    let blind = match run.subject {
        router::PG => vec![blind(&scene.cluster, run, Some(state), 1)?, blind(&scene.cluster, run, None, 2)?],
        _ => Vec::new(), // a peer has no state to restart with
    };
    facts.present = load::ids_on(scene.cluster.primary()?)?;
    let on_old = load::ids_on(scene.cluster.node(OLD))?;
    scene.close()?;
    Ok(figures(&facts, &blind, returned, &on_old))
}

/// Starts the old primary without the setting that would keep it from acknowledging anything: the worst case.
fn return_by_hand(cluster: &Cluster) -> Result<Instant> {
    let settings = cluster.node(OLD).data().join("postgresql.auto.conf");
    let mut file = OpenOptions::new().append(true).open(&settings).context(settings.display())?;
    writeln!(file, "synchronous_standby_names = ''")?;
    let returned = Instant::now();
    cluster.node(OLD).start()?;
    say("the old primary is back, as a second primary");
    Ok(returned)
}

/// A router that is started while all nodes but the old primary hang, and clients that try to write through it. It may
/// well not call itself ready before the others are back, so nobody waits for that.
fn blind(cluster: &Cluster, run: &Run, state: Option<&Path>, number: i64) -> Result<Blind> {
    let who = if state.is_some() { "a restarted router" } else { "a new router" };
    say(format_args!("{who} sees only the old primary"));
    let hang = Hang::of(cluster)?;
    let router = Router::launch(cluster, &router_options(&run.router, state))?;
    let conninfo = router.conninfo(Account::BENCH);
    let options =
        LoadOptions { clients: BLIND_CLIENTS, first_id: number * ID_RANGE, ..LoadOptions::new(conninfo) };
    let load = Load::start_unanswered(options)?;
    std::thread::sleep(Duration::from_secs(if run.quick { 3 } else { 6 }));
    let acked_while_blind = load.acked_writes();
    let healed = Instant::now();
    drop(hang);
    let resumed = load.acked_after(healed, RESUME_TIMEOUT);
    let tally = load.stop()?;
    tell_failures(&tally);
    Ok(Blind { tally, acked_while_blind, resumed })
}

/// The survivors hang until this is dropped. Their repmgrds are stopped for good: what they would make of it is another
/// drill.
struct Hang<'a>(&'a Cluster);

impl<'a> Hang<'a> {
    fn of(cluster: &'a Cluster) -> Result<Self> {
        for id in SURVIVORS {
            cluster.repmgrd(id).stop()?;
        }
        let hang = Self(cluster);
        SURVIVORS.into_iter().try_for_each(|id| cluster.node(id).sigstop())?;
        Ok(hang)
    }
}

impl Drop for Hang<'_> {
    fn drop(&mut self) {
        for id in SURVIVORS {
            if let Err(e) = self.0.node(id).cont() {
                say(format_args!("node {id} goes on hanging: {e}"));
            }
        }
    }
}

fn figures(facts: &Facts, blind: &[Blind], returned: Instant, on_old: &HashSet<i64>) -> Figures {
    let tallies: Vec<&Tally> = std::iter::once(&facts.tally).chain(blind.iter().map(|b| &b.tally)).collect();
    let sum =
        |count: &dyn Fn(&Tally) -> usize| tallies.iter().map(|tally| count(tally)).sum::<usize>() as f64;
    let acked_on_old = sum(&|tally| facts.misrouted(tally));
    let strays: HashSet<i64> = on_old.difference(&facts.present).copied().collect();
    let reached_old = sum(&|tally| tally.sent_after(returned, &strays));
    let mut figures = facts.figures();
    figures.insert("lost_acked_writes".into(), sum(&|tally| tally.lost(&facts.present)));
    figures.insert("misrouted_writes".into(), acked_on_old.max(reached_old));
    figures.insert("acked_while_blind".into(), blind.iter().map(|b| b.acked_while_blind).sum::<u64>() as f64);
    figures.insert("blind_routers_resumed".into(), blind.iter().filter(|b| b.resumed).count() as f64);
    figures
}
