//! The budget: how many bytes of bodies the process may hold, in memory and on disk. Kind: pure.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

/// What bodies may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in memory, of all bodies together; what comes beyond goes to files.
    pub memory: u64,
    /// Bytes in files, of all bodies together.
    pub disk: u64,
}

/// What all bodies of the process share.
#[derive(Debug)]
pub struct Budget {
    memory: Account,
    disk: Account,
    each: ArcSwap<Each>,
}

/// Where each body is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Each {
    /// Bytes of it in memory; what comes beyond goes to a file.
    pub in_memory: u64,
    /// The folder of the file; the system's own if absent.
    pub folder: Option<PathBuf>,
}

impl Default for Each {
    /// The most part of what a shop is sent and answers is smaller.
    fn default() -> Self {
        Self { in_memory: 256 * 1024, folder: None }
    }
}

#[derive(Debug)]
struct Account {
    limit: AtomicU64,
    used: AtomicU64,
}

/// A part of an account, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    of: fn(&Budget) -> &Account,
    bytes: u64,
}

impl Account {
    fn new(limit: u64) -> Self {
        Self { limit: limit.into(), used: 0.into() }
    }

    fn take(&self, bytes: u64) -> bool {
        let limit = self.limit.load(Relaxed);
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(limits: Limits) -> Arc<Self> {
        let (memory, disk) = (Account::new(limits.memory), Account::new(limits.disk));
        Arc::new(Self { memory, disk, each: ArcSwap::default() })
    }

    /// Other limits from now on; who is above them keeps what he has.
    pub fn reconfigure(&self, limits: Limits) {
        self.memory.limit.store(limits.memory, Relaxed);
        self.disk.limit.store(limits.disk, Relaxed);
    }

    /// Where bodies that come from now on are kept.
    pub fn place(&self, each: Each) {
        self.each.store(Arc::new(each));
    }

    pub(super) fn each(&self) -> Arc<Each> {
        self.each.load_full()
    }

    /// Bytes held in memory.
    pub fn in_memory(&self) -> u64 {
        self.memory.used.load(Relaxed)
    }

    /// Bytes held in files.
    pub fn on_disk(&self) -> u64 {
        self.disk.used.load(Relaxed)
    }

    pub(super) fn memory(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), of: |budget| &budget.memory, bytes: 0 }
    }

    pub(super) fn disk(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), of: |budget| &budget.disk, bytes: 0 }
    }
}

impl Share {
    /// Grows by so many bytes, if the account has them.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let granted = (self.of)(&self.budget).take(bytes);
        self.bytes += if granted { bytes } else { 0 };
        granted
    }

    /// Gives so many bytes back.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        (self.of)(&self.budget).used.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_there_for_others() {
        let budget = Budget::new(Limits { memory: 10, disk: 0 });
        let mut first = budget.memory();
        assert!(first.grow(6) && !first.grow(5) && first.grow(4));
        assert_eq!((budget.in_memory(), first.bytes()), (10, 10));
        first.shrink(3);
        let mut second = budget.memory();
        assert!(second.grow(3) && !second.grow(1));
        drop(first);
        assert_eq!(budget.in_memory(), 3);
    }

    #[test]
    fn a_lower_limit_takes_nothing_away() {
        let budget = Budget::new(Limits { memory: 10, disk: 10 });
        let mut share = budget.disk();
        assert!(share.grow(8));
        budget.reconfigure(Limits { memory: 1, disk: 1 });
        assert!(!share.grow(1));
        assert_eq!(budget.on_disk(), 8);
    }
}
