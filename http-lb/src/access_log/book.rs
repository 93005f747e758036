//! What a worker notes, until the writer takes it. Kind: driver.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounterVec;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::entry::{Batch, Entry};

/// Entries of a batch: so few that a line is not long on its way, so many that waking the writer costs nothing.
pub(super) const ENTRIES: usize = 64;
const BYTES: usize = 32 << 10;
/// How long an entry may wait for others.
const AGE: Duration = Duration::from_millis(500);

/// The book of one worker.
#[derive(Debug)]
pub struct Book {
    on: Arc<AtomicBool>,
    batch: RefCell<Batch>,
    writer: Sender<Batch>,
    lost: IntCounterVec,
}

impl Book {
    pub(super) fn new(on: Arc<AtomicBool>, writer: Sender<Batch>, lost: IntCounterVec) -> Self {
        Self { on, batch: RefCell::default(), writer, lost }
    }

    /// Whether anything is written at all: if not, an entry need not be made.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Notes a request that is over.
    #[inline]
    pub fn note(&self, entry: &Entry<'_>) {
        if !self.is_open() {
            return;
        }
        let full = {
            let mut batch = self.batch.borrow_mut();
            batch.push(entry);
            batch.len() >= ENTRIES || batch.bytes() >= BYTES
        };
        if full {
            self.flush();
        }
    }

    /// Hands over what was noted.
    pub fn flush(&self) {
        if self.batch.borrow().is_empty() {
            return;
        }
        let batch = self.batch.replace(Batch::with_capacity(ENTRIES, BYTES));
        if let Err(TrySendError::Full(batch) | TrySendError::Closed(batch)) = self.writer.try_send(batch) {
            self.lost.with_label_values(&["behind"]).inc_by(batch.len() as u64);
        }
    }

    /// Hands over twice a second what no full batch has taken along; for as long as the worker lives.
    pub async fn keep(self: Rc<Self>) {
        let mut tick = tokio::time::interval(AGE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.flush();
        }
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.flush();
    }
}
