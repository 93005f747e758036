//! The first words on a connection: `HELLO` (with the identity), `SELECT`, and what is to be loaded. Kind: driver.

use std::future::poll_fn;
use std::ops::ControlFlow;

use bytes::Bytes;
use proxy_core::link::{Link, Scratch};

use super::Identity;
use crate::wire::build::put_request;
use crate::wire::{ReplyFault, ReplyFramer, ReplyKind, Resp};

/// Bytes that one answer of the login may have; a HELLO has a few hundred, with many modules a few thousand.
const MAX_ANSWER: usize = 64 * 1024;

/// What a client hears that has not logged in (src/server.c, `shared.noautherr`).
const NO_AUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";

/// What the server said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The whole answer to HELLO, in the version that was asked for.
    pub hello: Bytes,
    /// The server's own number for the connection, for `CLIENT UNBLOCK`.
    pub id: u64,
    /// Whether it calls itself a master.
    pub is_master: bool,
    /// Its version; empty if it does not tell.
    pub version: Box<str>,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server's own answer: this user, password or database is refused. A whole error reply.
    #[error("the server refuses the login: {}", String::from_utf8_lossy(.0).trim_end())]
    Denied(Bytes),
    /// The server is not ready, or is no master.
    #[error("the server can't serve now: {}", String::from_utf8_lossy(.0).trim_end())]
    NotReady(Bytes),
    /// It closed, or failed.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// What it answers is no Redis protocol.
    #[error("the server answers nonsense: {0}")]
    Nonsense(String),
}

impl From<ReplyFault> for LoginError {
    fn from(fault: ReplyFault) -> Self {
        Self::Nonsense(fault.to_string())
    }
}

/// Logs `link` in. `scripts` are loaded on the way; whether the server takes them is of no importance.
pub(super) async fn login(
    link: &mut Link,
    scratch: &Scratch,
    identity: &Identity,
    resp: Resp,
    db: u32,
    scripts: &[Bytes],
) -> Result<Greeting, LoginError> {
    let out = link.outbox.buffer();
    let authenticates = put_hello(out, identity, resp);
    let (number, selects) = (db.to_string(), db != 0);
    if selects {
        put_request(out, &[b"SELECT", number.as_bytes()]);
    }
    for script in scripts {
        put_request(out, &[b"SCRIPT", b"LOAD", script]);
    }
    poll_fn(|cx| link.poll_flush(cx)).await.map_err(|error| LoginError::Lost(error.to_string()))?;
    let mut answers = Answers { link, scratch, framer: ReplyFramer::default(), bytes: Vec::new() };
    if authenticates {
        answers.next().await?;
    }
    let hello = answers.next().await?;
    if selects {
        answers.next().await?;
    }
    for _ in scripts {
        if let Err(error @ (LoginError::Lost(_) | LoginError::Nonsense(_))) = answers.next().await {
            return Err(error);
        }
    }
    Ok(Greeting::read(hello))
}

/// `HELLO`, with the login in it. For the default user an `AUTH` goes ahead, as its clients send it: Redis then says
/// itself what it thinks of a password that nobody asked for. True: that has an answer of its own.
fn put_hello(out: &mut Vec<u8>, identity: &Identity, resp: Resp) -> bool {
    let version: &[u8] = if resp == Resp::V3 { b"3" } else { b"2" };
    match identity.credentials() {
        Some((Some(user), password)) => put_request(out, &[b"HELLO", version, b"AUTH", user, password]),
        Some((None, password)) => {
            put_request(out, &[b"AUTH", password]);
            put_request(out, &[b"HELLO", version]);
            return true;
        }
        None => put_request(out, &[b"HELLO", version]),
    }
    false
}

/// Answers, one after the other; nothing is read behind the last.
struct Answers<'a> {
    link: &'a mut Link,
    scratch: &'a Scratch,
    framer: ReplyFramer,
    bytes: Vec<u8>,
}

impl Answers<'_> {
    async fn next(&mut self) -> Result<Bytes, LoginError> {
        self.bytes.clear();
        loop {
            if let ControlFlow::Break(kind) = self.cut()? {
                let answer = Bytes::copy_from_slice(&self.bytes);
                return if kind == ReplyKind::Error { Err(refusal(answer)) } else { Ok(answer) };
            }
            let read = poll_fn(|cx| self.link.poll_keep(cx, self.scratch)).await;
            match read {
                Ok(0) => return Err(LoginError::Lost("closed by the server".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(LoginError::Lost(error.to_string())),
            }
        }
    }

    /// Moves what belongs to the answer out of the inbox.
    fn cut(&mut self) -> Result<ControlFlow<ReplyKind>, LoginError> {
        let advance = self.framer.advance(self.link.inbox.rest())?;
        self.bytes.extend_from_slice(&self.link.inbox.rest()[..advance.used]);
        self.link.inbox.consume(advance.used);
        match advance.end {
            Some(kind) => Ok(ControlFlow::Break(kind)),
            None if self.bytes.len() > MAX_ANSWER => {
                Err(LoginError::Nonsense("a login without end".to_owned()))
            }
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

fn refusal(answer: Bytes) -> LoginError {
    // The server speaks of the HELLO that is ours; the client is to hear of its own command.
    let answer = if answer.starts_with(b"-NOAUTH ") { Bytes::from_static(NO_AUTH) } else { answer };
    let not_ready = [&b"-LOADING"[..], b"-MASTERDOWN", b"-BUSY"];
    match not_ready.iter().any(|code| answer.starts_with(code)) {
        true => LoginError::NotReady(answer),
        false => LoginError::Denied(answer),
    }
}

impl Greeting {
    /// Reads the answer to HELLO, whose names and values are the same in both versions.
    fn read(hello: Bytes) -> Self {
        let word = |name: &[u8]| value(&hello, name).unwrap_or_default();
        let version = String::from_utf8_lossy(word(b"version")).into();
        let id = std::str::from_utf8(word(b"id")).ok().and_then(|id| id.parse().ok()).unwrap_or(0);
        let is_master = word(b"role") == b"master";
        Self { hello, id, is_master, version }
    }
}

/// What follows the bulk string `name` in a flat map: the text of a bulk string or of a number.
fn value<'a>(map: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = map.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.find(|line| *line == name)?;
    match lines.next()? {
        [b':', number @ ..] => Some(number),
        [b'$', ..] => lines.next(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(role: &str) -> Bytes {
        Bytes::from(format!(
            "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n\
             :4711\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n${}\r\n{role}\r\n$7\r\nmodules\r\n*0\r\n",
            role.len()
        ))
    }

    #[test]
    fn a_greeting_tells_role_version_and_id() {
        let greeting = Greeting::read(hello("master"));
        assert_eq!((greeting.is_master, &*greeting.version, greeting.id), (true, "7.0.15", 4711));
        assert!(!Greeting::read(hello("replica")).is_master);
    }

    #[test]
    fn a_greeting_that_says_nothing_is_no_masters() {
        let greeting = Greeting::read(Bytes::from_static(b"%0\r\n"));
        assert_eq!((greeting.is_master, &*greeting.version, greeting.id), (false, "", 0));
    }

    #[test]
    fn a_server_that_loads_is_not_ready_and_a_wrong_password_is_denied() {
        assert!(matches!(refusal(Bytes::from_static(b"-LOADING x\r\n")), LoginError::NotReady(_)));
        assert!(matches!(refusal(Bytes::from_static(b"-WRONGPASS x\r\n")), LoginError::Denied(_)));
    }
}
