//! The mounts of a configuration while they are kept up to date, and the way from a request to its answer. Kind: driver.

use std::sync::Arc;

use proxy_core::metrics::Registry;

use super::answer::Answer;
use super::gauges::Gauges;
use super::index::Tally;
use super::keeper::{self, Keeper};
use super::mounts::{Mounts, Unopened};
use super::terms::{MountId, Terms};
use super::wants::{Verb, Wants};

/// All mounts. One is opened for each configuration; dropping it ends the thread that keeps it up to date.
#[derive(Debug)]
pub struct Site {
    pub(super) mounts: Arc<Mounts>,
    _keeper: Keeper,
}

impl Site {
    /// Opens all mounts and reads what is to be preloaded; takes over what it can from the site `before`. Reading happens
    /// off the runtime's threads.
    pub async fn open(
        terms: Terms,
        registry: &Registry,
        before: Option<Arc<Self>>,
    ) -> Result<Arc<Self>, Unopened> {
        let gauges = Gauges::new(registry);
        let opening = tokio::task::spawn_blocking(move || Self::open_now(terms, gauges, before.as_deref()));
        match opening.await {
            Ok(opened) => opened.map(Arc::new),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// The same, on this thread.
    pub(super) fn open_now(terms: Terms, gauges: Gauges, before: Option<&Self>) -> Result<Self, Unopened> {
        let mounts = Arc::new(Mounts::open(terms, gauges, before.map(|site| site.mounts.as_ref()))?);
        let keeper = keeper::start(&mounts);
        Ok(Self { mounts, _keeper: keeper })
    }

    /// What each mount has, by its prefix.
    pub fn tallies(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.mounts.served.iter().map(|served| (served.mount.prefix.as_str(), served.tally()))
    }

    /// The mount that this path (normalised) leads to, and what is left of the path beneath it. The longest prefix counts.
    pub fn find<'a>(&self, path: &'a [u8]) -> Option<(MountId, &'a [u8])> {
        self.mounts.find(path)
    }

    /// Answers a client's request for what lies at `path` (normalised) beneath the mount. `now` is in seconds since 1970.
    pub fn answer(&self, mount: MountId, wants: &Wants<'_>, path: &[u8], now: u64) -> Answer {
        match self.mounts.served.get(mount.0) {
            Some(served) if !served.mount.internal => served.answer(wants, path, now),
            Some(_) => Answer::Denied,
            None => Answer::Missing,
        }
    }

    /// Answers for an application that said `X-Accel-Redirect: path` (normalised). Of what it said itself, the fields about
    /// the content and how it may be cached hold instead of the file's own.
    pub fn accel<'a>(
        &self,
        wants: &Wants<'_>,
        path: &[u8],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        now: u64,
    ) -> Answer {
        let Some((id, beneath)) = self.find(path) else { return Answer::Missing };
        let kept = super::heading::kept(fields);
        // Whatever was asked of the application, it is a file that is read now.
        let verb = if wants.verb == Verb::Head { Verb::Head } else { Verb::Get };
        let wants = Wants { verb, ..*wants };
        self.mounts
            .served
            .get(id.0)
            .map_or(Answer::Missing, |served| served.accel(&wants, beneath, kept, now))
    }

    #[cfg(test)]
    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }
}
