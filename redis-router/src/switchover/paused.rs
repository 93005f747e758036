//! The master while it is paused: it serves reads and keeps writes waiting. Kind: driver.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::offset;
use crate::topology::{Control, Fault};

/// What Sentinel has for `down-after-milliseconds` where none is configured.
pub(super) const DEFAULT_DOWN_AFTER: Duration = Duration::from_secs(30);

/// No pause is longer than this, however patient the Sentinels are.
const LONGEST: Duration = Duration::from_secs(3);

pub(super) struct Paused {
    control: Control,
    length: Duration,
    patience: Duration,
    /// Whether pauses are taken: not without the right to (`+client|pause`), nor once the connection is gone.
    takes: bool,
}

impl Paused {
    /// Pauses are shorter than the time after which a Sentinel takes the master for dead.
    pub(super) fn new(control: Control, down_after: Duration, patience: Duration) -> Self {
        let length = (down_after * 3 / 4).clamp(Duration::from_millis(1), LONGEST);
        Self { control, length, patience, takes: true }
    }

    /// Pauses writes (Redis 6.2); false if the server does not take it.
    pub(super) async fn pause(&mut self) -> Result<bool, Fault> {
        let millis = self.length.as_millis().to_string();
        let reply = self.control.ask(&["CLIENT", "PAUSE", &millis, "WRITE"], self.patience).await?;
        if let Some(error) = reply.error() {
            warn!(
                error,
                "the master can't be paused: writes of clients that don't come through us may be lost"
            );
            self.takes = false;
        }
        Ok(self.takes)
    }

    /// Writes go on.
    pub(super) async fn unpause(&mut self) {
        if self.takes {
            let _ = self.control.ask(&["CLIENT", "UNPAUSE"], self.patience).await; // it ends by itself, too
        }
    }

    /// Does some work while the pause is renewed before it ends.
    pub(super) async fn keep<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(self.length / 3), if self.takes => self.renew().await,
            }
        }
    }

    /// A connection that is gone was cut by the demotion: from then on the server refuses writes by itself.
    async fn renew(&mut self) {
        self.takes = matches!(self.pause().await, Ok(true));
    }

    pub(super) async fn offset(&mut self) -> Result<u64, Fault> {
        offset(&mut self.control, self.patience).await
    }
}
