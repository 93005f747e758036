//! What an operator may tell http-lb. Every key has a default that serves Pretix on gunicorn, a unit where it has one,
//! and a reason to be turned. Kind: pure.
//!
//! A profile fills in what was left out while the configuration is read, so that everybody else, `--check` included,
//! sees the settings as they take effect.

use std::path::PathBuf;

use proxy_core::config::{Invalid, Settings};
use proxy_core::net::SocketOptions;
use proxy_core::tls::HostsTlsSettings;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod access_log;
mod check;
mod cluster;
mod edge;
mod files;
mod limits;
mod listener;
mod pattern;
mod profile;
mod route;
#[cfg(test)]
mod tests;

pub use self::access_log::{AccessLog, Destination, Format};
pub use self::cluster::{
    Check, CheckKind, Cluster, Ejection, Keepalive, Policy, Queue, Resolution, Retries, Sticky, Target,
    Upstream,
};
pub use self::edge::{Algorithm, Client, Compression, Https, Maintenance, Pages, RateLimit};
pub use self::files::{Attachments, FileMemory, Files, Kind};
pub use self::limits::{Buffers, Http2, Limits, Timeouts};
pub use self::listener::Listener;
pub use self::pattern::{HostPattern, Key, PathPattern};
pub use self::profile::Profile;
pub use self::route::{
    BasicAuth, Class, ErrorStyle, HeaderRules, Redirect, Respond, Rewrite, Route, RouteTimeouts, Rule,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct Config {
    /// Threads that carry clients; 0 = as many as there are processors.
    pub workers: usize,
    /// A set of defaults for an application.
    pub profile: Option<Profile>,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Encryption towards clients; its `certificates` are shown by the names within.
    pub tls: Option<HostsTlsSettings>,
    /// From http to https.
    pub https: Https,
    /// Who clients are.
    pub client: Client,
    /// The replicas of the applications.
    pub clusters: Vec<Cluster>,
    /// Folders that are served by http-lb itself.
    pub files: Vec<Files>,
    /// What these take of the memory.
    pub file_memory: FileMemory,
    /// Which request goes where; without any, all that is no file goes to the first cluster.
    pub routes: Vec<Route>,
    /// How much requests matter, the most important class first.
    pub classes: Vec<Class>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What one client may take.
    pub limits: Limits,
    /// Where bodies wait.
    pub buffers: Buffers,
    /// HTTP/2 towards clients.
    pub http2: Http2,
    /// Rates that routes refer to.
    pub rate_limits: Vec<RateLimit>,
    /// Compression on the fly.
    pub compression: Compression,
    /// What is shown where the application can't.
    pub pages: Pages,
    /// The shop is closed for a while.
    pub maintenance: Maintenance,
    /// One line for each request.
    pub access_log: AccessLog,
    /// What every TCP connection gets, on both sides.
    pub sockets: SocketOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 0,
            profile: None,
            listeners: vec![Listener::default()],
            tls: None,
            https: Https::default(),
            client: Client::default(),
            clusters: Vec::new(),
            files: Vec::new(),
            file_memory: FileMemory::default(),
            routes: Vec::new(),
            classes: Vec::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            buffers: Buffers::default(),
            http2: Http2::default(),
            rate_limits: Vec::new(),
            compression: Compression::default(),
            pages: Pages::default(),
            maintenance: Maintenance::default(),
            access_log: AccessLog::default(),
            sockets: SocketOptions::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer).map(profile::applied)
    }
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl Settings for Config {
    fn check(&self) -> Result<(), Invalid> {
        check::all(self)
    }

    fn files(&self) -> Vec<PathBuf> {
        let tls = self.tls.iter().flat_map(HostsTlsSettings::files);
        let passwords = self.routes.iter().filter_map(|route| route.basic_auth.as_ref());
        let upstream = self.clusters.iter().filter_map(|cluster| cluster.tls.as_ref());
        tls.chain(passwords.map(|auth| auth.file.clone()))
            .chain(upstream.flat_map(|tls| tls.files().collect::<Vec<_>>()))
            .collect()
    }
}

impl Config {
    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> Option<usize> {
        self.clusters.iter().position(|cluster| cluster.name == name)
    }

    /// The folder of that name (or, without one, of that prefix).
    pub fn folder(&self, name: &str) -> Option<usize> {
        self.files.iter().position(|files| files.name() == name)
    }

    /// The rate limit of that name.
    pub fn rate_limit(&self, name: &str) -> Option<usize> {
        self.rate_limits.iter().position(|limit| limit.name == name)
    }

    /// The names of the classes, the most important first; never empty.
    pub fn class_names(&self) -> Vec<&str> {
        match self.classes.is_empty() {
            true => vec!["default"],
            false => self.classes.iter().map(|class| class.name.as_str()).collect(),
        }
    }

    /// The class of what no rule speaks of: the one without rules, else the last.
    pub fn fallback_class(&self) -> usize {
        let without_rules = self.classes.iter().position(|class| class.rules.is_empty());
        without_rules.unwrap_or(self.classes.len().saturating_sub(1))
    }
}
