//! What happens at the edge, whatever the route: who clients are, https, rates, compression, pages. Kind: pure.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use proxy_core::config::{Size, duration, optional_duration};
use serde::{Deserialize, Serialize};

use super::pattern::{HostPattern, Key};

/// Who clients are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// Proxies in front of us whose `X-Forwarded-For`, `X-Forwarded-Proto`, request ids and traces are believed. The
    /// client is the rightmost address that none of them has. A unix socket is trusted if `unix` is.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those who come by a unix socket are such a proxy.
    pub trust_unix: bool,
    /// The header field with the id of a request, which is sent to the replica and returned to the client.
    pub request_id: String,
    /// Whether requests carry a `traceparent` (W3C Trace Context).
    pub traceparent: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            trust_unix: false,
            request_id: "x-request-id".to_owned(),
            traceparent: true,
        }
    }
}

/// From http to https.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Https {
    /// Whether requests that came in plain are sent there.
    pub redirect: bool,
    /// The hosts for which that is done; all others hear 421, for a target is never taken from a request.
    pub hosts: Vec<HostPattern>,
    /// The port there.
    pub port: u16,
    /// The status; 308 keeps the method (RFC 9110 15.4.9).
    pub status: u16,
    /// For how long browsers go there by themselves (`Strict-Transport-Security`, RFC 6797); not told if absent.
    #[serde(with = "optional_duration")]
    pub hsts: Option<Duration>,
}

impl Default for Https {
    fn default() -> Self {
        Self { redirect: false, hosts: Vec::new(), port: 443, status: 308, hsts: None }
    }
}

/// A rate that routes refer to: a bucket for each key, from which each request takes one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Its name in routes and metrics.
    pub name: String,
    /// So many requests …
    pub requests: u32,
    /// … in this time.
    #[serde(with = "duration")]
    pub per: Duration,
    /// So many at once; as many as `requests` if absent.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Whose requests are counted together.
    #[serde(default)]
    pub key: Key,
    /// How many keys are remembered; the one that was quiet longest is forgotten first.
    #[serde(default = "keys")]
    pub max_keys: usize,
}

const fn keys() -> usize {
    100_000
}

/// Compression on the fly, for answers that are whole in the buffer or whose type says that it helps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// What is offered, the preferred one first; a client's own preference goes before. None: no compression.
    pub algorithms: Vec<Algorithm>,
    /// The media types; `text/*` stands for all that begin so.
    pub types: Vec<String>,
    /// A smaller body is not worth it.
    pub min_size: Size,
    /// gzip's level, 1 to 9.
    pub gzip_level: u32,
    /// brotli's quality, 0 to 11.
    pub brotli_level: u32,
    /// zstd's level, 1 to 19.
    pub zstd_level: i32,
    /// Whether answers over TLS are compressed. An attacker who can make a page repeat a text of his beside a secret
    /// learns the secret from its length (BREACH). Django masks its CSRF token against that; where an application has
    /// other secrets in pages, turn this off, or `compress` of their routes.
    pub over_tls: bool,
}

impl Default for Compression {
    fn default() -> Self {
        let types = [
            "text/html",
            "text/css",
            "text/plain",
            "text/csv",
            "text/calendar",
            "text/javascript",
            "text/xml",
            "application/javascript",
            "application/json",
            "application/manifest+json",
            "application/xml",
            "application/rss+xml",
            "application/atom+xml",
            "image/svg+xml",
        ];
        Self {
            algorithms: vec![Algorithm::Br, Algorithm::Zstd, Algorithm::Gzip],
            types: types.map(str::to_owned).to_vec(),
            min_size: Size::new(1 << 10),
            gzip_level: 5,
            brotli_level: 4,
            zstd_level: 3,
            over_tls: true,
        }
    }
}

/// A content coding (RFC 9110 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// RFC 7932.
    Br,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Algorithm {
    /// As it stands in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// What is shown where the application can't. Answers of the application itself are never replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pages {
    /// A folder with pages of one's own: `503.html`, `503.json`, `maintenance.html`; read at the start and at reload.
    pub directory: Option<PathBuf>,
    /// Whose page it is, beneath the text.
    pub name: Option<String>,
    /// Whom to ask, beneath the text: a mail address or a link.
    pub contact: Option<String>,
}

/// The shop is closed for a while: 503 for all but those named here. `POST /maintenance/on` at the admin endpoint does
/// the same until the next start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maintenance {
    /// Whether it is closed.
    pub enabled: bool,
    /// A sentence for the page.
    pub message: Option<String>,
    /// What is told as `Retry-After`.
    #[serde(with = "duration")]
    pub retry_after: Duration,
    /// Networks for whom it is open.
    pub allow: Vec<IpNet>,
    /// Paths that stay open, such as webhooks of a payment provider.
    pub open: Vec<String>,
}

impl Default for Maintenance {
    fn default() -> Self {
        let retry_after = Duration::from_secs(300);
        Self { enabled: false, message: None, retry_after, allow: Vec::new(), open: Vec::new() }
    }
}
