//! Messages of clients: those that the router reads, rewrites, or sends to a server itself. Kind: pure.
//!
//! Names of statements and portals stay bytes: they are in the client's encoding and serve as keys only.

use super::cursor::{Cursor, Malformed};
use super::frame::{self, FrameError, Header, LARGE, SMALL, put, put_cstr, put_untyped};
use super::startup::{CANCEL_CODE, GSS_CODE, SSL_CODE, VERSION_3_0};

/// The largest answer to an authentication request: PostgreSQL's own `PG_MAX_AUTH_TOKEN_LENGTH`.
pub const MAX_AUTH: u32 = 65_535;

/// Sent once to say goodbye.
pub const TERMINATE: [u8; 5] = *b"X\0\0\0\x04";

/// Ends a batch of the extended protocol.
pub const SYNC: [u8; 5] = *b"S\0\0\0\x04";

/// Asks for the answers so far without ending the batch.
pub const FLUSH: [u8; 5] = *b"H\0\0\0\x04";

/// The header of a client's message, with the caps that PostgreSQL itself puts on each type (`SocketBackend` in
/// src/backend/tcop/postgres.c). A type that no client sends is refused, as there.
#[inline]
pub fn header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(header) = frame::header(buf)? else { return Ok(None) };
    header.within(cap(header.tag)?).map(Some)
}

#[inline]
fn cap(tag: u8) -> Result<u32, FrameError> {
    match tag {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Ok(LARGE),
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => Ok(SMALL),
        b'p' => Ok(MAX_AUTH),
        tag => Err(FrameError::UnknownType { tag }),
    }
}

/// `Parse`: prepare a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The name it gets; empty for the unnamed statement.
    pub name: &'a [u8],
    /// Its text.
    pub query: &'a [u8],
    /// The count and the type ids of its parameters, as they stand on the wire.
    pub types: &'a [u8],
}

/// Reads the body of a `Parse`.
#[inline]
pub fn parse(body: &[u8]) -> Result<Parse<'_>, Malformed> {
    let mut cursor = Cursor::new("Parse", body);
    let (name, query, types) = (cursor.cstr()?, cursor.cstr()?, cursor.rest());
    let count = cursor.count()?;
    cursor.take(usize::from(count) * 4)?;
    cursor.end()?;
    Ok(Parse { name, query, types })
}

/// Appends the same `Parse` under another name.
#[inline]
pub fn put_parse(out: &mut Vec<u8>, name: &[u8], statement: &Parse<'_>) {
    put(out, b'P', |out| {
        put_cstr(out, name);
        put_cstr(out, statement.query);
        out.extend_from_slice(statement.types);
    });
}

/// `Bind`: give a statement its parameters and get a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The statement's name; empty for the unnamed one.
    pub statement: &'a [u8],
    /// Formats and values, unread.
    pub rest: &'a [u8],
}

/// Reads the names at the front of a `Bind`'s body. Body may be incomplete: the values are not looked at.
#[inline]
pub fn bind(body: &[u8]) -> Result<Bind<'_>, Malformed> {
    let mut cursor = Cursor::new("Bind", body);
    Ok(Bind { portal: cursor.cstr()?, statement: cursor.cstr()?, rest: cursor.rest() })
}

/// Appends the same `Bind` of another statement.
#[inline]
pub fn put_bind(out: &mut Vec<u8>, statement: &[u8], bind: &Bind<'_>) {
    put(out, b'B', |out| {
        put_cstr(out, bind.portal);
        put_cstr(out, statement);
        out.extend_from_slice(bind.rest);
    });
}

/// What a `Close` or a `Describe` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement, by name.
    Statement(&'a [u8]),
    /// A portal, by name.
    Portal(&'a [u8]),
}

/// Reads the body of a `Close` or a `Describe`.
#[inline]
pub fn target(body: &[u8]) -> Result<Target<'_>, Malformed> {
    let mut cursor = Cursor::new("Close or Describe", body);
    let (kind, name) = (cursor.u8()?, cursor.cstr()?);
    cursor.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(cursor.wrong("its kind is neither statement nor portal")),
    }
}

/// Appends a `Describe`.
#[inline]
pub fn put_describe(out: &mut Vec<u8>, target: Target<'_>) {
    put_target(out, b'D', target);
}

/// Appends a `Close`.
#[inline]
pub fn put_close(out: &mut Vec<u8>, target: Target<'_>) {
    put_target(out, b'C', target);
}

#[inline]
fn put_target(out: &mut Vec<u8>, tag: u8, target: Target<'_>) {
    let (kind, name) = match target {
        Target::Statement(name) => (b'S', name),
        Target::Portal(name) => (b'P', name),
    };
    put(out, tag, |out| {
        out.push(kind);
        put_cstr(out, name);
    });
}

/// Reads the body of an `Execute`: the portal and the most rows to return (0: all).
#[inline]
pub fn execute(body: &[u8]) -> Result<(&[u8], i32), Malformed> {
    let mut cursor = Cursor::new("Execute", body);
    let read = (cursor.cstr()?, cursor.i32()?);
    cursor.end().map(|()| read)
}

/// Reads the body of a `Query`: its text.
#[inline]
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    only_string("Query", body)
}

/// Appends a `Query`.
#[inline]
pub fn put_query(out: &mut Vec<u8>, text: &str) {
    put(out, b'Q', |out| put_cstr(out, text.as_bytes()));
}

/// Reads the body of a `PasswordMessage`.
pub fn password(body: &[u8]) -> Result<&[u8], Malformed> {
    only_string("PasswordMessage", body)
}

/// Appends a `PasswordMessage`: a password in clear, or its MD5 hash.
pub fn put_password(out: &mut Vec<u8>, password: &[u8]) {
    put(out, b'p', |out| put_cstr(out, password));
}

fn only_string<'a>(message: &'static str, body: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let mut cursor = Cursor::new(message, body);
    let text = cursor.cstr()?;
    cursor.end().map(|()| text)
}

/// `SASLInitialResponse`: a mechanism and the first words in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitial<'a> {
    /// The mechanism that the client picked.
    pub mechanism: &'a [u8],
    /// Its first message, unless the client waits for ours.
    pub data: Option<&'a [u8]>,
}

/// Reads the body of a `SASLInitialResponse`. (A `SASLResponse` is its body, nothing to read.)
pub fn sasl_initial(body: &[u8]) -> Result<SaslInitial<'_>, Malformed> {
    let mut cursor = Cursor::new("SASLInitialResponse", body);
    let read = SaslInitial { mechanism: cursor.cstr()?, data: cursor.value()? };
    cursor.end().map(|()| read)
}

/// Appends a `SASLInitialResponse`.
pub fn put_sasl_initial(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    put(out, b'p', |out| {
        put_cstr(out, mechanism.as_bytes());
        put_untyped_value(out, data);
    });
}

/// Appends a `SASLResponse`.
pub fn put_sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    put(out, b'p', |out| out.extend_from_slice(data));
}

fn put_untyped_value(out: &mut Vec<u8>, data: &[u8]) {
    let len = u32::try_from(data.len()).expect("our own SASL messages are short");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(data);
}

/// Appends a `StartupMessage` of protocol 3.0. Names must not be empty: the list would end there.
pub fn put_startup<'a>(out: &mut Vec<u8>, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) {
    put_untyped(out, |out| {
        out.extend_from_slice(&VERSION_3_0.to_be_bytes());
        for (name, value) in parameters {
            put_cstr(out, name.as_bytes());
            put_cstr(out, value.as_bytes());
        }
        out.push(0);
    });
}

/// Appends a `CancelRequest`.
pub fn put_cancel(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    put_untyped(out, |out| {
        out.extend_from_slice(&CANCEL_CODE.to_be_bytes());
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Appends an `SSLRequest`.
pub fn put_ssl_request(out: &mut Vec<u8>) {
    put_untyped(out, |out| out.extend_from_slice(&SSL_CODE.to_be_bytes()));
}

/// Appends a `GSSENCRequest`.
pub fn put_gss_request(out: &mut Vec<u8>) {
    put_untyped(out, |out| out.extend_from_slice(&GSS_CODE.to_be_bytes()));
}

/// Fuzz entry: any bytes as the body of each message that is read.
pub fn fuzz_frontend(data: &[u8]) {
    if let Ok(found) = parse(data) {
        let mut out = Vec::new();
        put_parse(&mut out, found.name, &found);
        assert_eq!(&out[frame::HEADER..], data, "a Parse changed under its own name");
    }
    if let Ok(found) = bind(data) {
        let mut out = Vec::new();
        put_bind(&mut out, found.statement, &found);
        assert_eq!(&out[frame::HEADER..], data, "a Bind changed under its own name");
    }
    let _ = (target(data), execute(data), query(data), password(data), sasl_initial(data), header(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::startup::{First, first};
    use proptest::prelude::*;

    /// The body of the one message that `build` appends.
    fn body(tag: u8, build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        build(&mut out);
        let (message, rest) = frame::split(&out).unwrap().unwrap();
        assert_eq!((message.tag, rest.len()), (tag, 0));
        message.body.to_vec()
    }

    fn check(tag: u8, len: u32, want: Result<u32, FrameError>) {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&len.to_be_bytes());
        assert_eq!(header(&bytes).map(|h| h.expect("five bytes").len), want);
    }

    #[test]
    fn each_type_has_the_cap_of_postgresql() {
        check(b'Q', LARGE, Ok(LARGE));
        check(b'E', SMALL, Ok(SMALL));
        check(b'E', SMALL + 1, Err(FrameError::TooLong { tag: b'E', len: SMALL + 1, cap: SMALL }));
        check(b'p', MAX_AUTH + 1, Err(FrameError::TooLong { tag: b'p', len: MAX_AUTH + 1, cap: MAX_AUTH }));
        check(b'Z', 5, Err(FrameError::UnknownType { tag: b'Z' }));
        check(b'S', 3, Err(FrameError::TooShort { tag: b'S', len: 3 }));
    }

    #[test]
    fn a_parse_can_be_renamed() {
        let original = parse(b"s1\0select $1\0\0\x01\0\0\0\x17").unwrap();
        assert_eq!((original.name, original.query), (&b"s1"[..], &b"select $1"[..]));
        let renamed = body(b'P', |out| put_parse(out, b"other", &original));
        assert_eq!(renamed, b"other\0select $1\0\0\x01\0\0\0\x17");
    }

    #[test]
    fn a_parse_with_a_lying_count_is_refused() {
        for types in [&b""[..], b"\0", b"\0\x01", b"\0\x01\0\0\0", b"\0\0\0", b"\xff\xff\0\0\0\0"] {
            let mut bytes = b"\0select 1\0".to_vec();
            bytes.extend_from_slice(types);
            assert!(parse(&bytes).is_err(), "{types:?}");
        }
    }

    #[test]
    fn a_bind_can_be_given_another_statement() {
        let original = bind(b"p\0s1\0\0\0\0\0\0\0").unwrap();
        assert_eq!((original.portal, original.statement), (&b"p"[..], &b"s1"[..]));
        assert_eq!(body(b'B', |out| put_bind(out, b"x", &original)), b"p\0x\0\0\0\0\0\0\0");
        assert!(bind(b"p\0s1").is_err());
    }

    #[test]
    fn targets_are_statements_or_portals() {
        assert_eq!(target(b"Ss1\0"), Ok(Target::Statement(b"s1")));
        assert_eq!(target(b"P\0"), Ok(Target::Portal(b"")));
        assert!(target(b"Xs1\0").is_err());
        assert!(target(b"Ss1\0x").is_err());
        assert!(target(b"").is_err());
        assert_eq!(body(b'C', |out| put_close(out, Target::Portal(b"p"))), b"Pp\0");
        assert_eq!(body(b'D', |out| put_describe(out, Target::Statement(b"s"))), b"Ss\0");
    }

    #[test]
    fn an_execute_names_its_portal() {
        assert_eq!(execute(b"p\0\0\0\0\x05"), Ok((&b"p"[..], 5)));
        assert!(execute(b"p\0\0\0\0").is_err());
    }

    #[test]
    fn queries_and_passwords_are_one_string() {
        assert_eq!(query(&body(b'Q', |out| put_query(out, "select 1"))), Ok(&b"select 1"[..]));
        assert_eq!(password(&body(b'p', |out| put_password(out, b"s3cret"))), Ok(&b"s3cret"[..]));
        assert!(query(b"select 1\0; drop table orders\0").is_err());
    }

    #[test]
    fn a_sasl_response_may_be_absent_but_not_negative() {
        let sent = body(b'p', |out| put_sasl_initial(out, "SCRAM-SHA-256", b"n,,"));
        assert_eq!(sasl_initial(&sent), Ok(SaslInitial { mechanism: b"SCRAM-SHA-256", data: Some(b"n,,") }));
        assert_eq!(sasl_initial(b"X\0\xff\xff\xff\xff"), Ok(SaslInitial { mechanism: b"X", data: None }));
        assert!(sasl_initial(b"X\0\xff\xff\xff\xfe").is_err());
        assert!(sasl_initial(b"X\0\0\0\0\x09abc").is_err());
    }

    #[test]
    fn requests_read_as_what_they_are() {
        let sent = |build: fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            build(&mut out);
            out
        };
        assert!(matches!(first(&sent(put_ssl_request)), Ok(Some((First::Tls, 8)))));
        assert!(matches!(first(&sent(put_gss_request)), Ok(Some((First::Gss, 8)))));
        assert!(matches!(
            first(&sent(|out| put_cancel(out, 7, &[1, 2, 3, 4]))),
            Ok(Some((First::Cancel(_), 16)))
        ));
    }

    #[test]
    fn the_corpus_holds() {
        let corpus: [&[u8]; 5] =
            [b"", b"\0\0\0\0", b"s\0q\0\0\x01\0\0\0\x17", b"Sname\0", b"p\0s\0\0\0\0\0\0\0"];
        corpus.into_iter().for_each(fuzz_frontend);
    }

    proptest! {
        #[test]
        fn any_body_is_survived(data in proptest::collection::vec(any::<u8>(), 0..60)) {
            fuzz_frontend(&data);
        }
    }
}
