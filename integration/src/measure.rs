//! What a set of processes costs: CPU time and resident memory of process trees, read from `/proc`.
//!
//! A set is named by its roots (a router, a postmaster); everything they started belongs to it. CPU time is user plus
//! system time of the living and, through their parents' `cutime` and `cstime`, of those that have ended and been
//! waited for, so that a server which forks a process per connection is billed for the connections that have gone.
//! The living are read from their CPU clocks in nanoseconds: `/proc/PID/stat` knows ticks of 10 ms only, and of 256
//! backends that did 3 ms each it would report nothing or three times as much.
//! Kind: driver.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// Processes that are measured together: the roots and all their descendants.
#[derive(Clone, Debug, Default)]
pub struct ProcessSet {
    roots: Vec<u32>,
}

/// One look at a process set: the CPU time that it has used since its roots were started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime(Duration);

impl ProcessSet {
    /// The set made of these processes and all that they started.
    pub fn of(roots: impl IntoIterator<Item = u32>) -> Self {
        Self { roots: roots.into_iter().collect() }
    }

    /// The processes of both sets.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self::of(self.roots.iter().chain(&other.roots).copied())
    }

    /// User and system time used so far.
    pub fn cpu_time(&self) -> CpuTime {
        let tick = Duration::from_secs(1) / (rustix::param::clock_ticks_per_second() as u32).max(1);
        CpuTime(self.members().iter().map(|stat| clock(stat.pid) + tick * stat.ended_ticks).sum())
    }

    /// Resident memory in KiB. Of a single process it is its RSS; of several it is the sum of their PSS, which counts
    /// a page that they share once, where a sum of RSS would count shared memory as often as there are processes.
    pub fn resident_kib(&self) -> u64 {
        let members = self.members();
        let field = if members.len() == 1 { "Rss:" } else { "Pss:" };
        members.iter().filter_map(|stat| rollup(stat.pid, field)).sum()
    }

    /// How many processes live in the set now.
    pub fn len(&self) -> usize {
        self.members().len()
    }

    /// Whether nothing of the set lives any more.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn members(&self) -> Vec<Stat> {
        let mut by_parent: HashMap<u32, Vec<Stat>> = HashMap::new();
        let mut found = Vec::new();
        for stat in every_process() {
            if self.roots.contains(&stat.pid) {
                found.push(stat)
            } else {
                by_parent.entry(stat.parent).or_default().push(stat)
            }
        }
        let mut next = 0;
        while let Some(stat) = found.get(next) {
            found.extend(by_parent.remove(&stat.pid).unwrap_or_default());
            next += 1;
        }
        found
    }
}

impl CpuTime {
    /// The time spent between an earlier look and this one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The fields of `/proc/PID/stat` that matter here, see proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// cutime + cstime: what its children used that have ended and been waited for.
    ended_ticks: u32,
}

fn every_process() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| is_pid(&entry.path()))
        .filter_map(|entry| read_stat(&entry.path()))
        .collect()
}

fn is_pid(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
}

fn read_stat(process: &Path) -> Option<Stat> {
    parse_stat(&fs::read_to_string(process.join("stat")).ok()?)
}

/// The second field is the command in parentheses and may hold anything, blanks and parentheses too: what counts
/// starts after the last closing one.
fn parse_stat(line: &str) -> Option<Stat> {
    let pid = line.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some(Stat { pid, parent: number(1)?, ended_ticks: number(13)? + number(14)? })
}

/// The time on a process's CPU clock, see clock_getcpuclockid(3); nothing of one that has gone.
fn clock(pid: u32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()));
    clock.and_then(ClockId::now).map_or(Duration::ZERO, Duration::from)
}

fn rollup(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.split_ascii_whitespace().next()?.parse().ok())
}

/// One line that names the machine a figure comes from.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cpus} x {}, Linux {}", cpu_model(), kernel.trim())
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[track_caller]
    fn check(line: &str, expected: Option<(u32, u32, u32)>) {
        assert_eq!(parse_stat(line).map(|s| (s.pid, s.parent, s.ended_ticks)), expected, "{line}");
    }

    #[test]
    fn a_stat_line_gives_the_parent_and_the_time_of_ended_children() {
        check("12 (cat) R 7 12 12 0 -1 0 1 2 3 4 10 20 30 40 20 0 1", Some((12, 7, 70)));
        check("12 (a b) c) S 7 12 12 0 -1 0 1 2 3 4 1 2 3 4 20 0 1", Some((12, 7, 7)));
        check("12 (cat) R 7", None);
        check("", None);
    }

    #[test]
    fn a_child_that_was_waited_for_is_still_counted() {
        let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("sh -c '{burn}'; echo; read x")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let set = ProcessSet::of([shell.id()]);
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!(set.len(), 1);
        assert!(set.cpu_time().since(CpuTime::default()) > Duration::ZERO);
        assert!(set.resident_kib() > 0);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(set.is_empty());
    }
}
