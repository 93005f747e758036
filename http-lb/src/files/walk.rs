//! Which files there are beneath a root. Kind: driver.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::stamp::Stamp;

/// More files than this are not indexed: a folder of so many is not one of assets.
const MOST: usize = 100_000;

/// Deeper than this nobody looks.
const DEEPEST: usize = 64;

/// The files beneath a root as they were at one moment, sorted by their paths.
pub(super) type Listing = Vec<(Box<[u8]>, Stamp)>;

/// Lists all regular files that may be served. What can't be read is passed over, and counted.
pub(super) fn list(root: &Path, symlinks: bool) -> (Listing, usize) {
    let walk = WalkDir::new(root).max_depth(DEEPEST).follow_links(symlinks);
    let (mut listing, mut unread) = (Listing::new(), 0);
    for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry)).take(8 * MOST)
    {
        match entry.and_then(|entry| file(root, &entry)) {
            Ok(Some(file)) if listing.len() < MOST => listing.push(file),
            Ok(Some(_)) => unread += 1,
            Ok(None) => {}
            Err(_) => unread += 1,
        }
    }
    listing.sort_unstable();
    (listing, unread)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_bytes().starts_with(b".")
}

fn file(root: &Path, entry: &DirEntry) -> walkdir::Result<Option<(Box<[u8]>, Stamp)>> {
    if !entry.file_type().is_file() {
        return Ok(None);
    }
    let data = entry.metadata()?;
    let [modified, nanoseconds] =
        [data.mtime(), data.mtime_nsec()].map(|number| u64::try_from(number).unwrap_or(0));
    let stamp = Stamp { size: data.len(), inode: data.ino(), modified, nanoseconds };
    let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
    Ok(Some((path.as_os_str().as_bytes().into(), stamp)))
}
