//! Draining: one hand that says when, many ears that hear it, and a count of who is still here. Kind: driver.
//!
//! ```text
//!   Running ──begin()──▶ Draining ──terminate()──▶ Terminating
//!      └────────────────terminate()──────────────────────▲
//! ```
//! The phase only moves forward. While draining, nobody new is let in and sessions leave at their next
//! boundary; when terminating, who is still here is cut. A [`Presence`] is held by each session, so that
//! [`Drain::all_left`] knows when the last one is gone.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Letting nobody in; sessions leave at their next boundary.
    Draining,
    /// Leave now, boundary or not.
    Terminating,
}

impl Phase {
    /// The phase as one word, for the status page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Terminating => "terminating",
        }
    }
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    present: AtomicUsize,
    left: Notify,
    failure: OnceLock<String>,
}

/// The hand: moves the phase forward. Clones move the same phase.
#[derive(Debug, Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// A process that is running, with nobody in it.
    pub fn new() -> Self {
        let phase = watch::Sender::new(Phase::Running);
        let shared =
            Shared { phase, present: AtomicUsize::new(0), left: Notify::new(), failure: OnceLock::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Begins to drain; does nothing if that has happened already.
    pub fn begin(&self) {
        self.advance(Phase::Draining);
    }

    /// Ends the waiting: sessions are cut.
    pub fn terminate(&self) {
        self.advance(Phase::Terminating);
    }

    /// Begins to drain because something without which we can't serve has failed. The first reason is kept.
    pub fn fail(&self, reason: String) {
        // A second reason is most often a consequence of the first: it would only hide it.
        let _ = self.shared.failure.set(reason);
        self.begin();
    }

    /// Why the process fails, if it does.
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    /// An ear for the phase.
    pub fn watch(&self) -> Watch {
        Watch { phase: self.shared.phase.subscribe(), shared: self.shared.clone() }
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// How many are still here.
    pub fn present(&self) -> usize {
        self.shared.present.load(Ordering::Acquire)
    }

    /// Waits until nobody is here.
    pub async fn all_left(&self) {
        loop {
            // Ask to be told before looking: who leaves in between still wakes us.
            let left = self.shared.left.notified();
            if self.present() == 0 {
                return;
            }
            left.await;
        }
    }

    fn advance(&self, to: Phase) {
        self.shared.phase.send_if_modified(|phase| {
            let forward = to > *phase;
            *phase = (*phase).max(to);
            forward
        });
    }
}

/// The ear: hears the phase move. Each task holds its own clone.
#[derive(Debug, Clone)]
pub struct Watch {
    phase: watch::Receiver<Phase>,
    shared: Arc<Shared>,
}

impl Watch {
    /// The present phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for the phase to move since this ear last heard of it. May be dropped without loss.
    pub async fn changed(&mut self) -> Phase {
        self.phase.changed().await.expect("the sender lives in `shared`, which this ear holds");
        *self.phase.borrow_and_update()
    }

    /// Waits until the process drains (or terminates). May be dropped without loss.
    pub async fn draining(&mut self) {
        self.at_least(Phase::Draining).await;
    }

    /// Waits until the process terminates. May be dropped without loss.
    pub async fn terminating(&mut self) {
        self.at_least(Phase::Terminating).await;
    }

    /// Counts the caller as present until the returned guard is dropped.
    #[must_use]
    pub fn session(&self) -> Presence {
        self.shared.present.fetch_add(1, Ordering::AcqRel);
        Presence { shared: self.shared.clone() }
    }

    async fn at_least(&mut self, phase: Phase) {
        self.phase
            .wait_for(|now| *now >= phase)
            .await
            .expect("the sender lives in `shared`, which this ear holds");
    }
}

/// Somebody is here: the process waits for them when it drains.
#[derive(Debug)]
pub struct Presence {
    shared: Arc<Shared>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.shared.present.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_phase_only_moves_forward() {
        let drain = Drain::new();
        assert_eq!(drain.phase(), Phase::Running);
        drain.terminate();
        drain.begin();
        assert_eq!(drain.phase(), Phase::Terminating);
    }

    #[test]
    fn an_ear_hears_each_move_once() {
        let drain = Drain::new();
        let mut ear = drain.watch();
        assert_eq!(ear.changed().now_or_never(), None);
        drain.begin();
        drain.begin();
        assert_eq!(ear.changed().now_or_never(), Some(Phase::Draining));
        assert_eq!(ear.changed().now_or_never(), None);
    }

    #[test]
    fn who_listens_late_still_hears_that_we_drain() {
        let drain = Drain::new();
        drain.begin();
        let mut late = drain.watch();
        assert!(late.draining().now_or_never().is_some());
        assert!(late.terminating().now_or_never().is_none());
        drain.terminate();
        assert!(late.terminating().now_or_never().is_some());
    }

    #[test]
    fn all_have_left_when_the_last_presence_is_dropped() {
        let drain = Drain::new();
        let (first, second) = (drain.watch().session(), drain.watch().session());
        assert_eq!(drain.present(), 2);
        let mut waiting = Box::pin(drain.all_left());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(second);
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn the_first_failure_is_kept_and_drains() {
        let drain = Drain::new();
        drain.fail("the listener died".into());
        drain.fail("the probe died".into());
        assert_eq!(drain.failure(), Some("the listener died"));
        assert_eq!(drain.phase(), Phase::Draining);
    }
}
