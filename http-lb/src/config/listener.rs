//! Where clients connect. Kind: pure.

use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::IpNet;
use proxy_core::config::duration;
use proxy_core::net::Addr;
use serde::{Deserialize, Serialize};

/// One address for clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// `host:port`, or `unix:/path`.
    pub listen: Addr,
    /// Whether `[tls]` holds here.
    pub tls: bool,
    /// HTTP/2: agreed on within TLS, or begun without a word on plain connections (RFC 9113 3.3).
    pub http2: bool,
    /// Clients at the same time.
    pub max_connections: usize,
    /// Of these, from one IP address.
    pub max_per_address: Option<NonZeroUsize>,
    /// Networks from which a PROXY protocol header is awaited and believed.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Nobody else comes in.
    pub proxy_protocol_required: bool,
    /// The mode bits of a unix socket's file, such as 0o660; those of the umask if absent.
    pub unix_mode: Option<u32>,
    /// How long PROXY header and TLS handshake may take together.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            listen: Addr::Tcp { host: "0.0.0.0".to_owned(), port: 8080 },
            tls: false,
            http2: true,
            max_connections: 10_000,
            max_per_address: None,
            proxy_protocol_from: Vec::new(),
            proxy_protocol_required: false,
            unix_mode: None,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}
