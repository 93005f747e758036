//! How long things may take, what one client may take, and where bodies wait. Kind: pure.

use std::path::PathBuf;
use std::time::Duration;

use proxy_core::config::{Size, duration};
use serde::{Deserialize, Serialize};

/// How long things may take. Each is a total, not a pause, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// A request's head, from its first byte.
    #[serde(with = "duration")]
    pub header: Duration,
    /// Between two requests of a connection.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// A request's body; see also `limits.min_rate`.
    #[serde(with = "duration")]
    pub body: Duration,
    /// To connect to a replica.
    #[serde(with = "duration")]
    pub connect: Duration,
    /// From what a replica took last of the request to the head of its answer.
    #[serde(with = "duration")]
    pub response: Duration,
    /// Between two pieces of the replica's answer.
    #[serde(with = "duration")]
    pub response_idle: Duration,
    /// To send an answer to the client; see also `limits.min_rate`.
    #[serde(with = "duration")]
    pub send: Duration,
    /// Between two bytes, either way, of what follows a 101, such as a WebSocket.
    #[serde(with = "duration")]
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(900),
            connect: Duration::from_secs(3),
            response: Duration::from_secs(60), // gunicorn itself gives up after 30 s
            response_idle: Duration::from_secs(60),
            send: Duration::from_secs(3600),
            tunnel: Duration::from_secs(3600),
        }
    }
}

/// What one client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request line.
    pub line: Size,
    /// Bytes of a request's head.
    pub head: Size,
    /// Header fields of a request.
    pub fields: usize,
    /// Bytes of a request's body; routes may differ.
    pub body: Size,
    /// Bytes of an answer's head.
    pub response_head: Size,
    /// Requests of a connection, after which it is closed in good order.
    pub requests_per_connection: u64,
    /// Bytes in a second, in both directions, that a client must keep up on average, without a pause of more than six
    /// times `min_rate_grace`; 0B: no limit.
    pub min_rate: Size,
    /// How long it may be slower at first.
    #[serde(with = "duration")]
    pub min_rate_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: Size::new(8 << 10),
            head: Size::new(32 << 10),
            fields: 100,
            body: Size::new(100 << 20), // Pretix' own nginx.conf
            response_head: Size::new(64 << 10),
            requests_per_connection: 10_000,
            min_rate: Size::new(512),
            min_rate_grace: Duration::from_secs(10),
        }
    }
}

/// Where bodies wait: for the client to send them, and for the client to take them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Buffers {
    /// In memory, over all requests.
    pub memory: Size,
    /// In temporary files, over all requests.
    pub disk: Size,
    /// Of one body in memory; the rest goes to a file.
    pub in_memory: Size,
    /// Of one body in all: an answer that is longer is taken at the client's pace from there on.
    pub per_request: Size,
    /// Where the files are; the system's own place if absent.
    pub directory: Option<PathBuf>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            memory: Size::new(64 << 20),
            disk: Size::new(1 << 30),
            in_memory: Size::new(256 << 10),
            per_request: Size::new(100 << 20),
            directory: None,
        }
    }
}

/// HTTP/2 towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http2 {
    /// Requests at the same time on a connection (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub streams: u32,
    /// Bytes that a client may send ahead on a stream.
    pub stream_window: Size,
    /// Bytes that it may send ahead on a connection.
    pub connection_window: Size,
    /// Streams that it may reset before we have answered, after which the connection is closed (CVE-2023-44487).
    pub resets: usize,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: Size::new(64 << 10),
            connection_window: Size::new(1 << 20),
            resets: 20,
        }
    }
}
