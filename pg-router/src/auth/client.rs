//! The client's side of SCRAM-SHA-256: we prove to a server that we know a password, and it proves that it knows us.
//! Kind: pure.
//!
//! A server is as hostile as a client until it has proven itself: its nonce, salt and iteration count are bounded
//! (CVE-2026-6665, CVE-2026-42198). What the slow derivation gives is remembered in a [`KeyCache`], since a pool logs
//! in again and again with the same password and the same salt.

use super::AuthError::{self, Failed, Protocol, Unsupported};
use super::scram::xor;
use super::verifier::{Key, Keys, hmac, key, sha256};
use super::{attribute, is_nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

/// The highest iteration count that we follow: 24 times PostgreSQL's default, and where pgjdbc and rust-postgres stop
/// too. It is computed on a worker's thread: this many take tens of milliseconds, once.
pub const MAX_ITERATIONS: u32 = 100_000;

/// The longest nonce, ours and the server's together.
const MAX_NONCE: usize = 1024;

/// The longest salt, in base64.
const MAX_SALT: usize = 1024;

/// `base64("n,,")`: no channel binding.
const NO_CHANNEL: &str = "biws";

/// One exchange: [`Self::first`], [`Self::answer`], [`Self::verify`], in this order.
#[derive(Debug)]
pub struct ScramClient {
    nonce: String,
    expected: Option<Key>,
}

impl ScramClient {
    /// With a fresh and random nonce.
    pub fn new(nonce: [u8; 18]) -> Self {
        Self { nonce: BASE64.encode(nonce), expected: None }
    }

    /// Our first message. It leaves the user name empty: PostgreSQL takes that of the first packet.
    pub fn first(&self) -> Vec<u8> {
        format!("n,,n=,r={}", self.nonce).into_bytes()
    }

    /// Takes the server's first message; gives our proof.
    pub fn answer(
        &mut self,
        message: &[u8],
        password: &[u8],
        cache: &mut KeyCache,
    ) -> Result<Vec<u8>, AuthError> {
        let message = text(message)?;
        let server = ServerFirst::read(message)?;
        if server.nonce.len() <= self.nonce.len() || !server.nonce.starts_with(&self.nonce) {
            return Err(Protocol("the server's nonce does not extend ours"));
        }
        let keys = cache.keys(password, &server.salt, server.iterations);
        let bare = format!("c={NO_CHANNEL},r={}", server.nonce);
        let transcript = format!("n=,r={},{message},{bare}", self.nonce);
        let proof = xor(keys.client, hmac(&sha256(&keys.client), &[transcript.as_bytes()]));
        self.expected = Some(hmac(&keys.server, &[transcript.as_bytes()]));
        Ok(format!("{bare},p={}", BASE64.encode(proof)).into_bytes())
    }

    /// Takes the server's proof. Only after this has succeeded is the server the one that knows the password.
    pub fn verify(&mut self, message: &[u8]) -> Result<(), AuthError> {
        let expected = self.expected.take().ok_or(Protocol("the final message came out of turn"))?;
        let (proof, _extensions) = attribute(text(message)?, 'v').ok_or(Failed)?;
        let proof = key(proof).ok_or(Protocol("its proof is not one"))?;
        if bool::from(proof.ct_eq(&expected)) { Ok(()) } else { Err(Failed) }
    }
}

fn text(message: &[u8]) -> Result<&str, AuthError> {
    std::str::from_utf8(message).map_err(|_| Protocol("it is not UTF-8"))
}

/// `r=nonce,s=salt,i=iterations`, taken apart.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn read(message: &'a str) -> Result<Self, AuthError> {
        let (nonce, rest) = attribute(message, 'r').ok_or(Protocol("there is no nonce"))?;
        let (salt, rest) = attribute(rest, 's').ok_or(Protocol("there is no salt"))?;
        let (count, _extensions) = attribute(rest, 'i').ok_or(Protocol("there is no iteration count"))?;
        if !is_nonce(nonce, MAX_NONCE) {
            return Err(Protocol("its nonce is not one"));
        }
        Ok(Self { nonce, salt: salt_of(salt)?, iterations: iterations(count)? })
    }
}

fn salt_of(text: &str) -> Result<Vec<u8>, AuthError> {
    let salt = if text.len() <= MAX_SALT { BASE64.decode(text).ok() } else { None };
    salt.ok_or(Protocol("its salt is not one"))
}

fn iterations(text: &str) -> Result<u32, AuthError> {
    match text.parse() {
        Ok(0) | Err(_) => Err(Protocol("its iteration count is not one")),
        Ok(count) if count > MAX_ITERATIONS => Err(Unsupported("server asks for too many SCRAM iterations")),
        Ok(count) => Ok(count),
    }
}

/// How many derived keys are remembered: a pool has a few users on a few servers, each with one salt.
const REMEMBERED: usize = 64;

/// The last used keys, newest first. Whoever reads this memory can log in, as with the passwords themselves.
#[derive(Debug, Default)]
pub struct KeyCache(Vec<Remembered>);

#[derive(Debug)]
struct Remembered {
    identity: Key,
    keys: Keys,
}

impl KeyCache {
    /// The keys of this password with this salt: remembered, or derived now.
    pub fn keys(&mut self, password: &[u8], salt: &[u8], iterations: u32) -> Keys {
        let identity = identity(password, salt, iterations);
        let at = self.0.iter().position(|entry| entry.identity == identity);
        let entry = match at {
            Some(at) => self.0.remove(at),
            None => Remembered { identity, keys: Keys::derive(password, salt, iterations) },
        };
        let keys = entry.keys;
        self.0.truncate(REMEMBERED - 1);
        self.0.insert(0, entry);
        keys
    }
}

/// One hash of all three; the salt's length keeps salt and count apart.
fn identity(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let len = salt.len().to_be_bytes();
    hmac(password, &[&len, salt, &iterations.to_be_bytes()])
}

/// Fuzz entry: two messages of a server, split at the first line feed. A lone first message of few iterations at most.
pub fn fuzz_scram_client(data: &[u8]) {
    let mut client = ScramClient::new([9; 18]);
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let _ = client.answer(parts.next().unwrap_or_default(), b"secret", &mut KeyCache::default());
    assert!(client.verify(parts.next().unwrap_or_default()).is_err(), "a stranger was believed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ScramServer, Verifier};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn talk(verifier: Verifier, password: &[u8]) -> Result<(), AuthError> {
        let mut client = ScramClient::new([1; 18]);
        let mut server = ScramServer::new(Arc::new(verifier), [2; 18]);
        let hello = server.first(&client.first())?;
        let proof = client.answer(&hello, password, &mut KeyCache::default())?;
        client.verify(&server.finish(&proof)?)
    }

    #[test]
    fn client_and_server_understand_each_other() {
        assert_eq!(talk(Verifier::of_password(b"secret", [3; 16], 4096), b"secret"), Ok(()));
        assert_eq!(talk(Verifier::of_password(b"secret", [3; 16], 4096), b"wrong"), Err(Failed));
    }

    #[test]
    fn a_verifier_made_by_postgres_protocol_recognises_us() {
        for password in ["secret", "pässwörd", "\u{2168}"] {
            let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
            assert_eq!(talk(verifier.parse().unwrap(), password.as_bytes()), Ok(()), "{password}");
        }
    }

    fn check(message: &str, want: &str) {
        let message = message.replace("OURS", &BASE64.encode([1; 18]));
        let got = ScramClient::new([1; 18]).answer(message.as_bytes(), b"secret", &mut KeyCache::default());
        assert_eq!(got.unwrap_err().to_string(), want, "{message}");
    }

    #[test]
    fn a_hostile_server_is_bounded() {
        check("r=OURSx,s=AAAA,i=100001", "server asks for too many SCRAM iterations");
        check("r=OURSx,s=AAAA,i=4294967296", "malformed SCRAM message: its iteration count is not one");
        check("r=OURSx,s=AAAA,i=0", "malformed SCRAM message: its iteration count is not one");
        check("r=OURSx,s=AAAA,i=-1", "malformed SCRAM message: its iteration count is not one");
        check("r=OURS,s=AAAA,i=1", "malformed SCRAM message: the server's nonce does not extend ours");
        check("r=other,s=AAAA,i=1", "malformed SCRAM message: the server's nonce does not extend ours");
        check(
            &format!("r=OURS{},s=AAAA,i=1", "x".repeat(1024)),
            "malformed SCRAM message: its nonce is not one",
        );
        check(&format!("r=OURSx,s={},i=1", "A".repeat(1028)), "malformed SCRAM message: its salt is not one");
        check("r=OURSx,i=1", "malformed SCRAM message: there is no salt");
        check("", "malformed SCRAM message: there is no nonce");
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_not_believed() {
        let mut client = ScramClient::new([1; 18]);
        let hello = format!("r={}x,s=AAAA,i=1", BASE64.encode([1; 18]));
        client.answer(hello.as_bytes(), b"secret", &mut KeyCache::default()).unwrap();
        assert_eq!(client.verify(format!("v={}", BASE64.encode([0; 32])).as_bytes()), Err(Failed));
        assert!(client.verify(b"v=").is_err(), "there is one attempt");
    }

    #[test]
    fn keys_are_remembered_within_bounds() {
        let mut cache = KeyCache::default();
        let first = cache.keys(b"secret", &[0], 1);
        assert_eq!(cache.keys(b"secret", &[0], 1).client, first.client);
        assert_eq!(cache.0.len(), 1);
        assert_ne!(cache.keys(b"secret", &[0], 2).client, first.client);
        for salt in 0..200 {
            cache.keys(b"secret", &[salt], 1);
        }
        assert_eq!(cache.0.len(), REMEMBERED);
    }

    #[test]
    fn the_corpus_holds() {
        let nonce = BASE64.encode([9; 18]);
        let corpus =
            [String::new(), "e=other-error".into(), format!("r={nonce}x,s=AA==,i=2\nv=AAAA"), "\n\n".into()];
        corpus.iter().for_each(|text| fuzz_scram_client(text.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_messages_are_survived(data in proptest::collection::vec(any::<u8>(), 0..80), text in "r=[a-z=,\n]{0,40}") {
            fuzz_scram_client(&data);
            fuzz_scram_client(text.as_bytes());
        }
    }
}
