//! The barrier before a failover that is known to come: while it is raised, no write is sent to the master.
//! Kind: driver.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// How long after a publication the workers certainly know of it: the barrier must not fall before.
const SPREAD: Duration = Duration::from_millis(10);

/// Whether writes wait, for all workers. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Barrier {
    raised: Arc<watch::Sender<bool>>,
}

impl Barrier {
    /// Whether writes must wait now.
    pub fn raised(&self) -> bool {
        *self.raised.borrow()
    }

    /// Hears when the barrier is raised and when it is lowered.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.raised.subscribe()
    }

    /// Raises the barrier until the guard is dropped, however that comes about; nothing if somebody else holds it.
    pub fn raise(&self) -> Option<Raised> {
        let mine = self.raised.send_if_modified(|raised| !std::mem::replace(raised, true));
        mine.then(|| Raised { barrier: self.clone() })
    }
}

/// The barrier is raised as long as this lives.
#[derive(Debug)]
pub struct Raised {
    barrier: Barrier,
}

impl Raised {
    /// Lowers the barrier once every worker knows where to go.
    pub async fn lower(self) {
        sleep(SPREAD).await;
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.barrier.raised.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_as_long_as_somebody_holds_it_up() {
        let barrier = Barrier::default();
        let ear = barrier.subscribe();
        let raised = barrier.raise().unwrap();
        assert!(barrier.raised() && *ear.borrow());
        assert!(barrier.raise().is_none(), "one at a time");
        drop(raised);
        assert!(!barrier.raised() && !*ear.borrow());
        assert!(barrier.raise().is_some());
    }
}
