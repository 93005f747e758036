//! One mount while it is served: its index, and how a path is looked up in it and beneath its root. Kind: driver.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::answer::Answer;
use super::asset::{Asset, Variant};
use super::coding::{self, Coding};
use super::compose::{self, Blocks, Source};
use super::conditional::Validators;
use super::disk::{Opened, Refusal, Root};
use super::heading::{self, Freshness, Heading, Kept};
use super::index::{Index, Tally};
use super::kind;
use super::making::Making;
use super::terms::{Candidate, Mount};
use super::walk;
use super::wants::{self, Verb, Wants};

/// One mount while it is served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) mount: Mount,
    /// Swapped as one when the folder has changed.
    pub(super) index: ArcSwap<Index>,
}

/// A request on its way through a mount.
struct Search<'a> {
    mount: &'a Mount,
    index: &'a Index,
    wants: &'a Wants<'a>,
    /// What holds instead of the file's own fields.
    kept: Option<Kept>,
    now: u64,
}

impl Served {
    /// Opens the folder, and reads what is to be in memory.
    pub(super) fn open(mount: Mount, before: Option<&Self>, room: u64, now: Instant) -> io::Result<Self> {
        let root = Root::open(&mount.root, mount.symlinks)?;
        let index = if mount.preload {
            let started = Instant::now();
            let before = before.map(|served| (served.index.load_full(), served.mount == mount));
            let before = before.as_ref().map(|(index, alike)| (index.as_ref(), *alike));
            let (listing, unread) = walk::list(&mount.root, mount.symlinks);
            let index = Making { mount: &mount, before, room, now }.make(root, listing);
            tell(&mount, &index.tally(), unread, started);
            index
        } else {
            Index::bare(root)
        };
        Ok(Self { mount, index: ArcSwap::from_pointee(index) })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.index.load().bytes()
    }

    pub(super) fn tally(&self) -> Tally {
        self.index.load().tally()
    }

    /// Answers a client.
    pub(super) fn answer(&self, wants: &Wants<'_>, path: &[u8], now: u64) -> Answer {
        let index = self.index.load();
        Search { mount: &self.mount, index: &index, wants, kept: None, now }.run(path)
    }

    /// Answers in the name of the application.
    pub(super) fn accel(&self, wants: &Wants<'_>, path: &[u8], kept: Kept, now: u64) -> Answer {
        let index = self.index.load();
        Search { mount: &self.mount, index: &index, wants, kept: Some(kept), now }.run(path)
    }
}

/// Says what is served now.
pub(super) fn tell(mount: &Mount, tally: &Tally, unlisted: usize, started: Instant) {
    let Tally { files, in_memory, immutable, kept, bytes, .. } = *tally;
    let (prefix, took_ms) = (&mount.prefix, started.elapsed().as_millis());
    tracing::info!(%prefix, files, in_memory, immutable, kept, bytes, took_ms, "files are indexed");
    let unread = unlisted + tally.unread;
    if unread > 0 {
        tracing::warn!(%prefix, unread, "some files can't be read, lead out of the folder, or are too many");
    }
}

impl Search<'_> {
    fn run(&self, path: &[u8]) -> Answer {
        if self.mount.candidates.is_empty() {
            return self.look(path);
        }
        for candidate in &self.mount.candidates {
            let answer = match candidate {
                Candidate::Path(suffix) => self.look(&[path, suffix.as_bytes()].concat()),
                Candidate::Fixed(path) => self.look(path.as_bytes()),
            };
            if !matches!(answer, Answer::Missing) {
                return answer;
            }
        }
        Answer::Missing
    }

    /// Looks for one path: in memory, then on disk.
    fn look(&self, path: &[u8]) -> Answer {
        if self.is_denied(path) {
            return Answer::Denied;
        }
        if path.is_empty() || path.ends_with(b"/") {
            return match &self.mount.index {
                Some(name) => self.file(&[path, name.as_bytes()].concat()),
                None => Answer::Missing,
            };
        }
        self.file(path)
    }

    /// As nginx' `location ^~ /media/cachedfiles`: all that begins like that.
    fn is_denied(&self, path: &[u8]) -> bool {
        let begins = |prefix: &String| path.starts_with(prefix.as_bytes());
        let Mount { denied, only, .. } = self.mount;
        denied.iter().any(begins) || !(only.is_empty() || only.iter().any(begins))
    }

    fn file(&self, path: &[u8]) -> Answer {
        if let Some(asset) = self.index.asset(path) {
            return self.send_asset(asset);
        }
        match self.index.root.file(path) {
            Ok(_) if self.wants.verb == Verb::Other => Answer::NotAllowed,
            Ok(opened) => self.send_opened(path, opened),
            Err(Refusal::Folder) if self.mount.index.is_some() => self.send_to_folder(path),
            Err(Refusal::Folder | Refusal::Missing) => Answer::Missing,
            Err(Refusal::Failed(error)) => compose::failed(&error),
        }
    }

    fn send_asset(&self, asset: &Asset) -> Answer {
        if self.wants.verb == Verb::Other {
            return Answer::NotAllowed;
        }
        let variant = asset.choose(self.wants.accept_encoding);
        let validators = Validators { etag: &variant.etag, modified: asset.stamp.modified };
        self.send(&validators, variant, Source::Memory(variant.body.clone()))
    }

    fn send_opened(&self, path: &[u8], opened: Opened) -> Answer {
        let content_type = kind::content_type(path);
        let varies = self.mount.siblings && kind::is_compressible(&content_type);
        let freshness = self.freshness(path, &opened);
        let sibling = if varies { self.sibling(path, &opened) } else { None };
        let (coding, Opened { file, stamp }) =
            sibling.map_or((None, opened), |(coding, opened)| (Some(coding), opened));
        let etag = stamp.etag(coding.map(Coding::token));
        let (etag, modified) = (etag.as_bytes(), stamp.modified);
        let extra = heading::extra(self.mount, &content_type);
        let heading =
            Heading { content_type: &content_type, freshness, etag, modified, coding, varies, extra: &extra };
        self.send(&Validators { etag, modified }, &heading, Source::Disk(Arc::new(file), stamp.size))
    }

    fn freshness(&self, path: &[u8], opened: &Opened) -> Freshness {
        if self.mount.internal {
            Freshness::Private
        } else if self.index.is_immutable(path, &opened.stamp) == Some(true) {
            Freshness::Immutable
        } else {
            Freshness::For(self.mount.max_age)
        }
    }

    /// The compressed variant beside the file that the client likes best. One that is older than the file is not of it.
    fn sibling(&self, path: &[u8], original: &Opened) -> Option<(Coding, Opened)> {
        let accept = self.wants.accept_encoding?;
        let mut siblings = Coding::ALL.map(|coding| {
            let opened = self.index.root.file(&[path, coding.suffix().as_bytes()].concat()).ok()?;
            let age = |opened: &Opened| (opened.stamp.modified, opened.stamp.nanoseconds);
            (age(&opened) >= age(original) && opened.stamp.size < original.stamp.size).then_some(opened)
        });
        let sizes = siblings.each_ref().map(|sibling| sibling.as_ref().map(|opened| opened.stamp.size));
        let chosen = coding::choose(Some(accept), sizes)?;
        Some((chosen, siblings[chosen.index()].take()?))
    }

    fn send(&self, validators: &Validators<'_>, blocks: &impl Blocks, source: Source) -> Answer {
        let plan = wants::plan(self.wants, validators, source.length(), self.now);
        match &self.kept {
            None => compose::compose(plan, self.wants.verb, validators.etag, blocks, source),
            Some(kept) => {
                let blocks = Overlaid { blocks, kept };
                compose::compose(plan, self.wants.verb, validators.etag, &blocks, source)
            }
        }
    }

    /// The folder has a slash behind it: what its page links is relative to that.
    fn send_to_folder(&self, path: &[u8]) -> Answer {
        let fields = heading::to_folder(&self.mount.prefix, path);
        Answer::Memory { status: 301, fields: fields.into(), length: Some(0), body: Bytes::new() }
    }
}

impl Blocks for Variant {
    fn found(&self) -> Bytes {
        self.found.clone()
    }

    fn unchanged(&self) -> Bytes {
        self.unchanged.clone()
    }
}

impl Blocks for Heading<'_> {
    fn found(&self) -> Bytes {
        Heading::found(self).into()
    }

    fn unchanged(&self) -> Bytes {
        Heading::unchanged(self).into()
    }
}

/// Blocks over which the application's own fields are laid.
struct Overlaid<'a, B> {
    blocks: &'a B,
    kept: &'a Kept,
}

impl<B: Blocks> Blocks for Overlaid<'_, B> {
    fn found(&self) -> Bytes {
        heading::overlay(&self.blocks.found(), self.kept).into()
    }

    fn unchanged(&self) -> Bytes {
        heading::overlay(&self.blocks.unchanged(), self.kept).into()
    }
}
