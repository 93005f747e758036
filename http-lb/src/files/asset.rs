//! A file in memory: its bytes, and the fields of its answers, once per content coding. Kind: pure.

use std::fmt::Write;
use std::sync::OnceLock;

use bytes::Bytes;

use super::coding::{self, Coding};
use super::heading::{self, Freshness, Heading};
use super::kind;
use super::stamp::Stamp;
use super::terms::Mount;

/// The beginning of the SHA-256 of a file: enough to tell any two of them apart.
pub(super) type Digest = [u8; 12];

/// A file in memory. Its compressed variants may come later; once there, one stays.
#[derive(Debug)]
pub(super) struct Asset {
    /// The state of the file on disk that was read.
    pub(super) stamp: Stamp,
    /// What tells its content.
    pub(super) digest: Digest,
    /// How long it may be used.
    pub(super) freshness: Freshness,
    content_type: String,
    extra: Vec<u8>,
    compressible: bool,
    plain: Variant,
    /// `None` inside: it was tried and is not worth it.
    coded: [OnceLock<Option<Variant>>; Coding::ALL.len()],
}

/// A file in one coding, ready to be sent.
#[derive(Debug)]
pub(super) struct Variant {
    /// Its entity tag, quotes included. Each coding has its own, as a part of one is no part of another.
    pub(super) etag: Bytes,
    /// The block of a 200.
    pub(super) found: Bytes,
    /// The block of a 304.
    pub(super) unchanged: Bytes,
    /// Its bytes.
    pub(super) body: Bytes,
}

impl Asset {
    /// The file at `path` beneath this mount, with this content.
    pub(super) fn new(
        mount: &Mount,
        path: &[u8],
        stamp: Stamp,
        digest: Digest,
        freshness: Freshness,
        body: Bytes,
    ) -> Self {
        let content_type = kind::content_type(path);
        let extra = heading::extra(mount, &content_type);
        let compressible = kind::is_compressible(&content_type);
        let plain = Variant::new(&content_type, freshness, stamp, &digest, None, compressible, &extra, body);
        let coded = Default::default();
        Self { stamp, digest, freshness, content_type, extra, compressible, plain, coded }
    }

    /// The variant that a client likes best.
    pub(super) fn choose(&self, accept_encoding: Option<&[u8]>) -> &Variant {
        if !self.compressible || accept_encoding.is_none() {
            return &self.plain;
        }
        let size = |coding: Coding| self.variant(coding).map(|variant| variant.body.len() as u64);
        let chosen = coding::choose(accept_encoding, Coding::ALL.map(size));
        chosen.and_then(|coding| self.variant(coding)).unwrap_or(&self.plain)
    }

    /// The file as it is.
    pub(super) fn plain(&self) -> &Variant {
        &self.plain
    }

    /// The variant in this coding, if there is one.
    pub(super) fn variant(&self, coding: Coding) -> Option<&Variant> {
        self.coded[coding.index()].get()?.as_ref()
    }

    /// Whether it is not known yet if a variant in this coding is worth it.
    pub(super) fn wants(&self, coding: Coding) -> bool {
        self.compressible && self.coded[coding.index()].get().is_none()
    }

    /// Adds a variant; `None` if it is not worth it. The first one stays.
    pub(super) fn put(&self, coding: Coding, body: Option<Bytes>) {
        let variant = |body| {
            let Self { content_type, freshness, stamp, digest, extra, .. } = self;
            Variant::new(content_type, *freshness, *stamp, digest, Some(coding), true, extra, body)
        };
        self.coded[coding.index()].get_or_init(|| body.map(variant));
    }

    /// Takes over what was made of the same content before.
    pub(super) fn adopt(&self, before: &Self) {
        for coding in Coding::ALL {
            if let (true, Some(tried)) = (before.digest == self.digest, before.coded[coding.index()].get()) {
                self.put(coding, tried.as_ref().map(|variant| variant.body.clone()));
            }
        }
    }

    /// How much memory its bytes take, in all codings. Files of the same content share them.
    pub(super) fn body_bytes(&self) -> u64 {
        self.variants().map(|variant| variant.body.len() as u64).sum()
    }

    /// How much memory its fields take, in all codings.
    pub(super) fn field_bytes(&self) -> u64 {
        self.variants()
            .map(|variant| (variant.etag.len() + variant.found.len() + variant.unchanged.len()) as u64)
            .sum()
    }

    fn variants(&self) -> impl Iterator<Item = &Variant> {
        Coding::ALL.into_iter().filter_map(|coding| self.variant(coding)).chain([&self.plain])
    }
}

impl Variant {
    #[allow(clippy::too_many_arguments, reason = "a heading, taken apart; both callers are above")]
    fn new(
        content_type: &str,
        freshness: Freshness,
        stamp: Stamp,
        digest: &Digest,
        coding: Option<Coding>,
        varies: bool,
        extra: &[u8],
        body: Bytes,
    ) -> Self {
        let etag = etag(digest, coding);
        let modified = stamp.modified;
        let heading =
            Heading { content_type, freshness, etag: etag.as_bytes(), modified, coding, varies, extra };
        let (found, unchanged) = (heading.found().into(), heading.unchanged().into());
        Self { found, unchanged, etag: etag.into(), body }
    }
}

fn etag(digest: &Digest, coding: Option<Coding>) -> String {
    let mut etag = String::with_capacity(32);
    etag.push('"');
    for byte in digest {
        let _ = write!(etag, "{byte:02x}"); // a text takes everything
    }
    if let Some(coding) = coding {
        etag.push('-');
        etag.push_str(coding.token());
    }
    etag.push('"');
    etag
}
