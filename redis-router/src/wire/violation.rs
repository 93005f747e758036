//! What a client may not send. Kind: pure.

use super::request::Limits;

/// Bytes that cannot be a request. The stream is lost: the client is told and its connection is closed, as Redis does.
///
/// The text of each is that of Redis (src/networking.c, `processInlineBuffer` and `processMultibulkBuffer`) where
/// Redis has one; it follows `-ERR `.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The number of arguments is no number or above the limit.
    #[error("Protocol error: invalid multibulk length")]
    Multibulk,
    /// More arguments than a client may send that has not authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangersMultibulk,
    /// An argument doesn't begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    NoBulk(u8),
    /// The length of an argument is no number, negative or above the limit.
    #[error("Protocol error: invalid bulk length")]
    Bulk,
    /// A longer argument than a client may send that has not authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    StrangersBulk,
    /// An argument is not followed by CRLF, or a CR by LF. Redis doesn't look; we do, because what it skips unread
    /// could be the beginning of a frame for somebody else.
    #[error("Protocol error: expected CRLF")]
    NoCrlf,
    /// An inline request has no end within [`Limits::max_line`].
    #[error("Protocol error: too big inline request")]
    BigInline,
    /// An inline request has a quote that is not closed, or closed in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
    /// A zero byte in an inline request. Redis 7.0 looks no further for the end of the line, and waits for ever; later
    /// versions end the words there, and drop the rest of the line.
    #[error("Protocol error: zero byte in inline request")]
    Zero,
    /// An inline request where none are taken ([`Limits::inline`]).
    #[error("Protocol error: expected '*', got '{}'", printable(*.0))]
    NoInline(u8),
    /// HTTP: a browser may have been made to send it, so nothing of it is run, as in Redis (`securityWarningCommand` in
    /// src/server.c).
    #[error("Protocol error: this is HTTP")]
    Http,
    /// A TLS hello on a port that speaks plain.
    #[error("Protocol error: this is TLS, the port is not")]
    Tls,
}

impl Violation {
    pub(super) fn multibulk(limits: &Limits) -> Self {
        if limits.stranger { Self::StrangersMultibulk } else { Self::Multibulk }
    }

    pub(super) fn bulk(limits: &Limits) -> Self {
        if limits.stranger { Self::StrangersBulk } else { Self::Bulk }
    }
}

/// The byte as Redis shows it, CR and LF as spaces; but what no terminal shows is a question mark.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        b' '..=b'~' => char::from(byte),
        _ => '?',
    }
}
