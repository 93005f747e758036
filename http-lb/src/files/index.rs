//! The index of one mount: its root, and what lies in memory. Made anew when the folder has changed. Kind: driver.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::asset::{Asset, Digest};
use super::coding::Coding;
use super::disk::{Opened, Root};
use super::hashed::{self, Hashed};
use super::heading::Freshness;
use super::kind;
use super::precompress;
use super::stamp::Stamp;
use super::terms::Mount;
use super::walk::Listing;

/// How often a long indexing says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// How much of a file that stays on disk is read at a time, to see its hash.
const PIECE: usize = 64 << 10;

/// What is known of the files of one mount. Never changed, but replaced; only variants are added to assets.
#[derive(Debug)]
pub(super) struct Index {
    /// Where everything else is looked for.
    pub(super) root: Root,
    files: HashMap<Box<[u8]>, Filed>,
    /// The listing that it was made of.
    pub(super) listing: Listing,
    /// How many files were listed and could not be read.
    unread: usize,
}

/// One file of the index.
#[derive(Debug, Clone)]
enum Filed {
    /// In memory; since when it is gone from disk.
    Memory(Arc<Asset>, Option<Instant>),
    /// On disk, too large or too many; and named by its content, as long as it is in that state.
    Disk(Stamp),
}

/// What was read and kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) files: usize,
    pub(super) in_memory: usize,
    pub(super) immutable: usize,
    pub(super) kept: usize,
    pub(super) bytes: u64,
    pub(super) unread: usize,
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
            Filed::Disk(_) => None,
        }
    }

    /// Whether the file on disk, in this state, is named by its content.
    pub(super) fn is_immutable(&self, path: &[u8], stamp: &Stamp) -> bool {
        matches!(self.files.get(path), Some(Filed::Disk(known)) if known == stamp)
    }

    /// All that is in memory.
    pub(super) fn assets(&self) -> impl Iterator<Item = &Arc<Asset>> {
        self.files.values().filter_map(|filed| match filed {
            Filed::Memory(asset, _) => Some(asset),
            Filed::Disk(_) => None,
        })
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.assets().map(|asset| asset.bytes()).sum()
    }

    /// Whether something that is kept though it vanished has been kept long enough.
    pub(super) fn has_expired(&self, keep: Duration, now: Instant) -> bool {
        let expired = |gone: Instant| now.duration_since(gone) >= keep;
        self.files.values().any(|filed| matches!(filed, Filed::Memory(_, Some(gone)) if expired(*gone)))
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { files: self.listing.len(), unread: self.unread, ..Tally::default() };
        for filed in self.files.values() {
            match filed {
                Filed::Memory(asset, gone) => {
                    tally.in_memory += 1;
                    tally.immutable += usize::from(asset.freshness == Freshness::Immutable);
                    tally.kept += usize::from(gone.is_some());
                    tally.bytes += asset.bytes();
                }
                Filed::Disk(_) => tally.immutable += 1,
            }
        }
        tally
    }
}

/// What an index is made of.
pub(super) struct Making<'a> {
    pub(super) mount: &'a Mount,
    /// The index before this one, and whether it was made on the same terms.
    pub(super) before: Option<(&'a Index, bool)>,
    /// How many bytes it may take.
    pub(super) room: u64,
    pub(super) now: Instant,
}

/// The state of the making.
struct Maker<'a> {
    making: &'a Making<'a>,
    root: &'a Root,
    hashed: Hashed,
    room: u64,
    files: HashMap<Box<[u8]>, Filed>,
    unread: usize,
}

impl Making<'_> {
    /// Reads what has changed, takes over what has not.
    pub(super) fn make(&self, root: Root, listing: Listing) -> Index {
        let hashed = manifests(&root);
        let mut maker =
            Maker { making: self, root: &root, hashed, room: self.room, files: HashMap::new(), unread: 0 };
        let mut order: Vec<_> = listing.iter().filter(|(path, _)| !is_sibling(path, &listing)).collect();
        // Where not all of them fit, many small ones are worth more than few large ones.
        order.sort_by_key(|(_, stamp)| stamp.size);
        let (mut told, mut read) = (Instant::now(), 0_u64);
        for (place, (path, stamp)) in order.iter().enumerate() {
            maker.add(path, *stamp);
            read += stamp.size;
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let prefix = &self.mount.prefix;
                tracing::info!(%prefix, files = place + 1, of = order.len(), bytes = read, "reading files");
            }
        }
        maker.keep_vanished();
        Index { files: maker.files, unread: maker.unread, root, listing }
    }
}

impl Maker<'_> {
    fn add(&mut self, path: &[u8], listed: Stamp) {
        if let Some(asset) = self.unchanged(path, &listed) {
            self.take_siblings(path, &asset);
            return self.put(path, asset, None);
        }
        match self.root.file(path) {
            Ok(opened) if opened.stamp.size <= self.making.mount.max_file.min(self.room) => {
                self.read(path, opened)
            }
            Ok(opened) => self.leave(path, opened),
            Err(refusal) => {
                tracing::warn!(path = %path.escape_ascii(), ?refusal, "a listed file can't be opened")
            }
        }
    }

    /// The asset that was made of the file in this state, on the same terms.
    fn unchanged(&self, path: &[u8], listed: &Stamp) -> Option<Arc<Asset>> {
        let (before, true) = self.making.before? else { return None };
        let asset = before.asset(path)?;
        let immutable = asset.freshness == Freshness::Immutable;
        let same = asset.stamp == *listed && (immutable || !self.hashed.has(path));
        same.then(|| Arc::clone(asset))
    }

    fn read(&mut self, path: &[u8], opened: Opened) {
        let Opened { file, stamp } = opened;
        let body = match read(file, stamp.size) {
            Ok(body) => body,
            Err(error) => return self.pass_over(path, &error),
        };
        let immutable = self.hashed.has(path) || is_named_by(path, || md5_of(&body));
        let freshness = self.freshness(immutable);
        let asset = Asset::new(self.making.mount, path, stamp, digest(&body), freshness, body);
        if let Some(before) = self.making.before.and_then(|(before, _)| before.asset(path)) {
            asset.adopt(before);
        }
        self.take_siblings(path, &asset);
        self.put(path, Arc::new(asset), None);
    }

    /// It is looked for on disk when it is asked for. Links that lead out of the root are many where there is one.
    fn pass_over(&mut self, path: &[u8], why: &dyn std::fmt::Display) {
        tracing::debug!(path = %path.escape_ascii(), %why, "a listed file can't be read");
        self.unread += 1;
    }

    /// Takes the compressed variants that lie beside the file.
    fn take_siblings(&self, path: &[u8], asset: &Asset) {
        for coding in Coding::ALL.into_iter().filter(|coding| asset.wants(*coding)) {
            let sibling = [path, coding.suffix().as_bytes()].concat();
            let Ok(Opened { file, stamp }) = self.root.file(&sibling) else { continue };
            let plain = &asset.plain().body;
            if stamp.size >= plain.len() as u64 {
                continue;
            }
            match read(file, stamp.size) {
                Ok(packed) if precompress::is_of(&packed, coding, plain) => asset.put(coding, Some(packed)),
                _ => {
                    tracing::warn!(path = %sibling.escape_ascii(), "not compressed from the file beside it: left alone")
                }
            }
        }
    }

    fn put(&mut self, path: &[u8], asset: Arc<Asset>, gone: Option<Instant>) {
        self.room = self.room.saturating_sub(asset.bytes());
        self.files.insert(path.into(), Filed::Memory(asset, gone));
    }

    /// The file stays on disk; all that is remembered is that it is named by its content.
    fn leave(&mut self, path: &[u8], opened: Opened) {
        let Opened { file, stamp } = opened;
        if self.hashed.has(path) || is_named_by(path, || md5_of_file(file)) {
            self.files.insert(path.into(), Filed::Disk(stamp));
        }
    }

    fn freshness(&self, immutable: bool) -> Freshness {
        match (self.making.mount.internal, immutable) {
            (true, _) => Freshness::Private,
            (false, true) => Freshness::Immutable,
            (false, false) => Freshness::For(self.making.mount.max_age),
        }
    }

    /// Keeps what has vanished and is named by its content: first what vanished last, as far as there is room.
    fn keep_vanished(&mut self) {
        let Some((before, true)) = self.making.before else { return };
        let now = self.making.now;
        let mut vanished: Vec<_> = before
            .files
            .iter()
            .filter_map(|(path, filed)| match filed {
                Filed::Memory(asset, gone) => Some((path, asset, gone.unwrap_or(now))),
                Filed::Disk(_) => None,
            })
            .filter(|(path, asset, gone)| {
                let young = now.duration_since(*gone) < self.making.mount.keep;
                young && asset.freshness == Freshness::Immutable && !self.files.contains_key(*path)
            })
            .collect();
        vanished.sort_by_key(|(_, asset, gone)| (std::cmp::Reverse(*gone), asset.bytes()));
        for (path, asset, gone) in vanished {
            if asset.bytes() <= self.room {
                self.put(path, Arc::clone(asset), Some(gone));
            }
        }
    }
}

/// Reads the manifests. One that is not there, or is something else, vouches for nothing.
fn manifests(root: &Root) -> Hashed {
    let mut hashed = Hashed::default();
    let mut take = |path: &str, add: fn(&mut Hashed, &[u8]) -> Result<(), hashed::NotAManifest>| {
        let Ok(opened) = root.file(path.as_bytes()) else { return };
        let taken = read(opened.file, opened.stamp.size).map(|json| add(&mut hashed, &json));
        match taken {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(path, %error, "left alone"),
            Err(error) => tracing::warn!(path, %error, "can't be read"),
        }
    };
    take(hashed::STATICFILES, Hashed::add_staticfiles);
    take(hashed::COMPRESSOR, Hashed::add_compressor);
    hashed
}

/// Whether it is the compressed variant of another file in the listing, which is sorted.
fn is_sibling(path: &[u8], listing: &Listing) -> bool {
    let originals =
        Coding::ALL.into_iter().filter_map(|coding| path.strip_suffix(coding.suffix().as_bytes()));
    let mut found = originals.filter(|original| {
        let compressible = kind::is_compressible(&kind::content_type(original));
        compressible && listing.binary_search_by(|(path, _)| path.as_ref().cmp(original)).is_ok()
    });
    found.next().is_some()
}

/// Whether the name carries the hash that the content has.
fn is_named_by(path: &[u8], md5: impl FnOnce() -> Option<String>) -> bool {
    let Some(digits) = hashed::digits(path) else { return false };
    md5().is_some_and(|md5| md5.as_bytes().starts_with(digits))
}

fn md5_of(body: &Bytes) -> Option<String> {
    Some(hex(&md5::Md5::digest(body)))
}

fn md5_of_file(mut file: File) -> Option<String> {
    let (mut md5, mut piece) = (md5::Md5::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hex(&md5.finalize())),
            read => md5.update(&piece[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(body: &[u8]) -> Digest {
    let whole = Sha256::digest(body);
    std::array::from_fn(|place| whole[place])
}

/// Reads a file whose size was capped. One that has grown or shrunk since is being written; the next look finds it again.
fn read(file: File, size: u64) -> io::Result<Bytes> {
    let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(size + 1).read_to_end(&mut body)?;
    if body.len() as u64 != size {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "it changed while it was read"));
    }
    body.shrink_to_fit();
    Ok(body.into())
}
