//! Replies, whole, cut and hostile. Kind: pure.

use super::*;

/// Shows the reply at once, then byte by byte, with another behind it; all must agree.
#[track_caller]
fn whole(reply: &str, kind: ReplyKind) {
    let end = Advance { used: reply.len(), end: Some(kind) };
    assert_eq!(ReplyFramer::default().advance(reply.as_bytes()), Ok(end), "{reply:?}");
    let more = format!("{reply}:1\r\n");
    assert_eq!(ReplyFramer::default().advance(more.as_bytes()), Ok(end), "{more:?}");
    let mut framer = ReplyFramer::default();
    for _ in 0..2 {
        assert!(!framer.is_midway());
        for (at, byte) in reply.bytes().enumerate() {
            let last = at + 1 == reply.len();
            let end = if last { Some(kind) } else { None };
            assert_eq!(framer.advance(&[byte]), Ok(Advance { used: 1, end }), "{reply:?} at {at}");
            assert_eq!(framer.is_midway(), !last, "{reply:?} at {at}");
        }
    }
}

#[track_caller]
fn fault(reply: &[u8], expected: ReplyFault) {
    assert_eq!(ReplyFramer::default().advance(reply), Err(expected), "{reply:?}");
    let mut framer = ReplyFramer::default();
    let faults = reply.iter().find_map(|byte| framer.advance(&[*byte]).err());
    assert_eq!(faults, Some(expected), "{reply:?}");
}

#[test]
fn lines_are_framed() {
    whole("+OK\r\n", ReplyKind::Simple);
    whole("+\r\n", ReplyKind::Simple);
    whole("-ERR no\r\n", ReplyKind::Error);
    whole(":-12\r\n", ReplyKind::Other);
    whole("_\r\n", ReplyKind::Null);
    whole("#t\r\n", ReplyKind::Other);
    whole(",3.14\r\n", ReplyKind::Other);
    whole("(3492890328409238509324850943850943825024385\r\n", ReplyKind::Other);
}

#[test]
fn strings_are_framed() {
    whole("$0\r\n\r\n", ReplyKind::Other);
    whole("$4\r\na\r\nb\r\n", ReplyKind::Other);
    whole("$12\r\nhello, world\r\n", ReplyKind::Other);
    whole("$-1\r\n", ReplyKind::Null);
    whole("!5\r\nERR x\r\n", ReplyKind::Error);
    whole("=7\r\ntxt:abc\r\n", ReplyKind::Other);
}

#[test]
fn aggregates_are_framed() {
    whole("*0\r\n", ReplyKind::Other);
    whole("*-1\r\n", ReplyKind::Null);
    whole("*2\r\n$1\r\na\r\n:1\r\n", ReplyKind::Other);
    whole("*2\r\n*2\r\n*0\r\n*-1\r\n$-1\r\n", ReplyKind::Other);
    whole("%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%0\r\n", ReplyKind::Other);
    whole("~2\r\n-ERR inside\r\n_\r\n", ReplyKind::Other);
    whole(">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", ReplyKind::Push);
    whole("*10\r\n:0\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n", ReplyKind::Other);
}

#[test]
fn an_attribute_belongs_to_what_follows() {
    whole("|1\r\n+ttl\r\n:5\r\n+OK\r\n", ReplyKind::Simple);
    whole("|0\r\n-ERR no\r\n", ReplyKind::Error);
    whole("|1\r\n+a\r\n|1\r\n+b\r\n:1\r\n:2\r\n|1\r\n+c\r\n+d\r\n_\r\n", ReplyKind::Null);
    whole("*2\r\n|1\r\n+a\r\n-ERR x\r\n:1\r\n:2\r\n", ReplyKind::Other);
}

#[test]
fn depth_costs_nothing() {
    let depth = 1_000_000;
    let mut reply = "*1\r\n".repeat(depth).into_bytes();
    reply.extend(b":1\r\n");
    let end = Advance { used: reply.len(), end: Some(ReplyKind::Other) };
    assert_eq!(ReplyFramer::default().advance(&reply), Ok(end));
}

#[test]
fn what_is_missing_of_a_string_is_known() {
    let mut framer = ReplyFramer::default();
    framer.advance(b"*2\r\n$1000000\r\nab").unwrap();
    assert_eq!(framer.expected(), 1_000_000);
    framer.advance(&[b'c'; 1000]).unwrap();
    assert_eq!(framer.expected(), 999_000);
}

#[test]
fn a_string_that_nobody_shows_ends_where_it_says() {
    let mut framer = ReplyFramer::default();
    framer.advance(b"*2\r\n$1000000\r\nab").unwrap();
    framer.skip(framer.expected() - 2);
    let end = Advance { used: 6, end: Some(ReplyKind::Other) };
    assert_eq!(framer.clone().advance(b"\r\n:1\r\n+OK\r\n"), Ok(end));
    assert_eq!(framer.advance(b"ab:1\r\n"), Err(ReplyFault::Body));
}

#[test]
fn hostile_replies_are_refused() {
    fault(b"HTTP/1.1 200 OK\r\n", ReplyFault::Type(b'H'));
    fault(b"\r\n", ReplyFault::Type(b'\r'));
    fault(b".\r\n", ReplyFault::Type(b'.'));
    fault(b"$?\r\n", ReplyFault::Length(b'$'));
    fault(b"*?\r\n", ReplyFault::Length(b'*'));
    fault(b"$-2\r\n", ReplyFault::Length(b'$'));
    fault(b"%-1\r\n", ReplyFault::Length(b'%'));
    fault(b">-1\r\n", ReplyFault::Length(b'>'));
    fault(b"*01\r\n", ReplyFault::Length(b'*'));
    fault(b"$\r\n", ReplyFault::Length(b'$'));
    fault(b"$1\n", ReplyFault::Length(b'$'));
    fault(b"$1111111111111111111\r\n", ReplyFault::Length(b'$'));
    fault(b"$2\r\nabc\r\n", ReplyFault::Body);
    fault(b"$2\r\nab\rc", ReplyFault::Body);
    fault(b"$2\r\nab\n\r", ReplyFault::Body);
    fault(b"+a\nb\r\n", ReplyFault::Line);
    fault(b"+a\rb\r\n", ReplyFault::Line);
    fault("*999999999999999999\r\n".repeat(19).as_bytes(), ReplyFault::TooMany);
    fault(&b"%999999999999999999\r\n".repeat(10), ReplyFault::TooMany);
}

#[test]
fn the_state_is_small() {
    assert!(size_of::<ReplyFramer>() <= 48);
}
