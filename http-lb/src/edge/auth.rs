//! Verifies names and passwords, off the workers. Kind: driver.
//!
//! bcrypt takes tens of milliseconds of a processor on purpose, and a browser sends the password with each request. So what was
//! verified is remembered for a while, by a keyed hash; and few are verified at once, so that guessing keeps no
//! processor busy.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::access::{Users, credentials};

/// How long a verified password needs no second look; also how long a removed user may still come in after a reload
/// failed. A reload itself forgets all.
const REMEMBERED: Duration = Duration::from_secs(60);
const MOST_REMEMBERED: usize = 1024;
/// How many are verified at once, over all workers.
const AT_ONCE: usize = 2;
/// How many may wait for that; beyond, a guess is wrong unseen.
const WAITING: usize = 64;
/// What is verified for a name that nobody has, so that it takes as long.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuFLZFfZ4eGqX3e9bH4mP7q1yqL3tqK5e";

/// Those who may, where a route asks.
#[derive(Debug)]
pub struct Auth {
    users: Users,
    challenge: Box<[u8]>,
    key: [u8; 32],
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    waiting: Semaphore,
    verifying: Semaphore,
}

impl Auth {
    /// These users; `key` is random.
    pub fn new(users: Users, realm: &str, key: [u8; 32]) -> Self {
        Self {
            users,
            challenge: format!("Basic realm=\"{realm}\", charset=\"UTF-8\"").into_bytes().into(),
            key,
            remembered: Mutex::default(),
            waiting: Semaphore::new(WAITING),
            verifying: Semaphore::new(AT_ONCE),
        }
    }

    /// What `WWW-Authenticate` says to those who don't (RFC 7617).
    pub fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// Whether who sends this `Authorization` may come in. Dropping it lets a verification that has begun run to its end.
    pub async fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(field) = authorization else { return false };
        let digest = self.digest(field);
        if self.remembers(&digest, Instant::now()) {
            return true;
        }
        let Some((name, password)) = credentials(field) else { return false };
        let verified = self.verify(&name, password).await;
        if verified {
            self.remember(digest, Instant::now());
        }
        verified
    }

    async fn verify(&self, name: &str, password: String) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let Ok(_turn) = self.verifying.acquire().await else { return false };
        let known = self.users.get(name);
        let hash = known.map_or(NOBODY, String::as_str).to_owned();
        let verified = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash));
        let verified = verified.await.is_ok_and(|verified| verified.unwrap_or(false));
        verified && known.is_some()
    }

    /// Nobody who reads our memory finds a password there, and nobody who can choose what is looked up learns anything
    /// from how long it takes.
    fn digest(&self, field: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(field);
        mac.finalize().into_bytes().into()
    }

    fn remembers(&self, digest: &[u8; 32], now: Instant) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(digest).is_some_and(|until| now < *until)
    }

    fn remember(&self, digest: [u8; 32], now: Instant) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, until| now < *until);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(digest, now + REMEMBERED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::access::read_users;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn auth() -> Auth {
        let hash = bcrypt::hash("right", 4).unwrap();
        Auth::new(read_users(&format!("ann:{hash}")).unwrap(), "staff", [7; 32])
    }

    #[track_caller]
    fn check(auth: &Auth, pair: &str, expected: bool) {
        let field = format!("Basic {}", STANDARD.encode(pair));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(auth.admits(Some(field.as_bytes()))), expected, "{pair}");
    }

    #[test]
    fn who_knows_the_password_comes_in_again_and_again() {
        let auth = auth();
        check(&auth, "ann:right", true);
        assert_eq!(auth.remembered.lock().unwrap().len(), 1);
        check(&auth, "ann:right", true);
    }

    #[test]
    fn others_stay_out_and_are_not_remembered() {
        let auth = auth();
        check(&auth, "ann:wrong", false);
        check(&auth, "bob:right", false);
        check(&auth, "ann", false);
        assert_eq!(auth.remembered.lock().unwrap().len(), 0);
    }

    #[test]
    fn a_crowd_that_guesses_is_not_waited_for() {
        let auth = auth();
        let crowd = auth.waiting.try_acquire_many(WAITING as u32).unwrap();
        check(&auth, "ann:right", false);
        drop(crowd);
        check(&auth, "ann:right", true);
    }

    #[test]
    fn the_hash_of_nobody_is_a_hash() {
        assert!(bcrypt::verify("any", NOBODY).is_ok_and(|right| !right));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_ends() {
        let auth = auth();
        let now = Instant::now();
        for number in 0..2 * MOST_REMEMBERED {
            auth.remember(auth.digest(&number.to_be_bytes()), now);
        }
        assert_eq!(auth.remembered.lock().unwrap().len(), MOST_REMEMBERED);
        assert!(auth.remembers(&auth.digest(&0_usize.to_be_bytes()), now));
        assert!(!auth.remembers(&auth.digest(&0_usize.to_be_bytes()), now + REMEMBERED));
    }
}
