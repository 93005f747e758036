//! Which HTTP a message is of. Kind: pure.

/// The version of a message, or of the connection that it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0: connections end after one request, unless both sides say `keep-alive`.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

/// The first bytes of every HTTP/2 connection (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection that begins with these bytes is HTTP/2; `None` while they are too few to tell.
pub fn is_http2(bytes: &[u8]) -> Option<bool> {
    // `PRI ` is enough: no method of HTTP/1.1 is called so.
    let enough = bytes.len().min(4);
    if bytes[..enough] != PREFACE[..enough] {
        return Some(false);
    }
    (enough == 4).then_some(true)
}

impl Version {
    /// As logs and `Via` write it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_known_by_its_preface() {
        assert_eq!(is_http2(PREFACE), Some(true));
        assert_eq!(is_http2(b"PRI "), Some(true));
        assert_eq!(is_http2(b"PR"), None);
        assert_eq!(is_http2(b""), None);
        assert_eq!(is_http2(b"PUT / HTTP/1.1"), Some(false));
        assert_eq!(is_http2(b"G"), Some(false));
    }
}
