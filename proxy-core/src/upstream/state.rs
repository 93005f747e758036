//! What must outlive a restart: the last epoch, in a file of the state folder. Kind: driver.
//!
//! Without it a router that restarts while only a returned old primary is up would believe that one. The file is
//! small JSON, replaced as a whole (write aside, fsync, rename, fsync of the folder), so a crash leaves the old or
//! the new one, never half. Where the folder can't be written the router goes on with its memory alone, warns, and
//! counts: no folder is worth an outage. A file that is there but can't be read is an error: guessing "no epoch"
//! would open the very gap that the file closes.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use prometheus::IntCounter;
use tracing::warn;

use super::epoch::Reign;
use crate::error::{Context as _, Error, Result, Side};
use crate::metrics::Registry;

/// The file's name within the state folder.
const FILE: &str = "topology.json";

/// Nothing that we wrote is larger; more is not our file.
const MAX_LEN: u64 = 64 * 1024;

/// A state file that is there but of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It can't be read.
    #[error("state file {}: {source}; make it readable, or run once with --forget-epoch", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be understood.
    #[error("state file {}: {source}; restore it, or run once with --forget-epoch", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// The last epoch, in memory and in its file.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    remembered: Option<Reign>,
    /// The file says what `remembered` says.
    on_disk: bool,
    failures: IntCounter,
}

impl State {
    /// Reads what an earlier run left in `dir`. Nothing there is a fresh start.
    pub fn open(dir: &Path, registry: &Registry) -> std::result::Result<Self, Unusable> {
        let path = dir.join(FILE);
        let remembered = read(&path)?;
        Ok(Self { path, remembered, on_disk: true, failures: failures(registry) })
    }

    /// As [`State::open`]; if the operator says so (`--forget-epoch`), what is there is removed first.
    ///
    /// # Errors
    /// `Config`, with the file and the remedy; `Io` if it can't be removed.
    pub fn open_as_told(dir: &Path, forget: bool, registry: &Registry) -> Result<Self> {
        if forget
            && Self::forget(dir)
                .map_err(|error| Error::io(Side::Internal, error))
                .context("forgetting the epoch")?
        {
            warn!(dir = %dir.display(), "the last epoch is forgotten, as told");
        }
        Self::open(dir, registry).map_err(Error::config)
    }

    /// Removes what an earlier run left in `dir`: the operator's `--forget-epoch`, to be called before `open`.
    /// Says whether there was anything.
    pub fn forget(dir: &Path) -> io::Result<bool> {
        match fs::remove_file(dir.join(FILE)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The last reign that was published, by this run or an earlier one.
    pub const fn remembered(&self) -> Option<&Reign> {
        self.remembered.as_ref()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers, on disk first. Blocks for one fsync when something changed, which is once per failover; what
    /// could not be written is tried again with the next call.
    pub fn remember(&mut self, now: Reign) {
        if self.on_disk && self.remembered.as_ref() == Some(&now) {
            return;
        }
        match replace(&self.path, &now) {
            Ok(()) => self.on_disk = true,
            Err(error) => self.unwritten(&error),
        }
        self.remembered = Some(now);
    }

    /// Counts each time, warns once until it is mended.
    fn unwritten(&mut self, error: &io::Error) {
        self.failures.inc();
        if std::mem::replace(&mut self.on_disk, false) {
            let path = self.path.display();
            warn!(%path, %error, "the epoch is kept in memory only: its file can't be written");
        }
    }
}

fn read(path: &Path) -> std::result::Result<Option<Reign>, Unusable> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Unusable::Unreadable { path: path.into(), source }),
    };
    let damaged = |source| Unusable::Damaged { path: path.into(), source };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_LEN).read_to_string(&mut text)?;
    Ok(text)
}

/// Write aside, sync, rename, sync the folder: see rename(2) and fsync(2) for why each of them.
fn replace(path: &Path, value: &Reign) -> io::Result<()> {
    let aside = path.with_extension("json.new");
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = File::create(&aside)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(dir)?.sync_all()
}

fn failures(registry: &Registry) -> IntCounter {
    registry.counter("state_write_failures_total", "Times the state file could not be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new("test", "0")
    }

    fn remembered(epoch: u64) -> Reign {
        Reign { lineage: "7301".into(), epoch, primary: "127.0.0.1:5432".into() }
    }

    fn reopened(dir: &Path) -> Option<Reign> {
        State::open(dir, &registry()).unwrap().remembered().cloned()
    }

    #[test]
    fn what_is_remembered_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(dir.path(), &registry()).unwrap();
        assert_eq!(state.remembered(), None);
        state.remember(remembered(3));
        state.remember(remembered(4));
        assert_eq!(reopened(dir.path()), Some(remembered(4)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_folder_that_is_missing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("lib/pg-router");
        State::open(&deep, &registry()).unwrap().remember(remembered(1));
        assert_eq!(reopened(&deep), Some(remembered(1)));
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!State::forget(dir.path()).unwrap(), "nothing was there");
        State::open(dir.path(), &registry()).unwrap().remember(remembered(1));
        assert!(State::forget(dir.path()).unwrap());
        assert_eq!(reopened(dir.path()), None);
    }

    /// A plain file where the folder should be fails for root too, whom permissions don't stop.
    #[test]
    fn an_unwritable_folder_costs_a_count_and_not_the_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state"), &registry()).unwrap();
        fs::write(dir.path().join("state"), "in the way").unwrap();
        state.remember(remembered(5));
        assert_eq!((state.remembered(), state.failures.get()), (Some(&remembered(5)), 1));
    }

    #[test]
    fn an_unwritten_memory_is_written_with_the_next_change() {
        let dir = tempfile::tempdir().unwrap();
        let way = dir.path().join("state");
        let mut state = State::open(&way, &registry()).unwrap();
        fs::write(&way, "in the way").unwrap();
        state.remember(remembered(5));
        fs::remove_file(&way).unwrap();
        state.remember(remembered(5));
        assert_eq!(reopened(&way), Some(remembered(5)), "the same epoch, published again, mends the file");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_itself_and_the_remedy() {
        let check = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = State::open(dir.path(), &registry()).unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains("--forget-epoch"), "{text:?}: {error}");
        };
        check("");
        check("{\"lineage\": \"7301\", \"epoch\": -1, \"primary\": \"a\"}");
        check("{\"lineage\": \"7301\", \"epoch\": 3");
        check(&" ".repeat(100_000));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        let error = State::open(dir.path(), &registry()).unwrap_err();
        assert!(matches!(error, Unusable::Unreadable { .. }), "{error}");
    }
}
