//! Readiness as ownership: who must be ready first holds a latch, and drops it when it is. Kind: pure.

use std::sync::{Arc, Mutex, PoisonError};

/// What the process waits for before it is ready. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    latches: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Readiness {
    /// The process is not ready until the returned latch is dropped. Take it in `build` or `start`: later would
    /// be too late, for somebody may have seen us ready.
    #[must_use = "dropping the latch is what reports readiness"]
    pub fn latch(&self, name: &str) -> Latch {
        let name: Arc<str> = name.into();
        self.with(|latches| latches.push(name.clone()));
        Latch { name, readiness: self.clone() }
    }

    /// Whom the process waits for still.
    pub fn waiting_for(&self) -> Vec<Arc<str>> {
        self.with(|latches| latches.clone())
    }

    /// Whether everybody is ready.
    pub fn is_ready(&self) -> bool {
        self.with(|latches| latches.is_empty())
    }

    fn with<R>(&self, action: impl FnOnce(&mut Vec<Arc<str>>) -> R) -> R {
        // A list of names can't be left half changed by a panic.
        action(&mut self.latches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Somebody isn't ready yet; dropping this reports that they are.
#[derive(Debug)]
pub struct Latch {
    name: Arc<str>,
    readiness: Readiness,
}

impl Drop for Latch {
    fn drop(&mut self) {
        // By identity: two latches may have the same name.
        self.readiness.with(|latches| latches.retain(|name| !Arc::ptr_eq(name, &self.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(readiness: &Readiness, waiting_for: &[&str]) {
        let waiting: Vec<_> = readiness.waiting_for().iter().map(ToString::to_string).collect();
        assert_eq!(waiting, waiting_for);
        assert_eq!(readiness.is_ready(), waiting_for.is_empty());
    }

    #[test]
    fn nobody_to_wait_for_is_ready() {
        check(&Readiness::default(), &[]);
    }

    #[test]
    fn ready_when_the_last_latch_is_dropped() {
        let readiness = Readiness::default();
        let (first, second) = (readiness.latch("topology"), readiness.latch("topology"));
        check(&readiness, &["topology", "topology"]);
        drop(first);
        check(&readiness, &["topology"]);
        drop(second);
        check(&readiness, &[]);
    }
}
