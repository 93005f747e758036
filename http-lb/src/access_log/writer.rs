//! Writes lines to a file or to standard output, and opens the file again when told to. Kind: driver.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounterVec;
use proxy_core::error::{Error, Result};
use proxy_core::metrics::Registry;
use proxy_core::tasks;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::config::{AccessLog as Config, Destination};

use super::book::{Book, ENTRIES};
use super::entry::Batch;
use super::format;

/// How long the last lines may take when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The access log of the process.
#[derive(Debug)]
pub struct AccessLog {
    on: Arc<AtomicBool>,
    batches: mpsc::Sender<Batch>,
    config: watch::Sender<Config>,
    lost: IntCounterVec,
    task: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the file and begins to write; within a runtime.
    ///
    /// # Errors
    /// `Config`: the file can't be opened; or SIGUSR1 can't be listened to.
    pub fn open(config: &Config, registry: &Registry) -> Result<Self> {
        let lost = "Lines of the access log that were lost";
        let lost = registry.counter_vec("access_log_lost_total", lost, &["reason"]);
        let output = Output::open(&config.path)?;
        let signal = signal(SignalKind::user_defined1()).map_err(Error::config)?;
        let (batches, queue) = mpsc::channel((config.buffer / ENTRIES).max(1));
        let (sender, changes) = watch::channel(config.clone());
        let on = Arc::new(AtomicBool::new(config.path != Destination::Off));
        let writer = Writer { output: Some(output), queue, changes, signal, lost: lost.clone() };
        let task = tasks::spawn("access log", writer.run());
        Ok(Self { on, batches, config: sender, lost, task })
    }

    /// A book for a worker.
    pub fn book(&self) -> Book {
        Book::new(self.on.clone(), self.batches.clone(), self.lost.clone())
    }

    /// Takes a new configuration; the size of the buffer stays as it was.
    pub fn reload(&self, config: &Config) {
        self.on.store(config.path != Destination::Off, Ordering::Relaxed);
        self.config.send_if_modified(|old| {
            let changed = old != config;
            old.clone_from(config);
            changed
        });
    }

    /// Waits until all is written, once all books are closed.
    pub async fn close(self) {
        drop(self.batches);
        if tokio::time::timeout(LAST_WORDS, self.task).await.is_err() {
            tracing::warn!("the last lines of the access log are not written");
        }
    }
}

/// Where lines go.
#[derive(Debug)]
enum Output {
    Off,
    Stdout,
    File(File),
}

impl Output {
    fn open(destination: &Destination) -> Result<Self> {
        Ok(match destination {
            Destination::Off => Self::Off,
            Destination::Stdout => Self::Stdout,
            Destination::File(path) => {
                Self::File(append(path).map_err(|error| {
                    Error::config(error).context(format!("access log {}", path.display()))
                })?)
            }
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File(file) => file.write_all(lines),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Writer {
    /// Away while a thread writes.
    output: Option<Output>,
    queue: mpsc::Receiver<Batch>,
    changes: watch::Receiver<Config>,
    signal: Signal,
    lost: IntCounterVec,
}

impl Writer {
    /// Ends when all books are closed.
    async fn run(mut self) {
        let mut batches = Vec::new();
        let mut changeable = true;
        loop {
            tokio::select! {
                biased;
                _ = self.signal.recv() => self.reopen("SIGUSR1"),
                changed = self.changes.changed(), if changeable => match changed {
                    Ok(()) => self.reopen("reload"),
                    Err(_) => changeable = false,
                },
                taken = self.queue.recv_many(&mut batches, ENTRIES) => {
                    if taken == 0 {
                        return;
                    }
                    self.write(std::mem::take(&mut batches)).await;
                }
            }
        }
    }

    /// On failure the old file is written on: lines in the wrong place are better than none.
    fn reopen(&mut self, why: &'static str) {
        match Output::open(&self.changes.borrow_and_update().path) {
            Ok(output) => {
                tracing::info!(why, "access log opened again");
                self.output = Some(output);
            }
            Err(error) => tracing::error!(%error, why, "the access log stays where it was"),
        }
    }

    /// Lines are made, and the disk is waited for, where nobody else waits.
    async fn write(&mut self, batches: Vec<Batch>) {
        let (format, query) = {
            let config = self.changes.borrow();
            (config.format, config.query)
        };
        let entries: usize = batches.iter().map(Batch::len).sum();
        let mut output = self.output.take().unwrap_or(Output::Off);
        let written = spawn_blocking(move || {
            let mut lines = Vec::with_capacity(entries * 256);
            for entry in batches.iter().flat_map(Batch::iter) {
                format::write(&mut lines, &entry, format, query);
            }
            let written = output.write(&lines);
            (output, written)
        });
        let failed = match written.await {
            Ok((output, written)) => {
                self.output = Some(output);
                written.err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failed {
            tracing::warn!(error, entries, "the access log can't be written");
            self.lost.with_label_values(&["error"]).inc_by(entries as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::usual;
    use super::*;
    use crate::config::Format;
    use proxy_core::metrics::Registry;

    fn config(path: &Path) -> Config {
        Config { path: Destination::File(path.to_owned()), format: Format::Privacy, ..Config::default() }
    }

    #[tokio::test]
    async fn what_was_noted_is_written_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::open(&config(&path), &Registry::new("t", "0")).unwrap();
        let book = log.book();
        (0..100).for_each(|_| book.note(&usual()));
        drop(book);
        log.close().await;
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.lines().all(|line| line.contains("shop.example.org")));
    }

    #[tokio::test]
    async fn a_reload_moves_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old.log"), dir.path().join("new.log"));
        let log = AccessLog::open(&config(&old), &Registry::new("t", "0")).unwrap();
        let book = log.book();
        book.note(&usual());
        log.reload(&config(&new));
        book.flush();
        drop(book);
        log.close().await;
        assert_eq!(std::fs::read_to_string(new).unwrap().lines().count(), 1);
        assert_eq!(std::fs::read_to_string(old).unwrap().lines().count(), 0);
    }

    #[tokio::test]
    async fn what_can_t_be_taken_is_counted() {
        let off = Config { path: Destination::Off, buffer: ENTRIES, ..Config::default() };
        let log = AccessLog::open(&off, &Registry::new("t", "0")).unwrap();
        log.on.store(true, Ordering::Relaxed);
        let book = log.book();
        // The writer has no chance in between: nothing awaits here.
        (0..3 * ENTRIES).for_each(|_| book.note(&usual()));
        assert_eq!(log.lost.with_label_values(&["behind"]).get(), 2 * ENTRIES as u64);
    }

    #[tokio::test]
    async fn a_file_that_can_t_be_opened_is_named() {
        let error = AccessLog::open(&config(Path::new("/nonexistent/a.log")), &Registry::new("t", "0"));
        assert!(error.unwrap_err().to_string().contains("/nonexistent/a.log"));
    }
}
