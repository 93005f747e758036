//! The index of one mount: its root, and what lies in memory. Kind: driver.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::asset::Asset;
use super::disk::Root;
use super::heading::Freshness;
use super::stamp::Stamp;
use super::walk::Listing;

/// What is known of the files of one mount. Never changed, but replaced; only variants are added to assets.
#[derive(Debug)]
pub(super) struct Index {
    /// Where everything else is looked for.
    pub(super) root: Root,
    /// By their paths.
    pub(super) files: HashMap<Box<[u8]>, Filed>,
    /// The listing that it was made of.
    pub(super) listing: Listing,
    /// How many files were listed and could not be read.
    pub(super) unread: usize,
}

/// One file of the index.
#[derive(Debug, Clone)]
pub(super) enum Filed {
    /// In memory; since when it is gone from disk.
    Memory(Arc<Asset>, Option<Instant>),
    /// On disk, too large or too many; and whether it is named by its content, as long as it is in that state.
    Disk(Stamp, bool),
}

/// What an index holds, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Files that were found.
    pub files: usize,
    /// Those that are served from memory.
    pub in_memory: usize,
    /// Those that are named by their content, and so may be kept for ever.
    pub immutable: usize,
    /// Those that have vanished from disk and are served for a while.
    pub kept: usize,
    /// The memory that they take.
    pub bytes: u64,
    /// Those that could not be read.
    pub unread: usize,
}

impl Index {
    /// An index that knows no file: all are opened when they are asked for.
    pub(super) fn bare(root: Root) -> Self {
        Self { root, files: HashMap::new(), listing: Listing::new(), unread: 0 }
    }

    /// The file at this path, if it is in memory.
    pub(super) fn asset(&self, path: &[u8]) -> Option<&Arc<Asset>> {
        match self.files.get(path)? {
            Filed::Memory(asset, _) => Some(asset),
            Filed::Disk(..) => None,
        }
    }

    /// Whether the file on disk, in this state, is named by its content; if that is known.
    pub(super) fn is_immutable(&self, path: &[u8], stamp: &Stamp) -> Option<bool> {
        match self.files.get(path)? {
            Filed::Disk(known, immutable) if known == stamp => Some(*immutable),
            _ => None,
        }
    }

    /// All that is in memory.
    pub(super) fn assets(&self) -> impl Iterator<Item = &Arc<Asset>> {
        self.files.values().filter_map(|filed| match filed {
            Filed::Memory(asset, _) => Some(asset),
            Filed::Disk(..) => None,
        })
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let mut body = |asset: &Asset| if seen.insert(asset.digest) { asset.body_bytes() } else { 0 };
        self.assets().map(|asset| asset.field_bytes() + body(asset)).sum()
    }

    /// Whether something that is kept though it vanished has been kept long enough.
    pub(super) fn has_expired(&self, keep: Duration, now: Instant) -> bool {
        let expired = |gone: Instant| now.duration_since(gone) >= keep;
        self.files.values().any(|filed| matches!(filed, Filed::Memory(_, Some(gone)) if expired(*gone)))
    }

    pub(super) fn tally(&self) -> Tally {
        let (files, unread, bytes) = (self.listing.len(), self.unread, self.bytes());
        let mut tally = Tally { files, unread, bytes, ..Tally::default() };
        for filed in self.files.values() {
            match filed {
                Filed::Memory(asset, gone) => {
                    tally.in_memory += 1;
                    tally.immutable += usize::from(asset.freshness == Freshness::Immutable);
                    tally.kept += usize::from(gone.is_some());
                }
                Filed::Disk(_, immutable) => tally.immutable += usize::from(*immutable),
            }
        }
        tally
    }
}
