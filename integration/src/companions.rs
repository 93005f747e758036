//! Real applications beside the load: a Celery worker with a producer of tasks, and a Django cache. Kind: driver.

use crate::{
    Context, Error, Result,
    process::Process,
    python,
    redis::{Account, UNKNOWN_OUTCOME},
    wait::{eventually, tail},
};
use rustix::process::Signal;
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Celery imports half of the world, on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// A stopped client ends after its last command, which a failover may hold up.
const END: Duration = Duration::from_secs(90);
/// A worker that does nothing for so long has nothing to do, or is a zombie.
const IDLE: Duration = Duration::from_secs(15);

/// Celery says so when its worker has lost the broker.
const RECONNECTS: [&str; 2] = ["Connection to broker lost", "Cannot connect to"];

/// A worker and a cache beside the load of a drill, at the pace of a quiet shop.
pub struct Companions {
    celery: Celery,
    django: Django,
}

/// What they remember.
pub type Memories = (Tasks, Pages);

impl Companions {
    /// Starts both.
    pub fn start(dir: &Path, addr: SocketAddr) -> Result<Self> {
        Ok(Self { celery: Celery::start(dir, addr, 1_000_000, 20)?, django: Django::start(dir, addr)? })
    }

    /// Ends both.
    pub fn finish(self) -> Result<Memories> {
        Ok((self.celery.finish()?, self.django.finish()?))
    }
}

/// A worker, and a producer that gives it tasks.
pub struct Celery {
    worker: Process,
    producer: Process,
    dir: PathBuf,
}

/// What the producer and the worker remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tasks {
    /// Tasks that Celery said were sent.
    pub sent: usize,
    /// Of those, the ones that were never done.
    pub lost: Vec<LostTask>,
    /// Tasks that were done more than once.
    pub twice: usize,
    /// Errors of the producer.
    pub errors: Vec<String>,
    /// How often the worker lost its broker, or found none.
    pub cut_off: usize,
    /// How often it took for a loss the answer that nobody knows whether its write has run: it then leaves its connection.
    pub gave_up: usize,
    /// What the worker's log says of each time that it left its broker or found none.
    pub losses: Vec<String>,
    /// Whether the worker still worked at the end.
    pub alive: bool,
    /// The slowest sending.
    pub slowest_ms: f64,
}

/// A task that was sent and never done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostTask {
    /// Its number: they are sent in their order.
    pub number: u64,
    /// When it was sent.
    pub sent: SystemTime,
    /// When the worker was first beyond it: a task that was sent later was done. It takes them in the order of the queue.
    pub passed: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Sent {
    /// The number of each, and when it was sent in seconds since 1970.
    sent: Vec<(u64, f64)>,
    errors: Vec<String>,
    slowest_ms: f64,
}

impl Celery {
    /// Starts both and waits until the worker is ready; the producer sends at most `count` tasks, `rate` a second.
    pub fn start(dir: &Path, addr: SocketAddr, count: u64, rate: u32) -> Result<Self> {
        let dir = dir.join("celery");
        fs::create_dir_all(&dir).context(dir.display())?;
        let python = python::python()?
            .env("STACK_REDIS", url(addr))
            .env("STACK_DONE", dir.join("done").to_string_lossy())
            .env("C_FORCE_ROOT", "1");
        let worker =
            ["-m", "celery", "-A", "redis_tasks", "worker", "--concurrency", "1", "--loglevel", "INFO"];
        let mut worker = Process::spawn(&python.clone().args(worker).log(dir.join("worker.log")))?;
        says(&mut worker, &dir.join("worker.log"), " ready.")?;
        let result = dir.join("sent").to_string_lossy().into_owned();
        let producer = script("redis_producer", &[&count.to_string(), &rate.to_string(), &result]);
        let mut producer = Process::spawn(&python.args(producer).log(dir.join("producer.log")))?;
        says(&mut producer, &dir.join("producer.log"), "ready")?;
        Ok(Self { worker, producer, dir })
    }

    /// How many tasks were done so far.
    pub fn done(&self) -> usize {
        fs::read_to_string(self.dir.join("done")).unwrap_or_default().lines().count()
    }

    /// Is the producer still sending?
    pub fn producing(&mut self) -> bool {
        self.producer.alive()
    }

    /// Ends the producer, lets the worker do the rest, and counts.
    pub fn finish(mut self) -> Result<Tasks> {
        let sent: Sent = ask(&mut self.producer, &self.dir.join("sent"), &self.dir.join("producer.log"))?;
        let alive = self.work_off(&sent) && self.worker.alive();
        self.worker.stop(IDLE)?;
        let notes = notes(&self.dir.join("done"));
        let log = fs::read_to_string(self.dir.join("worker.log")).unwrap_or_default();
        let losses = losses(&log);
        let gave_up = losses.iter().filter(|entry| entry.trim_end().ends_with(UNKNOWN_OUTCOME)).count();
        Ok(Tasks {
            lost: lost(&sent.sent, &notes),
            twice: notes.values().filter(|times| times.len() > 1).count(),
            cut_off: losses.len() - gave_up,
            gave_up,
            losses: losses.into_iter().map(str::to_owned).collect(),
            sent: sent.sent.len(),
            errors: sent.errors,
            slowest_ms: sent.slowest_ms,
            alive,
        })
    }

    /// Waits until all is done or nothing happens any more; whether anything was done at the end.
    fn work_off(&self, sent: &Sent) -> bool {
        let (mut seen, mut moved) = (self.done(), Instant::now());
        while seen < sent.sent.len() && moved.elapsed() < IDLE {
            std::thread::sleep(Duration::from_millis(50));
            if self.done() > seen {
                (seen, moved) = (self.done(), Instant::now());
            }
        }
        sent.sent.last().is_none_or(|(last, _)| seen >= sent.sent.len() || self.did(*last))
    }

    fn did(&self, number: u64) -> bool {
        notes(&self.dir.join("done")).contains_key(&number)
    }
}

/// The entries of a worker's log that tell of a lost broker, each with the traceback that says why.
fn losses(log: &str) -> Vec<&str> {
    log.split("\n[").filter(|entry| RECONNECTS.iter().any(|word| entry.contains(word))).collect()
}

/// A Django cache in use.
pub struct Django {
    process: Process,
    dir: PathBuf,
}

/// What it remembers.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Pages {
    /// How often it went through its commands.
    pub turns: u64,
    /// The exceptions that a shop would have shown as an error page.
    pub errors: Vec<String>,
    /// Answers that were not what was written.
    pub wrong: Vec<String>,
    /// The slowest turn.
    pub slowest_ms: f64,
}

impl Django {
    /// Starts it.
    pub fn start(dir: &Path, addr: SocketAddr) -> Result<Self> {
        let dir = dir.join("django");
        fs::create_dir_all(&dir).context(dir.display())?;
        let (url, result) = (format!("{}/3", url(addr)), dir.join("result").to_string_lossy().into_owned());
        let log = dir.join("log");
        let mut process =
            Process::spawn(&python::python()?.args(script("redis_django", &[&url, &result])).log(&log))?;
        says(&mut process, &log, "ready")?;
        Ok(Self { process, dir })
    }

    /// Ends it and gives what it remembers.
    pub fn finish(mut self) -> Result<Pages> {
        ask(&mut self.process, &self.dir.join("result"), &self.dir.join("log"))
    }
}

/// Without a database.
fn url(addr: SocketAddr) -> String {
    Account::APP.url(addr, 0).trim_end_matches("/0").into()
}

fn script(name: &str, args: &[&str]) -> Vec<String> {
    ["-m", name].iter().chain(args).map(ToString::to_string).collect()
}

/// Waits for a word of a client that lives.
fn says(process: &mut Process, log: &Path, word: &str) -> Result<()> {
    let what = format!("{word:?} in {}", log.display());
    eventually(READY, &what, || {
        let text = fs::read_to_string(log).unwrap_or_default();
        match text.contains(word) || !process.alive() {
            true => Ok(text.contains(word)),
            false => Err(tail(log)),
        }
    })
    .and_then(|said| {
        if said { Ok(()) } else { Err(Error::new(format!("it ended without {what}\n{}", tail(log)))) }
    })
}

/// SIGTERM makes a client write down what it remembers.
fn ask<T: DeserializeOwned>(process: &mut Process, result: &Path, log: &Path) -> Result<T> {
    process.signal(Signal::TERM)?;
    if process.wait(END)?.is_none() {
        return Err(Error::new(format!("no end after {} s\n{}", END.as_secs(), tail(log))));
    }
    let text = fs::read_to_string(result).map_err(|e| Error::new(format!("{e}\n{}", tail(log))))?;
    serde_json::from_str(&text).map_err(|e| Error::new(format!("{}: {e}", result.display())))
}

/// When each number was noted, in seconds since 1970.
type Notes = BTreeMap<u64, Vec<f64>>;

/// A last line without its end is not read yet.
fn notes(file: &Path) -> Notes {
    let mut notes = Notes::new();
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        if let Some((number, at)) = line.split_once(' ')
            && let (Ok(number), Ok(at)) = (number.parse(), at.parse())
        {
            notes.entry(number).or_default().push(at);
        }
    }
    notes
}

/// What was sent (each number with its time) and is not among the notes.
fn lost(sent: &[(u64, f64)], notes: &Notes) -> Vec<LostTask> {
    let lost = sent.iter().filter(|(number, _)| !notes.contains_key(number));
    lost.map(|&(number, at)| LostTask { number, sent: moment(at), passed: passed(number, notes) }).collect()
}

fn passed(number: u64, notes: &Notes) -> Option<SystemTime> {
    let later = notes.range(number + 1..).flat_map(|(_, times)| times);
    later.copied().min_by(f64::total_cmp).map(moment)
}

fn moment(at: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_task_is_passed_when_the_first_later_one_is_done() {
        let sent = [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)];
        let notes = Notes::from([(0, vec![1.5]), (2, vec![9.0, 3.5])]);
        let expected = [
            LostTask { number: 1, sent: moment(2.0), passed: Some(moment(3.5)) },
            LostTask { number: 3, sent: moment(4.0), passed: None },
        ];
        assert_eq!(lost(&sent, &notes), expected);
    }

    #[test]
    fn a_worker_that_gives_up_is_told_from_one_that_was_cut_off() {
        let log = "[1: INFO] ready\n[2: WARNING] consumer: Connection to broker lost.\nTraceback:\n  File\n\
                   BusyLoadingError: it may have run, or not\n[3: ERROR] consumer: Cannot connect to redis\n\
                   [4: ERROR] ack: it may have run, or not";
        let losses = losses(log);
        assert_eq!(losses.len(), 2);
        assert!(losses[0].contains(UNKNOWN_OUTCOME) && !losses[1].contains(UNKNOWN_OUTCOME));
    }

    #[test]
    fn a_url_gets_its_database_later() {
        assert_eq!(url(([127, 0, 0, 1], 10).into()), "redis://app:apppw@127.0.0.1:10");
    }
}
