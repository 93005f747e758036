//! Ten thousand Celery tasks across three failovers: two planned ones and, between them, a crash. Kind: driver.

use std::time::{Duration, Instant, SystemTime};

use super::redis_scene::{add, fail_over, subject};
use super::{REDIS, Run, Script};
use crate::companions::{Celery, Tasks};
use crate::error::{Error, Result};
use crate::progress::say;
use crate::redis::{Cluster, ClusterOptions};
use crate::report::Figures;
use crate::router;

pub(super) const SCRIPT: Script = Script {
    name: "redis-celery",
    cast: &REDIS,
    order: &ORDER,
    session_length: None,
    runs: 5,
    play,
    remark: "A Celery worker and a producer, both as they come, through a switchover, a crash and another switchover. A \
             task is lost if the producer was told that it was sent and it was never done. A producer that is told \
             nothing sends again by itself, so that a task may be done twice. A crash may take along what was on its way \
             (replication is asynchronous, and a pop whose answer died with the master is done): celery_lost_in_peace \
             counts what was lost although the worker was beyond it before a crash, or was sent after one. \
             celery_gave_up: the worker heard that nobody knows whether its own write has run, and left its connection, \
             which stood.",
};

const ORDER: [&str; 10] = [
    "celery_tasks",
    "celery_lost",
    "celery_lost_in_peace",
    "celery_twice",
    "celery_errors",
    "celery_reconnects",
    "celery_gave_up",
    "celery_dead",
    "slowest_send_ms",
    "seconds",
];

/// How many tasks, and how many of them a second: the failovers take a minute in all.
const TASKS: (u64, u32) = (10_000, 160);
const QUICK_TASKS: (u64, u32) = (3_000, 60);
/// The failovers, and whether each is a crash.
const FAILOVERS: [bool; 3] = [false, true, false];
/// How far from a crash what was on its way may have been seen: replication and the clients' own clocks are that late.
const SLACK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(300);

fn play(run: &Run) -> Result<Figures> {
    let cluster = Cluster::start(&ClusterOptions::default())?;
    let subject = subject(run, &cluster, &cluster.dir().join(router::REDIS))?;
    let (count, rate) = if run.quick { QUICK_TASKS } else { TASKS };
    let mut celery = Celery::start(cluster.dir(), subject.addr(), count, rate)?;
    let (begun, mut crashes) = (Instant::now(), Vec::new());
    for (number, crash) in FAILOVERS.into_iter().enumerate() {
        wait_for_tasks(&celery, 1 + number * (count as usize) / 4)?;
        let struck = fail_over(run, &cluster, subject.admin(), crash)?;
        crashes.extend(crash.then_some(struck));
    }
    while celery.producing() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    let tasks = celery.finish()?;
    tasks.errors.iter().take(5).for_each(|text| say(format_args!("  {text}")));
    tasks.losses.iter().take(5).for_each(|text| say(format_args!("  the worker: {}", ends(text))));
    let mut figures = Figures::new();
    add(&mut figures, "celery_tasks", tasks.sent);
    add(&mut figures, "celery_lost", tasks.lost.len());
    add(&mut figures, "celery_lost_in_peace", lost_in_peace(&tasks, &crashes));
    add(&mut figures, "celery_twice", tasks.twice);
    add(&mut figures, "celery_errors", tasks.errors.len());
    add(&mut figures, "celery_reconnects", tasks.cut_off);
    add(&mut figures, "celery_gave_up", tasks.gave_up);
    add(&mut figures, "celery_dead", usize::from(!tasks.alive));
    add(&mut figures, "slowest_send_ms", tasks.slowest_ms as usize);
    add(&mut figures, "seconds", begun.elapsed().as_secs() as usize);
    drop(subject);
    cluster.stop()?;
    Ok(figures)
}

/// Tasks that were lost though no master crashed while they were on their way, and a word about every one that was lost.
fn lost_in_peace(tasks: &Tasks, crashes: &[SystemTime]) -> usize {
    let mut in_peace = 0;
    for task in &tasks.lost {
        let nearest = crashes
            .iter()
            .min_by(|a, b| seconds(**a, task.sent).abs().total_cmp(&seconds(**b, task.sent).abs()));
        let after = |at| nearest.map_or(f64::INFINITY, |crash| seconds(*crash, at));
        let (sent, passed) = (after(task.sent), task.passed.map_or(f64::INFINITY, after));
        say(format_args!(
            "  lost: task {}, sent {sent:+.3} s after a crash, the worker was beyond it {passed:+.3} s after it",
            task.number
        ));
        in_peace += usize::from(sent > SLACK.as_secs_f64() || passed < -SLACK.as_secs_f64());
    }
    in_peace
}

/// The first line of an entry of a log and the last, which names the exception.
fn ends(entry: &str) -> String {
    let mut lines = entry.trim_end().lines();
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first} … {last}"))
}

fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).map_or_else(|e| -e.duration().as_secs_f64(), |ahead| ahead.as_secs_f64())
}

/// A worker that died in an earlier failover must not keep the others from happening.
fn wait_for_tasks(celery: &Celery, count: usize) -> Result<()> {
    let (begun, mut seen, mut moved) = (Instant::now(), 0, Instant::now());
    while celery.done() < count && moved.elapsed() < Duration::from_secs(20) {
        if begun.elapsed() > PATIENCE {
            return Err(Error::new(format!("{count} tasks were not done within {PATIENCE:?}")));
        }
        if celery.done() > seen {
            (seen, moved) = (celery.done(), Instant::now());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
