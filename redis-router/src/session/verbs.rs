//! The commands that the router answers itself, as it alone knows who its clients are. Kind: pure.
//!
//! Texts and forms are those of Redis 7 (src/networking.c, src/acl.c, src/db.c), so that libraries find what they look
//! for. Only clients of this router are seen, listed, unblocked and killed.

mod client;
mod filter;
mod hello;
mod line;

use super::profile::Profile;
use super::registry::Registry;
use crate::command::Verb;
use crate::wire::build::{put_error, put_simple};
use crate::wire::{Args, Resp};

pub use hello::put_hello;

/// What is to be done beyond the answer. Where there is more to do, nothing is answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Answered,
    /// Log in; then answer `+OK`, or what refused it.
    Login(Login),
    /// `HELLO`: log in, if it asks for it; then take its name and version over with [`Hello::settle`], and answer with
    /// [`put_hello`].
    Hello(Hello),
    /// Select a database; then answer `+OK`, or what refused it.
    Select(u32),
    /// Begin anew, then answer `+RESET`.
    Reset,
    /// Answered; close.
    Quit,
    /// Answered; the client itself is among those that were killed.
    Killed,
}

/// Who a client wants to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// As whom; none: the default user, by `AUTH password`.
    pub user: Option<Vec<u8>>,
    /// Its password.
    pub password: Vec<u8>,
}

/// Without the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a `HELLO` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The version; none: as before.
    pub resp: Option<Resp>,
    /// Who it wants to be.
    pub login: Option<Login>,
    /// What it wants to be called.
    pub name: Option<Vec<u8>>,
}

impl Hello {
    /// Takes over what was asked for, once the login has succeeded.
    pub fn settle(&self, profile: &mut Profile) {
        if let Some(name) = &self.name {
            profile.card.name = name.as_slice().into();
        }
        profile.speak(self.resp.unwrap_or(profile.card.resp));
    }
}

/// Answers a verb, whose request this is, or says what is to be done first. `now` is the router's clock in milliseconds.
/// Transactions are not the router's to end here: these are the errors of those that were not begun.
pub fn answer(
    verb: Verb,
    request: Args<'_>,
    profile: &mut Profile,
    registry: &Registry,
    now: u64,
    out: &mut Vec<u8>,
) -> Effect {
    let args: Vec<&[u8]> = request.collect();
    let result = match verb {
        Verb::Auth => auth(&args),
        Verb::Hello => hello::parse(&args).map(Effect::Hello),
        Verb::Select => select(&args),
        Verb::Quit => {
            put_simple(out, "OK");
            return Effect::Quit;
        }
        Verb::Reset => arity(&args, 1, "reset").map(|()| Effect::Reset),
        Verb::Multi => arity(&args, 1, "multi").map(|()| ok(out)),
        Verb::Unwatch => arity(&args, 1, "unwatch").map(|()| ok(out)),
        Verb::Exec => arity(&args, 1, "exec").and_then(|()| Err("ERR EXEC without MULTI".into())),
        Verb::Discard => arity(&args, 1, "discard").and_then(|()| Err("ERR DISCARD without MULTI".into())),
        _ => client::answer(verb, &args, profile, registry, now, out),
    };
    result.unwrap_or_else(|text| {
        put_error(out, &text);
        Effect::Answered
    })
}

/// An error's text, or what is to be done.
type Outcome<T = Effect> = Result<T, String>;

fn ok(out: &mut Vec<u8>) -> Effect {
    put_simple(out, "OK");
    Effect::Answered
}

/// Demands so many arguments, as Redis does; negative: at least so many.
fn arity(args: &[&[u8]], arity: isize, name: &str) -> Outcome<()> {
    let fits =
        if arity < 0 { args.len() >= arity.unsigned_abs() } else { args.len() == arity.unsigned_abs() };
    if fits { Ok(()) } else { Err(format!("ERR wrong number of arguments for '{name}' command")) }
}

fn syntax<T>() -> Outcome<T> {
    Err("ERR syntax error".into())
}

fn auth(args: &[&[u8]]) -> Outcome {
    arity(args, -2, "auth")?;
    match args {
        [_, password] => Ok(Effect::Login(Login { user: None, password: password.to_vec() })),
        [_, user, password] => {
            Ok(Effect::Login(Login { user: Some(user.to_vec()), password: password.to_vec() }))
        }
        _ => syntax(),
    }
}

fn select(args: &[&[u8]]) -> Outcome {
    arity(args, 2, "select")?;
    let db = integer(args[1]).and_then(|db| i32::try_from(db).ok());
    let db = db.ok_or("ERR value is not an integer or out of range")?;
    u32::try_from(db).map(Effect::Select).map_err(|_| "ERR DB index is out of range".into())
}

/// An integer as Redis reads it: digits and a minus, nothing else, no leading zero (src/util.c, `string2ll`).
fn integer(arg: &[u8]) -> Option<i64> {
    let digits = arg.strip_prefix(b"-").unwrap_or(arg);
    let canonical = digits.iter().all(u8::is_ascii_digit) && (digits.first() != Some(&b'0') || arg == b"0");
    std::str::from_utf8(arg).ok().filter(|_| canonical)?.parse().ok()
}

/// What an argument says in an error's text.
fn lossy(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests;
