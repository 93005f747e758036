//! The thread that keeps a site up to date: looks for changes, and makes compressed variants. Kind: driver.
//!
//! All of it is work on files and for the processor, so that it has a thread of its own, which nobody waits for when the
//! process ends: a blocking task of the runtime would hold up its exit while a large file is compressed. Variants are made
//! one at a time, at the lowest priority.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::asset::Asset;
use super::coding::Coding;
use super::disk::Root;
use super::index::Index;
use super::making::Making;
use super::mounts::Mounts;
use super::precompress;
use super::served::{self, Served};
use super::walk::{self, Listing};

/// Looking takes at most this share of the time: a look that took 5 ms is followed by at least 500 ms without one.
const SHARE: u32 = 100;

/// A folder that never comes to rest is indexed after so many looks all the same.
const PATIENCE: u32 = 10;

/// `nice` of the thread that compresses: the lowest.
const LOWEST: i32 = 19;

/// In which order variants are made: first what is made quickly and understood by all, then what is smaller.
const ORDER: [Coding; Coding::ALL.len()] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    _end: Sender<()>,
}

/// Starts the keeper of this site.
pub(super) fn start(mounts: &Arc<Mounts>) -> Keeper {
    let (keeper, end) = mpsc::channel();
    let mounts = Arc::downgrade(mounts);
    let turns = move || {
        let mut watch = Watch::default();
        let mut pause = Duration::ZERO;
        while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            // A panic is counted and logged by the hook. What is served is never left half changed.
            let turn = panic::catch_unwind(AssertUnwindSafe(|| watch.turn(&mounts)));
            match turn {
                Ok(Some(next)) => pause = next,
                Ok(None) => return,
                Err(_) => pause = Duration::from_secs(60),
            }
        }
    };
    match thread::Builder::new().name("files".to_owned()).spawn(turns) {
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "no thread to keep files up to date: changes are not noticed"),
    }
    Keeper { _end: keeper }
}

/// What the keeper remembers between its turns.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// For each mount, what was seen last and is not settled.
    unsettled: Vec<Option<(Listing, u32)>>,
    /// When to look next.
    due: Option<Instant>,
    /// Whether all variants are made.
    idle: bool,
}

impl Watch {
    /// Does one thing, and says how long to pause; `None` if the site is gone.
    fn turn(&mut self, mounts: &Weak<Mounts>) -> Option<Duration> {
        let mounts = mounts.upgrade()?;
        let poll = mounts.terms.poll;
        let started = Instant::now();
        let due = *self.due.get_or_insert(started + poll);
        if !poll.is_zero() && started >= due {
            self.look(&mounts, started);
            self.due = Some(Instant::now() + poll.max(started.elapsed() * SHARE));
            return Some(Duration::ZERO);
        }
        if compress_one(&mounts) {
            self.idle = false;
            return Some(Duration::ZERO);
        }
        if !std::mem::replace(&mut self.idle, true) {
            mounts.count();
            tracing::debug!("all compressed variants are made");
        }
        Some(if poll.is_zero() { Duration::MAX } else { due.saturating_duration_since(Instant::now()) })
    }

    /// Looks at all mounts, and indexes anew those that have changed and come to rest.
    pub(super) fn look(&mut self, mounts: &Mounts, now: Instant) {
        self.unsettled.resize_with(mounts.served.len(), || None);
        for (served, unsettled) in mounts.served.iter().zip(&mut self.unsettled) {
            look_at(mounts, served, unsettled, now);
        }
        mounts.count();
    }
}

fn look_at(mounts: &Mounts, served: &Served, unsettled: &mut Option<(Listing, u32)>, now: Instant) {
    let known = served.index.load_full();
    let moved = !known.root.is_at(&served.mount.root);
    if !served.mount.preload {
        return if moved {
            replace(mounts, served, Vec::new(), 0, now)
        };
    }
    let expired = known.has_expired(served.mount.keep, now);
    let (listing, unlisted) = walk::list(&served.mount.root, served.mount.symlinks);
    if listing == known.listing && !moved && !expired {
        *unsettled = None;
        return;
    }
    let looks = unsettled.as_ref().map_or(0, |(_, looks)| *looks);
    let settled = unsettled.as_ref().is_some_and(|(before, _)| *before == listing);
    if settled || looks >= PATIENCE {
        *unsettled = None;
        replace(mounts, served, listing, unlisted, now);
    } else {
        *unsettled = Some((listing, looks + 1));
    }
}

/// Makes the index anew and swaps it in. While the folder can't be opened, all stays as it was.
fn replace(mounts: &Mounts, served: &Served, listing: Listing, unlisted: usize, now: Instant) {
    let mount = &served.mount;
    let started = Instant::now();
    let root = match Root::open(&mount.root, mount.symlinks) {
        Ok(root) => root,
        Err(error) => {
            mounts.gauges.unread.inc();
            return tracing::warn!(prefix = %mount.prefix, %error, "the folder has changed and can't be opened");
        }
    };
    let before = served.index.load_full();
    let index = if mount.preload {
        let making = Making { mount, before: Some((&before, true)), room: mounts.room_for(served), now };
        making.make(root, listing)
    } else {
        Index::bare(root)
    };
    served::tell(mount, &index.tally(), unlisted, started);
    served.index.store(Arc::new(index));
    mounts.gauges.reindexed.inc();
}

/// Makes one variant, if one is missing, for all files of that content; says whether it did.
pub(super) fn compress_one(mounts: &Mounts) -> bool {
    let Some((coding, asset)) = missing(mounts) else { return false };
    let packed = at_lowest_priority(|| precompress::compress(&asset.plain().body, coding));
    let used: u64 = mounts.served.iter().map(Served::bytes).sum();
    let fits = |packed: &Bytes| used.saturating_add(packed.len() as u64) <= mounts.terms.memory;
    let packed = packed.filter(fits);
    for served in &mounts.served {
        let index = served.index.load();
        for twin in index.assets().filter(|twin| twin.digest == asset.digest && twin.wants(coding)) {
            twin.put(coding, packed.clone());
        }
    }
    // It may have left the index in the meantime, and then nobody else would have tried.
    asset.put(coding, packed);
    true
}

/// The next variant to be made.
fn missing(mounts: &Mounts) -> Option<(Coding, Arc<Asset>)> {
    ORDER.into_iter().find_map(|coding| {
        let mut wanting = mounts.served.iter().filter(|served| served.mount.precompress.contains(&coding));
        let asset = wanting.find_map(|served| {
            let index = served.index.load();
            index.assets().find(|asset| asset.wants(coding)).map(Arc::clone)
        })?;
        Some((coding, asset))
    })
}

/// Does the work on a thread of the lowest priority. Only its own thread can be made to yield to others for good.
fn at_lowest_priority<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let niced = || {
            // Without it the work is done all the same, only less politely.
            let _ = rustix::process::setpriority_process(None, LOWEST);
            work()
        };
        match scope.spawn(niced).join() {
            Ok(done) => done,
            Err(panicked) => panic::resume_unwind(panicked),
        }
    })
}
