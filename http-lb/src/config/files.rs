//! Folders that are served by http-lb itself. Kind: pure.

use std::path::PathBuf;
use std::time::Duration;

use proxy_core::config::{Size, duration};
use serde::{Deserialize, Serialize};

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
    /// Earlier versions of the folder, whose content-hashed files are served, too, while pages of theirs are about.
    #[serde(default)]
    pub previous: Vec<PathBuf>,
    /// For these hosts only; for all if there is none.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// How files are found.
    #[serde(default)]
    pub lookup: Lookup,
    /// Paths beneath the prefix that are never served.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Only what an application names by `X-Accel-Redirect` is served.
    #[serde(default)]
    pub internal: bool,
    /// The cluster that answers for what isn't there; 404 if absent.
    #[serde(default)]
    pub fallback: Option<String>,
    /// How long browsers may keep files whose names carry no hash of their content; the others are kept for good.
    #[serde(default = "an_hour", with = "duration")]
    pub max_age: Duration,
    /// What is held in memory at most; files beyond it come from the disk.
    #[serde(default = "memory")]
    pub memory: Size,
    /// A larger file comes from the disk.
    #[serde(default = "largest")]
    pub memory_per_file: Size,
    /// Whether `.br`, `.zst` and `.gz` are made for what can be compressed and has none.
    #[serde(default = "yes")]
    pub precompress: bool,
    /// Header fields of every answer.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// Whether requests for files are in the access log.
    #[serde(default)]
    pub log: bool,
}

/// How files are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// In an index that is made at the start and at each reload: what `collectstatic` leaves.
    #[default]
    Indexed,
    /// On the disk, at each request: what an application adds to while it runs.
    Live,
}

impl Files {
    /// By what routes name it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.prefix)
    }
}

const fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

const fn memory() -> Size {
    Size::new(256 << 20)
}

const fn largest() -> Size {
    Size::new(4 << 20)
}

const fn yes() -> bool {
    true
}
