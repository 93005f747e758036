//! Who may come in, and how we prove who we are to servers: SCRAM-SHA-256 both ways, MD5 and clear text to servers
//! only. Kind: pure.
//!
//! Nonces, salts and the mock key are arguments: whoever calls draws them from the operating system's generator.
//!
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>, RFC 5802, RFC 7677.

pub mod client;
pub mod scram;
pub mod users;
pub mod verifier;

pub use client::{KeyCache, ScramClient};
pub use scram::ScramServer;
pub use users::{Credential, Users};
pub use verifier::Verifier;

/// The name of the one SASL mechanism that we speak. Without its `-PLUS`: there is no channel binding yet.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// Why an authentication ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The other side broke the rules of the exchange.
    #[error("malformed SCRAM message: {0}")]
    Protocol(&'static str),
    /// It asks for what we do not do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The proof is wrong, or there is no such user; nobody outside can tell which.
    #[error("password authentication failed")]
    Failed,
}

impl AuthError {
    /// The SQLSTATE that PostgreSQL gives for it.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Protocol(_) => "08P01",
            Self::Unsupported(_) => "0A000",
            Self::Failed => "28P01",
        }
    }
}

/// The value of the attribute `name` at the front of a SCRAM message, and what follows it (RFC 5802, section 7).
fn attribute(message: &str, name: char) -> Option<(&str, &str)> {
    let value = message.strip_prefix(name)?.strip_prefix('=')?;
    Some(value.split_once(',').unwrap_or((value, "")))
}

/// Whether a nonce is one: printable ASCII without commas, and not endless.
fn is_nonce(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e))
}
