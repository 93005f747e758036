//! The protocol of Redis as a client of the test bed needs it: requests are written, replies of RESP2 and RESP3 are read
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). For tests: it trusts the server with memory, but
//! takes nothing that is not a reply. Kind: pure.

use std::fmt;

/// The version of the protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resp {
    /// What every connection begins with.
    V2,
    /// What `HELLO 3` turns it into.
    V3,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-`, with its code.
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`, and what else is text in RESP3: big numbers, doubles, verbatim strings.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` and `_`.
    Null,
    /// `#`
    Boolean(bool),
    /// `*`, `~`, and `%` as keys and values in turns.
    Array(Vec<Self>),
    /// `>`: nobody asked for it.
    Push(Vec<Self>),
}

/// These bytes are no reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbage(pub String);

/// Deeper than any reply to a command of ours.
const DEPTH: usize = 16;

impl Value {
    /// The text of a simple or bulk string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A number, also one that was sent as text.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            other => other.text()?.parse().ok(),
        }
    }

    /// The items of an array or a push; nothing otherwise.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Push(items) => items,
            _ => &[],
        }
    }

    /// Is it `+OK`?
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }

    /// The text of an error.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// What follows `name` in a map, which RESP2 sends as an array.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.items().chunks_exact(2).find(|pair| pair[0].text() == Some(name)).map(|pair| &pair[1])
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) | Self::Error(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Bulk(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Self::Null => f.write_str("null"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Array(items) | Self::Push(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// Appends a request: an array of bulk strings.
pub fn request(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// The same for arguments that are text.
pub fn request_of(out: &mut Vec<u8>, arguments: &[&str]) {
    let bytes: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    request(out, &bytes);
}

/// The first reply in `bytes` and its length; none if it isn't whole yet.
pub fn reply(bytes: &[u8]) -> Result<Option<(Value, usize)>, Garbage> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.value(0) {
        Ok(value) => Ok(Some((value, reader.at))),
        Err(Stop::NotWhole) => Ok(None),
        Err(Stop::Garbage(why)) => Err(Garbage(why)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

enum Stop {
    NotWhole,
    Garbage(String),
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or_else(|| garbage(line))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'+' => Ok(Value::Simple(text())),
            b'-' => Ok(Value::Error(text())),
            b':' => number(rest).map(Value::Integer),
            b'_' => Ok(Value::Null),
            b'#' => Ok(Value::Boolean(rest == b"t")),
            b',' | b'(' => Ok(Value::Bulk(rest.to_vec())),
            b'$' | b'=' | b'!' if rest == b"-1" => Ok(Value::Null),
            b'$' => self.bulk(rest).map(|body| Value::Bulk(body.to_vec())),
            b'=' => self.bulk(rest).map(|body| Value::Bulk(body.get(4..).unwrap_or_default().to_vec())),
            b'!' => self.bulk(rest).map(|body| Value::Error(String::from_utf8_lossy(body).into_owned())),
            b'*' if rest == b"-1" => Ok(Value::Null),
            b'*' | b'~' => self.values(number(rest)?, depth).map(Value::Array),
            b'%' => self.values(number(rest)?.saturating_mul(2), depth).map(Value::Array),
            b'>' => self.values(number(rest)?, depth).map(Value::Push),
            _ => Err(garbage(line)),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::NotWhole)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    fn bulk(&mut self, length: &[u8]) -> Result<&'a [u8], Stop> {
        let length = usize::try_from(number(length)?).map_err(|_| garbage(length))?;
        let rest = &self.bytes[self.at..];
        let whole = length.checked_add(2).and_then(|whole| rest.get(..whole)).ok_or(Stop::NotWhole)?;
        let (body, end) = whole.split_at(length);
        if end != b"\r\n" {
            return Err(garbage(whole));
        }
        self.at += whole.len();
        Ok(body)
    }

    fn values(&mut self, count: i64, depth: usize) -> Result<Vec<Value>, Stop> {
        if depth == DEPTH {
            return Err(Stop::Garbage("too deep".into()));
        }
        (0..count).map(|_| self.value(depth + 1)).collect()
    }
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| garbage(text))
}

fn garbage(bytes: &[u8]) -> Stop {
    Stop::Garbage(format!("no reply: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Value) {
        assert_eq!(reply(bytes.as_bytes()), Ok(Some((expected, bytes.len()))), "{bytes:?}");
        for cut in 0..bytes.len() {
            assert_eq!(reply(&bytes.as_bytes()[..cut]), Ok(None), "{:?}", &bytes[..cut]);
        }
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn every_type_of_both_versions_is_read() {
        check("+OK\r\n", Value::Simple("OK".into()));
        check("-ERR no\r\n", Value::Error("ERR no".into()));
        check(":-12\r\n", Value::Integer(-12));
        check("$4\r\na\r\nb\r\n", bulk("a\r\nb"));
        check("$-1\r\n", Value::Null);
        check("*-1\r\n", Value::Null);
        check("_\r\n", Value::Null);
        check("#t\r\n", Value::Boolean(true));
        check(",1.5\r\n", bulk("1.5"));
        check("=5\r\ntxt:a\r\n", bulk("a"));
        check("*2\r\n:1\r\n*0\r\n", Value::Array(vec![Value::Integer(1), Value::Array(vec![])]));
        check("%1\r\n+a\r\n:1\r\n", Value::Array(vec![Value::Simple("a".into()), Value::Integer(1)]));
        check(">1\r\n+a\r\n", Value::Push(vec![Value::Simple("a".into())]));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in ["x\r\n", "\r\n", ":x\r\n", "$2\r\nabc\r\n", &"*1\r\n".repeat(40)] {
            assert!(reply(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_request_counts_its_arguments_and_their_bytes() {
        let mut out = Vec::new();
        request_of(&mut out, &["SET", "k", ""]);
        assert_eq!(String::from_utf8_lossy(&out), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }

    #[test]
    fn a_map_is_asked_by_name() {
        let map = Value::Array(vec![bulk("ip"), bulk("::1"), bulk("port"), bulk("7")]);
        assert_eq!(map.field("port").and_then(Value::number), Some(7));
        assert_eq!(map.field("x"), None);
    }
}
