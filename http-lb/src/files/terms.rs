//! Which folders are served, where, and on which terms. Kind: pure.

use std::path::PathBuf;
use std::time::Duration;

use super::coding::Coding;

/// All that a [`Site`](super::Site) is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The mounts; a [`MountId`] is a place in here.
    pub mounts: Vec<Mount>,
    /// How many bytes all preloaded files, their compressed variants included, may take.
    pub memory: u64,
    /// How often preloaded folders are looked at for changes. Zero: only when a new configuration is taken.
    pub poll: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { mounts: Vec::new(), memory: 256 << 20, poll: Duration::from_secs(2) }
    }
}

/// Which of the mounts: its place in [`Terms::mounts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountId(pub usize);

/// A prefix of the path, and the folder behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it begins: `/static/`.
    pub prefix: String,
    /// The folder.
    pub root: PathBuf,
    /// Whether its files are indexed at the start and kept in memory.
    pub preload: bool,
    /// The largest file that is kept in memory.
    pub max_file: u64,
    /// How long clients may use a file without asking again; files named by their content are used for ever.
    pub max_age: Duration,
    /// How long a preloaded file that is named by its content is served after it has vanished from disk: pages that were
    /// made before a deploy still ask for it.
    pub keep: Duration,
    /// Which variants of preloaded files are made where they don't lie on disk.
    pub precompress: Vec<Coding>,
    /// Whether compressed siblings (`app.css.br`) are looked for when a file is served from disk.
    pub siblings: bool,
    /// Whether symbolic links are followed; never out of the root.
    pub symlinks: bool,
    /// Whether only the application may send clients here, by `X-Accel-Redirect`.
    pub internal: bool,
    /// What begins like this, beneath the mount, is not there for anybody: `cachedfiles`, `invoices`.
    pub denied: Vec<String>,
    /// If any are given: what doesn't begin like one of these, beneath the mount, is not there for anybody.
    pub only: Vec<String>,
    /// What stands for a folder: `index.html`, if anything.
    pub index: Option<String>,
    /// Where to look instead, one after the other; empty: just the path itself.
    pub candidates: Vec<Candidate>,
    /// What browsers are told to save instead of showing it.
    pub attachments: Attachments,
    /// Fields added to every answer, such as `access-control-allow-origin`.
    pub fields: Vec<(String, String)>,
}

/// A place to look for a file (`try_files`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// `$uri`, or `$uri.html`: the path with this behind it.
    Path(String),
    /// `/offline.html`: this path beneath the mount, whatever was asked for.
    Fixed(String),
}

/// Which files browsers are told to save (`Content-Disposition: attachment`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachments {
    /// None: for files of our own.
    Never,
    /// What a browser might run in the shop's name: HTML, SVG, XML, scripts and what is of unknown type. For what users upload.
    Active,
    /// All.
    Always,
}

/// Why a mount can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMount(pub &'static str);

impl Mount {
    /// Files of the application's own: preloaded, compressed, small ages for names that don't tell their content.
    pub fn assets(prefix: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self {
            prefix: prefix.into(),
            root: root.into(),
            preload: true,
            max_file: 4 << 20,
            max_age: Duration::from_secs(600),
            keep: Duration::from_secs(24 * 3600),
            precompress: Coding::ALL.to_vec(),
            siblings: true,
            symlinks: false,
            internal: false,
            denied: Vec::new(),
            only: Vec::new(),
            index: None,
            candidates: Vec::new(),
            attachments: Attachments::Never,
            fields: Vec::new(),
        }
    }

    /// Files that users have uploaded: from disk, never run in the shop's name.
    pub fn media(prefix: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self {
            preload: false,
            max_age: Duration::from_secs(7 * 24 * 3600),
            siblings: false,
            attachments: Attachments::Active,
            ..Self::assets(prefix, root)
        }
    }

    /// Says what no field alone can tell.
    pub fn check(&self) -> Result<(), BadMount> {
        let prefix = self.prefix.as_bytes();
        if prefix.first() != Some(&b'/') || prefix.last() != Some(&b'/') {
            // An alias without the slash serves `/static../` from the folder above: nginx' best known trap.
            return Err(BadMount("a prefix begins and ends with a slash, such as \"/static/\""));
        }
        if self.prefix.contains("//") || self.prefix.split('/').any(|part| part == "." || part == "..") {
            return Err(BadMount("a prefix is a plain path, without \"//\", \".\" or \"..\""));
        }
        let plain = |path: &String| !path.is_empty() && !path.starts_with('/');
        if !self.denied.iter().chain(&self.only).chain(&self.index).all(plain) {
            return Err(BadMount("paths beneath a mount are given without a slash at their beginning"));
        }
        let legal = |(name, value): &(String, String)| is_name(name) && is_value(value);
        if !self.fields.iter().all(legal) {
            return Err(BadMount(
                "a field has a name of letters, digits and hyphens, and a value of visible characters",
            ));
        }
        if self.fields.iter().any(|(name, _)| is_ours(name)) {
            return Err(BadMount(
                "a file's own fields follow from max_age, attachments and the like: give others here",
            ));
        }
        Ok(())
    }
}

/// What answers say by themselves, each once, or what is the codec's to say.
const OURS: [&str; 16] = [
    "accept-ranges",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
];

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl std::str::FromStr for Candidate {
    type Err = BadMount;

    fn from_str(text: &str) -> Result<Self, BadMount> {
        if let Some(suffix) = text.strip_prefix("$uri") {
            return Ok(Self::Path(suffix.to_owned()));
        }
        let fixed = text.strip_prefix('/').filter(|path| !path.is_empty());
        fixed
            .map(|path| Self::Fixed(path.to_owned()))
            .ok_or(BadMount("expected \"$uri\", \"$uri.html\" or \"/a/file.html\""))
    }
}

impl std::str::FromStr for Coding {
    type Err = BadMount;

    fn from_str(text: &str) -> Result<Self, BadMount> {
        let known = Self::ALL.into_iter().find(|coding| coding.token() == text);
        known.ok_or(BadMount("expected \"br\", \"zstd\" or \"gzip\""))
    }
}
