//! The list of users and what is known of their passwords: PgBouncer's `userlist.txt`. Kind: pure.
//!
//! ```text
//! ; a comment
//! "anna" "SCRAM-SHA-256$4096:…"       clients prove themselves against it
//! "bob"  "in clear"                   turned into a verifier when loaded; also good for servers
//! "carl" "md5…"                       good for servers that ask for MD5, for nothing else
//! ```
//! A quote inside of a name or a password is written twice. What follows the password on its line is ignored.
//! <https://www.pgbouncer.org/config.html#authentication-file-format>

use super::verifier::{ITERATIONS, Key, SALT, Verifier};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What opens a server's door.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A password in clear: good for every method.
    Password(String),
    /// `md5` and 32 hex digits: good for MD5 only.
    Md5(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

/// A line that cannot be read. Says where, never what: the line holds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct UsersError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// The users, by name.
#[derive(Debug, Default)]
pub struct Users(HashMap<String, User>);

#[derive(Debug)]
struct User {
    verifier: Option<Arc<Verifier>>,
    credential: Option<Credential>,
}

impl Users {
    /// Reads the file's text. `salt` draws a fresh one for each password in clear: that costs a few milliseconds each.
    /// Where a name comes twice, its last line counts.
    pub fn parse(text: &str, mut salt: impl FnMut() -> [u8; SALT]) -> Result<Self, UsersError> {
        let mut users = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let entry = entry(text).map_err(|what| UsersError { line, what })?;
            let Some((name, secret)) = entry else { continue };
            let user = User::new(secret, &mut salt).map_err(|what| UsersError { line, what })?;
            users.insert(name, user);
        }
        Ok(Self(users))
    }

    /// What a client of this name must prove. A stranger gets a mock and will fail as if the password were wrong; so
    /// does a user of whom only an MD5 hash is known. The mock is made in any case, so that time does not tell either.
    pub fn verifier(&self, name: &str, mock: &Key) -> Arc<Verifier> {
        let mock = Arc::new(Verifier::mock(name, mock));
        self.0.get(name).and_then(|user| user.verifier.clone()).unwrap_or(mock)
    }

    /// What we can show to a server as this user, if anything.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        self.0.get(name)?.credential.as_ref()
    }

    /// The users who cannot come in because only an MD5 hash is known of them: worth a warning.
    pub fn shut_out(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, user)| user.verifier.is_none()).map(|(name, _)| name.as_str())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl User {
    fn new(secret: String, salt: &mut impl FnMut() -> [u8; SALT]) -> Result<Self, &'static str> {
        if secret.starts_with("SCRAM-SHA-256$") {
            let verifier = secret.parse().map_err(|_| "the SCRAM-SHA-256 verifier is malformed")?;
            return Ok(Self { verifier: Some(Arc::new(verifier)), credential: None });
        }
        if is_md5(&secret) {
            return Ok(Self { verifier: None, credential: Some(Credential::Md5(secret)) });
        }
        if secret.is_empty() {
            return Err("the password is empty");
        }
        let verifier = Verifier::of_password(secret.as_bytes(), salt(), ITERATIONS);
        Ok(Self { verifier: Some(Arc::new(verifier)), credential: Some(Credential::Password(secret)) })
    }
}

fn is_md5(secret: &str) -> bool {
    let hex = secret.strip_prefix("md5");
    hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The name and the secret of one line; nothing for an empty line or a comment.
fn entry(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(';') {
        return Ok(None);
    }
    let (name, rest) = quoted(line).ok_or("there is no quoted user name")?;
    let (secret, _ignored) = quoted(rest.trim_start()).ok_or("there is no quoted password")?;
    if name.is_empty() { Err("the user name is empty") } else { Ok(Some((name, secret))) }
}

/// A quoted text and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut read, mut rest) = (String::new(), text.strip_prefix('"')?);
    loop {
        let (piece, after) = rest.split_once('"')?;
        read.push_str(piece);
        match after.strip_prefix('"') {
            Some(more) => (read.push('"'), rest = more),
            None => return Some((read, after)),
        };
    }
}

/// Fuzz entry: any text as a list of users. Passwords in clear are left out: each costs a derivation.
pub fn fuzz_users(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    text.lines().for_each(|line| drop(entry(line)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MD5: &str = "md5acbd18db4cc2f85cedef654fccc4a4d8";

    fn check(text: &str, want: Result<usize, (usize, &str)>) {
        let got = Users::parse(text, || [0; SALT]).map(|users| users.len());
        assert_eq!(got.map_err(|e| (e.line, e.what)), want, "{text}");
        fuzz_users(text.as_bytes());
    }

    #[test]
    fn lines_are_users_comments_or_errors() {
        check("", Ok(0));
        check("; nobody\n\n  ; here\n", Ok(0));
        check("\"anna\" \"x\"\n\"bob\" \"y\" ignored\n", Ok(2));
        check("\"anna\" \"x\"\nbob y\n", Err((2, "there is no quoted user name")));
        check("\"anna\"", Err((1, "there is no quoted password")));
        check("\"anna\" \"x", Err((1, "there is no quoted password")));
        check("\"\" \"x\"", Err((1, "the user name is empty")));
        check("\"anna\" \"\"", Err((1, "the password is empty")));
        check("\"anna\" \"SCRAM-SHA-256$x\"", Err((1, "the SCRAM-SHA-256 verifier is malformed")));
    }

    fn users(text: &str) -> Users {
        Users::parse(text, || [1; SALT]).unwrap()
    }

    #[test]
    fn a_quote_is_written_twice() {
        let users = users(r#""an""na" "pass""word""#);
        assert_eq!(users.credential("an\"na"), Some(&Credential::Password("pass\"word".into())));
    }

    #[test]
    fn a_password_in_clear_is_good_both_ways() {
        let users = users("\"anna\" \"secret\"");
        assert_eq!(
            *users.verifier("anna", &[0; 32]),
            Verifier::of_password(b"secret", [1; SALT], ITERATIONS)
        );
        assert!(users.credential("anna").is_some());
    }

    #[test]
    fn an_md5_hash_is_good_for_servers_only() {
        let users = users(&format!("\"carl\" \"{MD5}\""));
        assert_eq!(users.credential("carl"), Some(&Credential::Md5(MD5.into())));
        assert_eq!(*users.verifier("carl", &[0; 32]), Verifier::mock("carl", &[0; 32]));
        assert_eq!(users.shut_out().collect::<Vec<_>>(), ["carl"]);
    }

    #[test]
    fn a_verifier_is_good_for_clients_only() {
        let text = postgres_protocol::password::scram_sha_256(b"secret");
        let users = users(&format!("\"anna\" \"{text}\""));
        assert_eq!(*users.verifier("anna", &[0; 32]), text.parse().unwrap());
        assert_eq!(users.credential("anna"), None);
        assert_eq!(users.shut_out().count(), 0);
    }

    #[test]
    fn strangers_get_a_mock_and_secrets_do_not_show() {
        assert_eq!(*users("").verifier("eve", &[2; 32]), Verifier::mock("eve", &[2; 32]));
        let text = format!("{:?}", users("\"anna\" \"hidden\""));
        assert!(!text.contains("hidden"), "{text}");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[\"; a\n]{0,40}") {
            fuzz_users(text.as_bytes());
        }
    }
}
