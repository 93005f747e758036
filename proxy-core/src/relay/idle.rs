//! How long a relay may carry nothing. Kind: driver.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The limit, and since when it counts. The timer is moved only when it fires too early: bytes that pass cost a note, not a
/// timer.
pub(super) struct Idle {
    limit: Duration,
    /// Since when nothing has passed, as far as anybody has looked at a clock.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: Box::pin(sleep(limit)) }
    }

    /// Something has passed.
    pub(super) fn stirred(&mut self) {
        self.since = None;
    }

    /// Nothing passes now. Ready when that has been so for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit;
        while self.timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}
