//! Making an index: what has changed is read, what has not is taken over. Kind: driver.

use std::cmp::Reverse;
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
use super::index::{Filed, Index};
use super::kind;
use super::precompress;
use super::stamp::Stamp;
use super::terms::Mount;
use super::walk::Listing;

/// How often a long indexing says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// How much of a file that stays on disk is read at a time, to see its hash.
const PIECE: usize = 64 << 10;

/// The hash of a larger file is not looked at: it is asked for again after its age.
const LARGEST_HASHED: u64 = 64 << 20;

/// A larger manifest vouches for nothing. Pretix' has 200 KiB.
const LARGEST_MANIFEST: u64 = 16 << 20;

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
    /// One file of each content: Django's `collectstatic` leaves most files twice, with and without the hash.
    twins: HashMap<Digest, Arc<Asset>>,
    unread: usize,
}

impl Making<'_> {
    /// Reads what has changed, takes over what has not.
    pub(super) fn make(&self, root: Root, listing: Listing) -> Index {
        let hashed = manifests(&root);
        let mut maker = Maker::new(self, &root, hashed);
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

impl<'a> Maker<'a> {
    fn new(making: &'a Making<'a>, root: &'a Root, hashed: Hashed) -> Self {
        let (files, twins) = (HashMap::new(), HashMap::new());
        Self { making, root, hashed, room: making.room, files, twins, unread: 0 }
    }

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
        let digest = digest(&body);
        let twin = self.twins.get(&digest);
        let body = twin.map_or(body, |twin| twin.plain().body.clone());
        let asset = Asset::new(self.making.mount, path, stamp, digest, freshness, body);
        let before = self.making.before.and_then(|(before, _)| before.asset(path));
        for other in twin.into_iter().chain(before) {
            asset.adopt(other);
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
        let body = if self.twins.contains_key(&asset.digest) { 0 } else { asset.body_bytes() };
        self.room = self.room.saturating_sub(asset.field_bytes() + body);
        self.twins.entry(asset.digest).or_insert_with(|| Arc::clone(&asset));
        self.files.insert(path.into(), Filed::Memory(asset, gone));
    }

    /// The file stays on disk; all that is remembered is whether it is named by its content.
    fn leave(&mut self, path: &[u8], opened: Opened) {
        let Opened { file, stamp } = opened;
        let known = self.making.before.and_then(|(before, _)| before.is_immutable(path, &stamp));
        let named = || stamp.size <= LARGEST_HASHED && is_named_by(path, || md5_of_file(file));
        let immutable = self.hashed.has(path) || known.unwrap_or_else(named);
        self.files.insert(path.into(), Filed::Disk(stamp, immutable));
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
        let Making { now, mount, .. } = *self.making;
        let vanished = before.files.iter().filter_map(|(path, filed)| match filed {
            Filed::Memory(asset, gone) => Some((path, asset, gone.unwrap_or(now))),
            Filed::Disk(..) => None,
        });
        let mut vanished: Vec<_> = vanished.filter(|(path, ..)| !self.files.contains_key(*path)).collect();
        vanished.retain(|(_, asset, gone)| {
            asset.freshness == Freshness::Immutable && now.duration_since(*gone) < mount.keep
        });
        vanished.sort_by_key(|(_, asset, gone)| (Reverse(*gone), asset.stamp.size));
        for (path, asset, gone) in vanished {
            if asset.field_bytes() + asset.body_bytes() <= self.room {
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
        if opened.stamp.size > LARGEST_MANIFEST {
            return tracing::warn!(path, size = opened.stamp.size, "too large for a manifest: left alone");
        }
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
