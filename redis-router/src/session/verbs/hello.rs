//! `HELLO`: what it asks for, and its answer. Kind: pure.

use super::{Hello, Login, Outcome, integer, is, lossy};
use crate::session::verbs::client::check_name;
use crate::wire::Resp;
use crate::wire::build::{put_bulk, put_integer, put_map_header};

/// What a `HELLO` asks for (src/networking.c, `helloCommand`).
pub(super) fn parse(args: &[&[u8]]) -> Outcome<Hello> {
    let mut hello = Hello::default();
    let Some(version) = args.get(1) else { return Ok(hello) };
    hello.resp = Some(match integer(version) {
        Some(2) => Resp::V2,
        Some(3) => Resp::V3,
        Some(_) => return Err("NOPROTO unsupported protocol version".into()),
        None => return Err("ERR Protocol version is not an integer or out of range".into()),
    });
    let mut options = &args[2..];
    while let [option, rest @ ..] = options {
        options = match rest {
            [user, password, rest @ ..] if is(option, "auth") => {
                hello.login = Some(Login { user: Some(user.to_vec()), password: password.to_vec() });
                rest
            }
            [name, rest @ ..] if is(option, "setname") => {
                check_name(name)?;
                hello.name = Some(name.to_vec());
                rest
            }
            _ => return Err(format!("ERR Syntax error in HELLO option '{}'", lossy(option))),
        };
    }
    Ok(hello)
}

/// The answer to `HELLO`: that of the server, with the client's own number. `map` is what the server answered, in either
/// version, to the router itself. What in it is no simple pair of a name and a value is left out, except for lists of
/// nothing: this is about modules, of which a list tells nobody anything that `MODULE LIST` doesn't.
pub fn put_hello(out: &mut Vec<u8>, resp: Resp, map: &[u8], id: u64) {
    let pairs = pairs(map);
    put_map_header(out, pairs.len(), resp);
    for (name, value) in pairs {
        put_bulk(out, name);
        match name {
            b"id" => put_integer(out, i64::try_from(id).unwrap_or(i64::MAX)),
            b"proto" => put_integer(out, if resp == Resp::V3 { 3 } else { 2 }),
            _ => out.extend_from_slice(value),
        }
    }
}

/// The names and the values, these as they are on the wire.
fn pairs(map: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut rest = line(map).map(|(_, rest)| rest).unwrap_or_default();
    let mut pairs = Vec::new();
    while let Some((name, after)) = bulk(rest) {
        let Some(value) = value(after) else { break };
        rest = &after[value.len()..];
        // Nested values of RESP3 would have to be translated; the plain ones are the same in both.
        let plain = matches!(value.first(), Some(b'$' | b':' | b'+')) || value == b"*0\r\n";
        if plain {
            pairs.push((name, value));
        } else if name == b"modules" {
            pairs.push((name, b"*0\r\n"));
        }
    }
    pairs
}

/// The bytes of the value at the front.
fn value(bytes: &[u8]) -> Option<&[u8]> {
    let advance = crate::wire::ReplyFramer::default().advance(bytes).ok()?;
    advance.end.map(|_| &bytes[..advance.used])
}

fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = line(bytes)?;
    let len: usize = std::str::from_utf8(header.strip_prefix(b"$")?).ok()?.parse().ok()?;
    Some((rest.get(..len)?, rest.get(len.checked_add(2)?..)?))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
