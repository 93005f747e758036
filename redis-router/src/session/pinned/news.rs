//! What a server sends unasked, and confirmations, told from replies by their first bytes. Kind: pure.
//!
//! RESP3 has a type for it. In RESP2 a message looks like a reply, but comes only to a subscriber, who gets hardly any
//! replies: <https://redis.io/docs/latest/develop/pubsub/#format-of-pushed-messages>.

use super::state::{Family, State};
use crate::wire::{ReplyKind, Resp};

/// The verbs of messages.
const MESSAGES: [&[u8]; 3] = [b"message", b"pmessage", b"smessage"];

/// Whether this is no reply, given what the client has asked for.
pub(super) fn is_news(kind: ReplyKind, head: &[u8], state: &State) -> bool {
    match kind {
        ReplyKind::Simple => state.monitor && is_feed(head),
        ReplyKind::Other if state.resp == Resp::V2 && !state.subs.is_empty() => {
            verb(head).is_some_and(|verb| MESSAGES.contains(&verb))
        }
        _ => false,
    }
}

/// What a confirmation says, if this is one.
pub(super) fn confirmation(kind: ReplyKind, head: &[u8], resp: Resp) -> Option<(Family, bool)> {
    let expected = if resp == Resp::V3 { ReplyKind::Push } else { ReplyKind::Other };
    let verb = verb(head).filter(|_| kind == expected)?;
    let of = |family: Family| {
        let change = (verb == family.subscribe()).then_some((family, true));
        change.or((verb == family.unsubscribe()).then_some((family, false)))
    };
    Family::ALL.into_iter().find_map(of)
}

/// The channel that a confirmation names, unless it is longer than what is here.
pub(super) fn confirmed(head: &[u8]) -> Option<&[u8]> {
    let (_, rest) = bulk(after_line(head)?)?;
    bulk(rest).map(|(name, _)| name)
}

/// The first element of an array or a push.
fn verb(head: &[u8]) -> Option<&[u8]> {
    if !matches!(head.first(), Some(b'*' | b'>')) {
        return None;
    }
    bulk(after_line(head)?).map(|(verb, _)| verb)
}

fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'\n', bytes)?;
    bytes.get(end + 1..)
}

/// A bulk string, and what follows it.
fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b'$', line @ ..] = bytes else { return None };
    let end = memchr::memchr(b'\r', line)?;
    let len: usize = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    let body = line.get(end + 2..)?;
    Some((body.get(..len)?, body.get(len.checked_add(2)?..)?))
}

/// A line of `MONITOR`: `+1700000000.123456 [0 127.0.0.1:6379] "get" …`. Nothing else that is answered to a client in
/// this mode begins with a digit.
fn is_feed(head: &[u8]) -> bool {
    let line = head.strip_prefix(b"+").unwrap_or_default();
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && line.get(digits) == Some(&b'.')
}
