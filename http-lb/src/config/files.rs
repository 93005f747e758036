//! Folders that are served by http-lb itself. Kind: pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proxy_core::config::{Size, duration, optional_duration};
use serde::{Deserialize, Serialize};

use super::edge::Algorithm;
use super::pattern::HostPattern;

/// A folder, and where it appears. Its prefix is a route by itself; a longer route goes before it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Its name in routes; the prefix if absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it appears, such as `/static/`.
    pub prefix: String,
    /// The folder.
    pub root: PathBuf,
    /// For these hosts only; for all if there is none.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// Whose files these are.
    #[serde(default)]
    pub kind: Kind,
    /// What begins like this, beneath the prefix, is never served.
    #[serde(default)]
    pub deny: Vec<String>,
    /// If any are given: only what begins like one of these, beneath the prefix, is served.
    #[serde(default)]
    pub only: Vec<String>,
    /// Only what an application names by `X-Accel-Redirect` is served.
    #[serde(default)]
    pub internal: bool,
    /// What stands for a folder, such as `index.html`; nothing if absent.
    #[serde(default)]
    pub index: Option<String>,
    /// Where to look, one after the other: `$uri`, `$uri.html`, or the path of a file beneath the prefix.
    #[serde(default)]
    pub try_files: Vec<String>,
    /// The cluster that answers for what isn't there; 404 if absent.
    #[serde(default)]
    pub fallback: Option<String>,
    /// How long browsers may keep files whose names carry no hash of their content (the others are kept for good): 10
    /// minutes for assets, 7 days for media, if absent.
    #[serde(default, with = "optional_duration")]
    pub max_age: Option<Duration>,
    /// How long a file with such a name is served after it has vanished from the folder; a day if absent.
    #[serde(default, with = "optional_duration")]
    pub keep: Option<Duration>,
    /// A larger file comes from the disk; 4MiB if absent.
    #[serde(default)]
    pub max_file: Option<Size>,
    /// The variants that are made of assets that have none on disk; all if absent.
    #[serde(default)]
    pub precompress: Option<Vec<Algorithm>>,
    /// Whether symbolic links are followed, though never out of the folder.
    #[serde(default)]
    pub symlinks: bool,
    /// What browsers are told to save instead of showing it: `never` for assets, `active` for media, if absent.
    #[serde(default)]
    pub attachments: Option<Attachments>,
    /// Header fields of every answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether requests for files are in the access log.
    #[serde(default)]
    pub log: bool,
}

/// Whose files they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The application's own, as `collectstatic` leaves them: indexed at the start, and in memory where they fit.
    #[default]
    Assets,
    /// Its users': from the disk, at each request, and never run in the shop's name.
    Media,
}

/// What browsers are told to save (`Content-Disposition: attachment`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attachments {
    /// Nothing.
    Never,
    /// What a browser might run in the shop's name: HTML, SVG, XML, scripts.
    Active,
    /// Everything.
    Always,
}

/// What the files of all folders take of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileMemory {
    /// At most, compressed variants included; further files come from the disk.
    pub max: Size,
    /// How often the folders of assets are looked at for changes; 0s: only when the configuration is loaded.
    #[serde(with = "duration")]
    pub poll: Duration,
}

impl Default for FileMemory {
    fn default() -> Self {
        Self { max: Size::new(256 << 20), poll: Duration::from_secs(2) }
    }
}

impl Files {
    /// By what routes name it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.prefix)
    }
}
