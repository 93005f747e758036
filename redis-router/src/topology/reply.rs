//! Replies on control connections: RESP2, decoded by redis-protocol behind a guard of our own. Kind: pure.
//!
//! The crate recurses without limit, reserves what a reply declares, and does not look at the last CRLF; so a reply is
//! first walked without recursion, and only a whole, shallow and small one is decoded.

use memchr::memchr;
use redis_protocol::resp2::decode;
use redis_protocol::resp2::types::OwnedFrame;

/// The largest reply that is read: a master with a thousand replicas fits several times.
pub(super) const MAX_REPLY: usize = 1 << 20;

/// `ROLE` and `SENTINEL REPLICAS` nest arrays twice.
const MAX_DEPTH: usize = 8;

/// No number on the wire has more digits.
const MAX_LINE: usize = 64 * 1024;

/// What came is no reply that we would read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reply of a Redis server: {0}")]
pub(super) struct Malformed(&'static str);

/// A decoded reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply(OwnedFrame);

/// The first reply in `bytes` and its length; none while it is not whole.
pub(super) fn decode_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let Some(length) = measure(bytes)? else { return Ok(None) };
    match decode::decode(&bytes[..length]) {
        Ok(Some((frame, used))) if used == length => Ok(Some((Reply(frame), length))),
        _ => Err(Malformed("the decoder disagrees with the guard")),
    }
}

/// How long the first reply is; none while its end is not there.
fn measure(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    // How many elements each open array still lacks.
    let mut open = Vec::with_capacity(MAX_DEPTH);
    let mut at = 0;
    loop {
        let Some(element) = Element::read(&bytes[at..])? else { return unfinished(bytes) };
        at += element.length;
        match element.children {
            Some(children) if children > 0 => {
                if open.len() == MAX_DEPTH {
                    return Err(Malformed("nested too deeply"));
                }
                open.push(children);
                continue;
            }
            _ => {}
        }
        while let Some(lacks) = open.last_mut() {
            *lacks -= 1;
            if *lacks > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            return Ok(Some(at));
        }
    }
}

fn unfinished(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.len() > MAX_REPLY { Err(Malformed("too large")) } else { Ok(None) }
}

/// One element of a reply, as far as its extent goes.
struct Element {
    length: usize,
    children: Option<usize>,
}

impl Element {
    fn read(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(line) = line(bytes)? else { return Ok(None) };
        let (kind, rest) = line.split_first().ok_or(Malformed("an empty line"))?;
        let header = line.len() + 2;
        match kind {
            b'+' | b'-' => Ok(Some(Self { length: header, children: None })),
            b':' => number(rest).map(|_| Some(Self { length: header, children: None })),
            b'*' => {
                let children = declared(rest)?;
                Ok(Some(Self { length: header, children }))
            }
            b'$' => Self::bulk(bytes, header, declared(rest)?),
            _ => Err(Malformed("an unknown type")),
        }
    }

    fn bulk(bytes: &[u8], header: usize, declared: Option<usize>) -> Result<Option<Self>, Malformed> {
        let Some(body) = declared else { return Ok(Some(Self { length: header, children: None })) };
        let end = header + body;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => Ok(Some(Self { length: end + 2, children: None })),
            Some(_) => Err(Malformed("a string without its final CRLF")),
            None => Ok(None),
        }
    }
}

/// The first line without its CRLF.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let within = &bytes[..bytes.len().min(MAX_LINE)];
    match memchr(b'\r', within) {
        None if bytes.len() >= MAX_LINE => Err(Malformed("a line without an end")),
        None => Ok(None),
        Some(end) => match bytes.get(end + 1) {
            Some(b'\n') => Ok(Some(&bytes[..end])),
            Some(_) => Err(Malformed("a CR without its LF")),
            None => Ok(None),
        },
    }
}

/// A declared length or count: none for null.
fn declared(digits: &[u8]) -> Result<Option<usize>, Malformed> {
    match number(digits)? {
        -1 => Ok(None),
        count => match usize::try_from(count) {
            Ok(count) if count <= MAX_REPLY => Ok(Some(count)),
            _ => Err(Malformed("a length out of bounds")),
        },
    }
}

fn number(digits: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Malformed("no number where one is due"))
}

impl Reply {
    /// The error that the server answered with.
    pub(crate) fn error(&self) -> Option<&str> {
        if let OwnedFrame::Error(text) = &self.0 { Some(text) } else { None }
    }

    /// Whether the answer is that there is nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.0, OwnedFrame::Null)
    }

    /// A string, simple or bulk.
    pub(crate) fn text(&self) -> Option<&str> {
        text(&self.0)
    }

    /// The elements of an array.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        if let OwnedFrame::Array(items) = &self.0 {
            return Some(items.iter().cloned().map(Self).collect());
        }
        None
    }

    /// A number, or a string of digits.
    pub(super) fn integer(&self) -> Option<i64> {
        match &self.0 {
            OwnedFrame::Integer(number) => Some(*number),
            other => text(other)?.parse().ok(),
        }
    }

    /// The value of a field, where the reply is a flat list of names and values.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let OwnedFrame::Array(items) = &self.0 else { return None };
        let mut pairs = items.chunks_exact(2);
        pairs.find(|pair| text(&pair[0]) == Some(name)).and_then(|pair| text(&pair[1]))
    }
}

fn text(frame: &OwnedFrame) -> Option<&str> {
    match frame {
        OwnedFrame::SimpleString(bytes) | OwnedFrame::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The value of a field in the text that `INFO` answers with.
pub(super) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim_end)
}

/// Writes a command as an array of bulk strings.
pub(super) fn put_command(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Reply {
        let (reply, used) = decode_reply(bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(decode_reply(&bytes[..cut]).unwrap(), None, "cut at {cut}");
        }
        reply
    }

    #[track_caller]
    fn refuse(bytes: &[u8], words: &str) {
        let error = decode_reply(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn replies_are_read_whole() {
        assert_eq!(whole(b"+OK\r\n").text(), Some("OK"));
        assert_eq!(whole(b"-ERR no\r\n").error(), Some("ERR no"));
        assert_eq!(whole(b":-7\r\n").integer(), Some(-7));
        assert_eq!(whole(b"$2\r\n42\r\n").integer(), Some(42));
        assert!(whole(b"*-1\r\n").is_null() && whole(b"$-1\r\n").is_null());
        assert_eq!(whole(b"*0\r\n").list(), Some(Vec::new()));
        assert_eq!(whole(b"*2\r\n*1\r\n:1\r\n+x\r\n").list().unwrap()[1].text(), Some("x"));
        let map = whole(b"*4\r\n$4\r\nname\r\n$1\r\nm\r\n$5\r\nepoch\r\n$1\r\n3\r\n");
        assert_eq!((map.field("epoch"), map.field("m")), (Some("3"), None));
    }

    #[test]
    fn hostile_replies_are_refused_before_they_are_decoded() {
        refuse(&b"*1\r\n".repeat(100_000), "too deeply");
        refuse(b"*2000000000\r\n", "out of bounds");
        refuse(b"$-2\r\n", "out of bounds");
        refuse(b"$99999999999999999999\r\n", "no number");
        refuse(b"$2\r\nabXX", "final CRLF");
        refuse(b"HTTP/1.1 400 Bad Request\r\n", "unknown type");
        refuse(b"\x15\x03\x01\x00\x02\r\n", "unknown type");
        refuse(b"+a\rb\r\n", "CR without its LF");
        refuse(&vec![b'+'; MAX_LINE], "line without an end");
        let many = [b"*1000000\r\n".to_vec(), b":1\r\n".repeat(300_000)].concat();
        refuse(&many, "too large");
    }

    #[test]
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "# Replication\r\nrole:master\r\nmaster_replid2:b\r\nmaster_replid:a\r\n";
        assert_eq!(info_field(info, "master_replid"), Some("a"));
        assert_eq!(info_field(info, "role"), Some("master"));
        assert_eq!(info_field(info, "rol"), None);
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        put_command(&mut out, &["AUTH", "é"]);
        assert_eq!(out, "*2\r\n$4\r\nAUTH\r\n$2\r\né\r\n".as_bytes());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(
            prop_oneof![Just(b'*'), Just(b'$'), Just(b'1'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..64)
        ) {
            let _ = decode_reply(&bytes);
        }
    }
}
