//! Noticing that the configuration has changed: SIGHUP, or its files on disk. Kind: driver.
//!
//! Files are looked at once a second by inode, time and length, through symbolic links: that works for an
//! editor that renames, and for a mounted ConfigMap, whose links are swapped; inotify sees neither reliably.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::Signal;
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::changed;

/// How often the files are looked at.
pub const POLL: Duration = Duration::from_secs(1);

/// What tells that a file has been changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let data = std::fs::metadata(path).ok()?;
    let modified = (data.mtime(), data.mtime_nsec());
    Some(Fingerprint { device: data.dev(), inode: data.ino(), length: data.len(), modified })
}

/// Notices a value that has changed and then stayed as it is for one more look: who writes a file slowly is
/// not read half way.
#[derive(Debug)]
struct Settled<T> {
    known: T,
    candidate: Option<T>,
}

impl<T: PartialEq> Settled<T> {
    const fn new(known: T) -> Self {
        Self { known, candidate: None }
    }

    /// Looks at the value as it is now; says whether it is settled and new.
    fn look(&mut self, now: T) -> bool {
        if now == self.known {
            self.candidate = None;
            return false;
        }
        let settled = self.candidate.as_ref() == Some(&now);
        if settled {
            self.candidate = None;
            self.known = now;
        } else {
            self.candidate = Some(now);
        }
        settled
    }
}

/// Why the configuration is to be loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked, by SIGHUP.
    Asked,
    /// A file changed.
    FileChanged,
}

/// Watches the files of a configuration, and SIGHUP.
#[derive(Debug)]
pub struct Watcher {
    files: Vec<PathBuf>,
    seen: Settled<Vec<Option<Fingerprint>>>,
    ticks: Interval,
    hangup: Signal,
}

impl Watcher {
    /// Watches these files, from their present state on.
    pub fn new(files: Vec<PathBuf>, hangup: Signal) -> Self {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { seen: Settled::new(look(&files)), files, ticks, hangup }
    }

    /// Waits for the next reason to load again. May be dropped without loss.
    pub async fn changed(&mut self) -> Reason {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => return Reason::Asked,
                _ = self.ticks.tick() => if self.seen.look(look(&self.files)) {
                    return Reason::FileChanged;
                }
            }
        }
    }

    /// Watches these files from now on: a new configuration may name other secrets.
    pub fn watch(&mut self, files: Vec<PathBuf>) {
        if files != self.files {
            self.seen = Settled::new(look(&files));
            self.files = files;
        }
    }
}

/// Says which of the settings that a running process can't change (JSON pointers such as `/pool/size`) have another value
/// in the configuration that was just taken.
pub fn warn_of_fixed<C: Serialize>(old: &C, new: &C, fixed: &[&'static str]) {
    for key in changed(old, new, fixed) {
        tracing::warn!(key, "takes effect at the next start");
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<Fingerprint>> {
    files.iter().map(|path| fingerprint(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::signal::unix::{SignalKind, signal};

    #[track_caller]
    fn check(looks: &[u32], noticed: &[bool]) {
        let mut settled = Settled::new(0);
        let answers: Vec<_> = looks.iter().map(|now| settled.look(*now)).collect();
        assert_eq!(answers, noticed);
    }

    #[test]
    fn a_change_is_noticed_once_it_has_settled() {
        check(&[0, 1, 1, 1], &[false, false, true, false]);
    }

    #[test]
    fn a_change_that_goes_on_is_not_noticed_yet() {
        check(&[1, 2, 3, 3], &[false, false, false, true]);
    }

    #[test]
    fn a_change_that_was_taken_back_is_none() {
        check(&[1, 0, 1, 0], &[false, false, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_replaced_is_noticed() {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let (path, next) = (dir.path().join("c.toml"), dir.path().join("next"));
        std::fs::write(&path, "a = 1").expect("it can be written");
        let hangup = signal(SignalKind::hangup()).expect("signals can be heard");
        let mut watcher = Watcher::new(vec![path.clone()], hangup);
        std::fs::write(&next, "a = 2").expect("it can be written");
        std::fs::rename(&next, &path).expect("it can be renamed");
        assert_eq!(watcher.changed().await, Reason::FileChanged);
    }
}
