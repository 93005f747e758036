//! What is kept of a password: enough to recognise it, not enough to use it. Kind: pure.
//!
//! The keys are those of RFC 5802, section 3; the text form is PostgreSQL's (`parse_scram_secret` in
//! src/backend/libpq/auth-scram.c): `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// PostgreSQL's own default (`scram_iterations`).
pub const ITERATIONS: u32 = 4096;

/// The bytes of a salt that we draw: PostgreSQL's own `SCRAM_DEFAULT_SALT_LEN`.
pub const SALT: usize = 16;

/// A SHA-256, and so every SCRAM key.
pub type Key = [u8; 32];

/// HMAC-SHA-256 of these parts, one after the other.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

/// The two keys that a password gives with one salt. Whoever has them can log in.
#[derive(Clone, Copy)]
pub struct Keys {
    pub(super) client: Key,
    pub(super) server: Key,
}

impl Keys {
    /// Derives them; this is the slow part, by design.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(&prepared(password), salt, iterations);
        Self { client: hmac(&salted, &[b"Client Key"]), server: hmac(&salted, &[b"Server Key"]) }
    }
}

/// The password after SASLprep (RFC 4013), or as it is where SASLprep has no answer: not UTF-8, or with characters it
/// forbids. That is what PostgreSQL and libpq do. Their tables are of Unicode 3.2 as the RFC wants; ours are those of
/// the `stringprep` crate, which follow the same RFC.
fn prepared(password: &[u8]) -> Vec<u8> {
    let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    prepared.map_or_else(|| password.to_vec(), |text| text.into_owned().into_bytes())
}

/// What a server keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored: Key,
    pub(super) server: Key,
    /// False for a user who does not exist: no proof will do.
    pub(super) genuine: bool,
}

impl Verifier {
    /// Of a password in clear.
    pub fn of_password(password: &[u8], salt: [u8; SALT], iterations: u32) -> Self {
        let keys = Keys::derive(password, &salt, iterations);
        let (stored, server) = (sha256(&keys.client), keys.server);
        Self { iterations, salt: salt.to_vec(), stored, server, genuine: true }
    }

    /// Of nobody: looks like any other and recognises nothing, so that a stranger cannot ask which users exist.
    ///
    /// The salt must be the same each time this name is tried, and must not be computable outside: it is an HMAC under
    /// `key`, which is drawn once per process (PostgreSQL: `scram_mock_salt`). It has PostgreSQL's default count and
    /// salt length; users whose verifiers were made with others stand out against it, as they do in PostgreSQL.
    pub fn mock(user: &str, key: &Key) -> Self {
        let derive = |what: &[u8]| hmac(key, &[what, user.as_bytes()]);
        let salt = derive(b"salt ")[..SALT].to_vec();
        Self {
            iterations: ITERATIONS,
            salt,
            stored: derive(b"stored "),
            server: derive(b"server "),
            genuine: false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (parameters.split_once(':')?, keys.split_once(':')?);
        let iterations = iterations.parse().ok().filter(|count| *count > 0)?;
        let salt = BASE64.decode(salt).ok()?;
        Some(Self { iterations, salt, stored: key(stored)?, server: key(server)?, genuine: true })
    }
}

/// A key in base64.
pub(super) fn key(text: &str) -> Option<Key> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// Not a verifier. Says no more: the text is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM-SHA-256 verifier")]
pub struct NotAVerifier;

impl FromStr for Verifier {
    type Err = NotAVerifier;

    fn from_str(text: &str) -> Result<Self, NotAVerifier> {
        Self::parse(text).ok_or(NotAVerifier)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(***)")
    }
}

/// Fuzz entry: any text as a verifier.
pub fn fuzz_verifier(data: &[u8]) {
    let parsed = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Verifier>().ok());
    assert!(parsed.is_none_or(|verifier| verifier.iterations > 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn check(text: &str, ok: bool) {
        assert_eq!(text.parse::<Verifier>().is_ok(), ok, "{text}");
        fuzz_verifier(text.as_bytes());
    }

    #[test]
    fn the_text_form_is_that_of_postgresql() {
        check(&format!("SCRAM-SHA-256$4096:c2FsdA==${STORED}:{STORED}"), true);
        check(&format!("SCRAM-SHA-256$0:c2FsdA==${STORED}:{STORED}"), false);
        check(&format!("SCRAM-SHA-256$4294967296:c2FsdA==${STORED}:{STORED}"), false);
        check(&format!("SCRAM-SHA-1$4096:c2FsdA==${STORED}:{STORED}"), false);
        check(&format!("SCRAM-SHA-256$4096:!${STORED}:{STORED}"), false);
        check(&format!("SCRAM-SHA-256$4096:c2FsdA==${STORED}:c2hvcnQ="), false);
        check(&format!("SCRAM-SHA-256$4096:c2FsdA==${STORED}"), false);
        check("", false);
    }

    #[test]
    fn passwords_give_the_keys_that_postgresql_keeps() {
        for password in ["secret", "ü", "\u{2168}", "a\u{00a0}b", "\u{0007}bell", ""] {
            let text = postgres_protocol::password::scram_sha_256(password.as_bytes());
            let theirs: Verifier = text.parse().unwrap();
            let ours =
                Verifier::of_password(password.as_bytes(), theirs.salt[..].try_into().unwrap(), ITERATIONS);
            assert_eq!((ours.stored, ours.server), (theirs.stored, theirs.server), "{password:?}");
        }
    }

    #[test]
    fn a_mock_is_the_same_each_time_and_another_for_others() {
        let salt = |user, key| Verifier::mock(user, &[key; 32]).salt;
        assert_eq!(salt("eve", 1), salt("eve", 1));
        assert_ne!(salt("eve", 1), salt("eve", 2));
        assert_ne!(salt("eve", 1), salt("bob", 1));
        assert_eq!(salt("eve", 1).len(), SALT);
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Verifier::mock("eve", &[0; 32])), "Verifier(***)");
    }
}
