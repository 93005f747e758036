//! What is refused, and how. Kind: pure.

/// A message that could be read in more than one way, or is larger than we take. A request is answered with the status
/// and its connection closed; a response is given up, and its client is answered 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    /// What a client is told.
    pub status: u16,
    /// What is wrong, in a few words: for the log, never with bytes of the message.
    pub what: &'static str,
}

impl Malformed {
    /// The client speaks HTTP/2, its first line being that of the preface (RFC 9113 section 3.4).
    pub const HTTP2: Self = Self { status: 505, what: "HTTP/2 on a connection for HTTP/1.1" };

    pub(super) const fn bad(what: &'static str) -> Self {
        Self { status: 400, what }
    }

    pub(super) const fn long_target() -> Self {
        Self { status: 414, what: "request line too long" }
    }

    pub(super) const fn too_large(what: &'static str) -> Self {
        Self { status: 431, what }
    }

    pub(super) const fn long_body() -> Self {
        Self { status: 413, what: "body too large" }
    }

    pub(super) const fn expectation() -> Self {
        Self { status: 417, what: "unknown expectation" }
    }

    pub(super) const fn not_implemented(what: &'static str) -> Self {
        Self { status: 501, what }
    }

    pub(super) const fn version() -> Self {
        Self { status: 505, what: "unknown version" }
    }

    /// The same, found in a response.
    pub(super) const fn of_upstream(self) -> Self {
        Self { status: 502, what: self.what }
    }
}
