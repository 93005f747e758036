//! All mounts, with what is in them now: what a site answers from, and its keeper renews. Kind: driver.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use super::gauges::Gauges;
use super::served::Served;
use super::terms::{Mount, MountId, Terms};

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

/// The mounts of one configuration.
#[derive(Debug)]
pub(super) struct Mounts {
    pub(super) terms: Terms,
    pub(super) served: Vec<Served>,
    /// The longest prefix first.
    by_prefix: Vec<MountId>,
    pub(super) gauges: Gauges,
}

impl Mounts {
    pub(super) fn open(terms: Terms, gauges: Gauges, before: Option<&Self>) -> Result<Self, Unopened> {
        let mut all = Vec::<Served>::with_capacity(terms.mounts.len());
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
            all.push(served);
        }
        let mut by_prefix: Vec<_> = (0..all.len()).map(MountId).collect();
        by_prefix.sort_by_key(|id| std::cmp::Reverse(terms.mounts[id.0].prefix.len()));
        let mounts = Self { terms, served: all, by_prefix, gauges };
        mounts.count();
        Ok(mounts)
    }

    /// The mount that this path leads to, and what is left of the path beneath it.
    pub(super) fn find<'a>(&self, path: &'a [u8]) -> Option<(MountId, &'a [u8])> {
        let beneath = |id: &MountId| Some((*id, path.strip_prefix(self.mount(*id)?.prefix.as_bytes())?));
        self.by_prefix.iter().find_map(beneath)
    }

    fn mount(&self, id: MountId) -> Option<&Mount> {
        Some(&self.served.get(id.0)?.mount)
    }

    /// The mount with the same files.
    fn alike(&self, mount: &Mount) -> Option<&Served> {
        self.served
            .iter()
            .find(|served| (&served.mount.prefix, &served.mount.root) == (&mount.prefix, &mount.root))
    }

    /// How many bytes may still be added, but for what `mount` has.
    pub(super) fn room_for(&self, mount: &Served) -> u64 {
        let others = self.served.iter().filter(|served| !std::ptr::eq(*served, mount));
        self.terms.memory.saturating_sub(others.map(Served::bytes).sum())
    }

    /// Shows in the metrics what there is now.
    pub(super) fn count(&self) {
        let tallies = self.served.iter().map(Served::tally);
        self.gauges.set(tallies);
    }
}
