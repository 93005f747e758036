//! All mounts, and the way from a request to its answer. Kind: driver.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proxy_core::metrics::Registry;

use super::answer::Answer;
use super::gauges::Gauges;
use super::index::Tally;
use super::keeper::{self, Keeper};
use super::served::Served;
use super::terms::{Mount, MountId, Terms};
use super::wants::{Verb, Wants};

/// A folder that can't be served.
#[derive(Debug, thiserror::Error)]
#[error("can't open the folder {} for {prefix}: {source}", root.display())]
pub struct Unopened {
    /// The mount's prefix.
    pub prefix: String,
    /// Its folder.
    pub root: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// All mounts. One is opened for each configuration; dropping it ends the thread that keeps it up to date.
#[derive(Debug)]
pub struct Site {
    pub(super) inner: Arc<Inner>,
    _keeper: Keeper,
}

/// What the keeper shares with the site.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) terms: Terms,
    pub(super) mounts: Vec<Served>,
    /// The mounts, longest prefix first.
    by_prefix: Vec<MountId>,
    pub(super) gauges: Gauges,
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
        let inner = Arc::new(Inner::open(terms, gauges, before.map(|site| site.inner.as_ref()))?);
        let keeper = keeper::start(&inner);
        Ok(Self { inner, _keeper: keeper })
    }

    /// What each mount has, by its prefix.
    pub fn tallies(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.inner.mounts.iter().map(|served| (served.mount.prefix.as_str(), served.tally()))
    }

    /// The mount that this path (normalised) leads to, and what is left of the path beneath it. The longest prefix counts.
    pub fn find<'a>(&self, path: &'a [u8]) -> Option<(MountId, &'a [u8])> {
        let beneath =
            |id: &MountId| Some((*id, path.strip_prefix(self.inner.mount(*id)?.prefix.as_bytes())?));
        self.inner.by_prefix.iter().find_map(beneath)
    }

    /// Answers a client's request for what lies at `path` (normalised) beneath the mount. `now` is in seconds since 1970.
    pub fn answer(&self, mount: MountId, wants: &Wants<'_>, path: &[u8], now: u64) -> Answer {
        match self.inner.mounts.get(mount.0) {
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
        self.inner.mounts.get(id.0).map_or(Answer::Missing, |served| served.accel(&wants, beneath, kept, now))
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    fn open(terms: Terms, gauges: Gauges, before: Option<&Self>) -> Result<Self, Unopened> {
        let mut mounts = Vec::<Served>::with_capacity(terms.mounts.len());
        let mut room = terms.memory;
        for mount in &terms.mounts {
            let served = Served::open(
                mount.clone(),
                before.and_then(|before| before.alike(mount)),
                room,
                Instant::now(),
            );
            let failed = |source| Unopened { prefix: mount.prefix.clone(), root: mount.root.clone(), source };
            let served = served.map_err(failed)?;
            room = room.saturating_sub(served.bytes());
            mounts.push(served);
        }
        let mut by_prefix: Vec<_> = (0..mounts.len()).map(MountId).collect();
        by_prefix.sort_by_key(|id| std::cmp::Reverse(terms.mounts[id.0].prefix.len()));
        let inner = Self { terms, mounts, by_prefix, gauges };
        inner.count();
        Ok(inner)
    }

    fn mount(&self, id: MountId) -> Option<&Mount> {
        Some(&self.mounts.get(id.0)?.mount)
    }

    /// The mount with the same files.
    fn alike(&self, mount: &Mount) -> Option<&Served> {
        self.mounts
            .iter()
            .find(|served| (&served.mount.prefix, &served.mount.root) == (&mount.prefix, &mount.root))
    }

    /// How many bytes may still be added, but for what `mount` has.
    pub(super) fn room_for(&self, mount: &Served) -> u64 {
        let others = self.mounts.iter().filter(|served| !std::ptr::eq(*served, mount));
        self.terms.memory.saturating_sub(others.map(Served::bytes).sum())
    }

    /// Shows in the metrics what there is now.
    pub(super) fn count(&self) {
        let tallies = self.mounts.iter().map(Served::tally);
        self.gauges.set(tallies);
    }
}

/// Fields of an application's answer that hold instead of the file's own.
pub(super) type Kept = Bytes;
