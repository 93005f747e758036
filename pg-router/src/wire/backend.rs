//! Messages of servers: those that the router sends to clients, and those that it reads. Kind: pure.

use super::cursor::{Cursor, Malformed};
use super::frame::{self, FrameError, Header, LARGE, put, put_cstr};
use super::startup::MAX_SECRET;

pub use super::error::{Fields, Report, ServerError, Severity, fields, put_error, put_notice};

/// The largest length of a message that has no reason to be large: libpq's own limit (src/interfaces/libpq/fe-protocol3.c).
pub const SHORT: u32 = 30_000;

/// Answers a `Parse`.
pub const PARSE_COMPLETE: [u8; 5] = *b"1\0\0\0\x04";

/// Answers a `Bind`.
pub const BIND_COMPLETE: [u8; 5] = *b"2\0\0\0\x04";

/// Answers a `Close`.
pub const CLOSE_COMPLETE: [u8; 5] = *b"3\0\0\0\x04";

/// Answers a `Query` of nothing.
pub const EMPTY_QUERY: [u8; 5] = *b"I\0\0\0\x04";

/// Authentication has succeeded.
pub const AUTHENTICATION_OK: [u8; 9] = *b"R\0\0\0\x08\0\0\0\0";

/// The header of a server's message. Types that carry data may be large, all others may not; a type that we do not
/// know is not refused: the client may.
#[inline]
pub fn header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(header) = frame::header(buf)? else { return Ok(None) };
    match header.len <= SHORT {
        true => Ok(Some(header)),
        false => header.within(cap(header.tag)).map(Some),
    }
}

fn cap(tag: u8) -> u32 {
    match tag {
        b'T' | b'D' | b'd' | b'V' | b'E' | b'N' | b'A' | b't' => LARGE,
        _ => SHORT,
    }
}

/// Where a server stands after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Outside of a transaction.
    Idle,
    /// Inside of one.
    Transaction,
    /// Inside of one that has failed and waits for its end.
    Failed,
}

/// Reads the body of a `ReadyForQuery`.
#[inline]
pub fn ready_for_query(body: &[u8]) -> Result<Status, Malformed> {
    match body {
        b"I" => Ok(Status::Idle),
        b"T" => Ok(Status::Transaction),
        b"E" => Ok(Status::Failed),
        _ => Err(Malformed { message: "ReadyForQuery", what: "its status is unknown" }),
    }
}

/// Appends a `ReadyForQuery`.
#[inline]
pub fn put_ready_for_query(out: &mut Vec<u8>, status: Status) {
    let status = match status {
        Status::Idle => b'I',
        Status::Transaction => b'T',
        Status::Failed => b'E',
    };
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
}

/// Reads the body of a `CommandComplete`: its tag, such as `INSERT 0 1`.
#[inline]
pub fn command_complete(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new("CommandComplete", body);
    let tag = cursor.cstr()?;
    cursor.end().map(|()| tag)
}

/// Appends a `CommandComplete`.
#[inline]
pub fn put_command_complete(out: &mut Vec<u8>, tag: &str) {
    put(out, b'C', |out| put_cstr(out, tag.as_bytes()));
}

/// Reads the body of a `ParameterStatus`: a name and its value. Both are ASCII or in the client's encoding.
#[inline]
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str), Malformed> {
    let mut cursor = Cursor::new("ParameterStatus", body);
    let read = (cursor.text()?, cursor.text()?);
    cursor.end().map(|()| read)
}

/// Appends a `ParameterStatus`.
#[inline]
pub fn put_parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, b'S', |out| {
        put_cstr(out, name.as_bytes());
        put_cstr(out, value.as_bytes());
    });
}

/// Reads the body of a `BackendKeyData`: a process id and a secret of 4 to 256 bytes.
pub fn backend_key_data(body: &[u8]) -> Result<(i32, &[u8]), Malformed> {
    let mut cursor = Cursor::new("BackendKeyData", body);
    let pid = cursor.i32()?;
    match cursor.rest() {
        secret if (4..=MAX_SECRET).contains(&secret.len()) => Ok((pid, secret)),
        _ => Err(cursor.wrong("its secret does not have 4 to 256 bytes")),
    }
}

/// Appends a `BackendKeyData`.
pub fn put_backend_key_data(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    put(out, b'K', |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Appends a `NegotiateProtocolVersion`: the newest minor version we speak, and the options we do not know.
///
/// The field holds the whole version in PostgreSQL 18's reading, `0x0003_0000 | minor`, and only the minor one in the
/// documentation of old; for minor 0 the servers of both ages and libpq agree on the former: it is what they send and read.
pub fn put_negotiate_protocol_version<'a>(
    out: &mut Vec<u8>,
    minor: u16,
    unknown: impl Iterator<Item = &'a str> + Clone,
) {
    put(out, b'v', |out| {
        out.extend_from_slice(&(0x0003_0000 | u32::from(minor)).to_be_bytes());
        let count = u32::try_from(unknown.clone().count()).expect("a first packet holds at most 10000 bytes");
        out.extend_from_slice(&count.to_be_bytes());
        unknown.for_each(|name| put_cstr(out, name.as_bytes()));
    });
}

/// What a server wants next before it lets us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Nothing more: we are in.
    Ok,
    /// The password in clear.
    ClearText,
    /// Its MD5 hash with this salt.
    Md5([u8; 4]),
    /// SASL with one of these mechanisms, each ended by a zero; see [`offers`].
    Sasl(&'a [u8]),
    /// The next SASL message.
    SaslContinue(&'a [u8]),
    /// The last SASL message.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI and what may come.
    Other(i32),
}

/// Reads the body of any `Authentication…` message.
pub fn authentication(body: &[u8]) -> Result<Authentication<'_>, Malformed> {
    let mut cursor = Cursor::new("Authentication", body);
    match cursor.i32()? {
        0 => cursor.end().map(|()| Authentication::Ok),
        3 => cursor.end().map(|()| Authentication::ClearText),
        5 => {
            let salt = cursor.array()?;
            cursor.end().map(|()| Authentication::Md5(salt))
        }
        10 => Ok(Authentication::Sasl(cursor.rest())),
        11 => Ok(Authentication::SaslContinue(cursor.rest())),
        12 => Ok(Authentication::SaslFinal(cursor.rest())),
        other => Ok(Authentication::Other(other)),
    }
}

/// Whether the list of an [`Authentication::Sasl`] names this mechanism.
pub fn offers(mechanisms: &[u8], mechanism: &str) -> bool {
    mechanisms.split(|&byte| byte == 0).any(|offered| offered == mechanism.as_bytes())
}

/// Appends an `AuthenticationCleartextPassword`.
pub fn put_authentication_clear_text(out: &mut Vec<u8>) {
    put_authentication(out, 3, b"");
}

/// Appends an `AuthenticationMD5Password`.
pub fn put_authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    put_authentication(out, 5, &salt);
}

/// Appends an `AuthenticationSASL` that offers these mechanisms.
pub fn put_authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    put(out, b'R', |out| {
        out.extend_from_slice(&10i32.to_be_bytes());
        mechanisms.iter().for_each(|name| put_cstr(out, name.as_bytes()));
        out.push(0);
    });
}

/// Appends an `AuthenticationSASLContinue`.
pub fn put_authentication_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    put_authentication(out, 11, data);
}

/// Appends an `AuthenticationSASLFinal`.
pub fn put_authentication_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    put_authentication(out, 12, data);
}

fn put_authentication(out: &mut Vec<u8>, code: i32, data: &[u8]) {
    put(out, b'R', |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(data);
    });
}

/// Fuzz entry: any bytes as the body of each message that is read.
pub fn fuzz_backend(data: &[u8]) {
    if let Ok((pid, secret)) = backend_key_data(data) {
        let mut out = Vec::new();
        put_backend_key_data(&mut out, pid, secret);
        assert_eq!(&out[frame::HEADER..], data, "decode and encode disagree");
    }
    if let Ok((name, value)) = parameter_status(data) {
        let mut out = Vec::new();
        put_parameter_status(&mut out, name, value);
        assert_eq!(&out[frame::HEADER..], data, "decode and encode disagree");
    }
    let _ = (ready_for_query(data), command_complete(data), header(data));
    if let Ok(Authentication::Sasl(list)) = authentication(data) {
        let _ = offers(list, "SCRAM-SHA-256");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::split;
    use proptest::prelude::*;

    /// The body of the one message that `build` appends.
    fn body(tag: u8, build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        build(&mut out);
        let (message, rest) = split(&out).unwrap().unwrap();
        assert_eq!((message.tag, rest.len()), (tag, 0));
        message.body.to_vec()
    }

    fn check(tag: u8, len: u32, ok: bool) {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&len.to_be_bytes());
        assert_eq!(header(&bytes).is_ok(), ok, "{:?} {len}", char::from(tag));
    }

    #[test]
    fn only_data_may_be_large() {
        check(b'D', LARGE, true);
        check(b'D', LARGE + 1, false);
        check(b'd', 1_000_000, true);
        check(b'Z', SHORT, true);
        check(b'Z', SHORT + 1, false);
        check(b'?', 100, true);
        check(b'Z', 3, false);
    }

    #[test]
    fn a_status_survives_the_round_trip() {
        for status in [Status::Idle, Status::Transaction, Status::Failed] {
            assert_eq!(ready_for_query(&body(b'Z', |out| put_ready_for_query(out, status))), Ok(status));
        }
        assert!(ready_for_query(b"").is_err());
        assert!(ready_for_query(b"X").is_err());
        assert!(ready_for_query(b"II").is_err());
    }

    #[test]
    fn tags_and_parameters_survive_the_round_trip() {
        assert_eq!(
            command_complete(&body(b'C', |out| put_command_complete(out, "BEGIN"))),
            Ok(&b"BEGIN"[..])
        );
        let sent = body(b'S', |out| put_parameter_status(out, "in_hot_standby", "on"));
        assert_eq!(parameter_status(&sent), Ok(("in_hot_standby", "on")));
        assert!(parameter_status(b"name\0").is_err());
        assert!(parameter_status(b"name\0value\0more").is_err());
    }

    #[test]
    fn secrets_have_4_to_256_bytes() {
        let sent = body(b'K', |out| put_backend_key_data(out, -7, &[1, 2, 3, 4]));
        assert_eq!(backend_key_data(&sent), Ok((-7, &[1, 2, 3, 4][..])));
        assert!(backend_key_data(&[0; 7]).is_err());
        assert!(backend_key_data(&[0; 4 + MAX_SECRET]).is_ok());
        assert!(backend_key_data(&[0; 5 + MAX_SECRET]).is_err());
    }

    #[test]
    fn authentication_requests_survive_the_round_trip() {
        let read = |sent: Vec<u8>, want| assert_eq!(authentication(&sent), Ok(want));
        read(AUTHENTICATION_OK[5..].to_vec(), Authentication::Ok);
        read(body(b'R', put_authentication_clear_text), Authentication::ClearText);
        read(body(b'R', |out| put_authentication_md5(out, [1, 2, 3, 4])), Authentication::Md5([1, 2, 3, 4]));
        read(
            body(b'R', |out| put_authentication_sasl_continue(out, b"r=")),
            Authentication::SaslContinue(b"r="),
        );
        read(body(b'R', |out| put_authentication_sasl_final(out, b"v=")), Authentication::SaslFinal(b"v="));
        read(vec![0, 0, 0, 7], Authentication::Other(7));
        assert!(authentication(&[0, 0, 0, 5, 1, 2, 3]).is_err());
        assert!(authentication(&[0, 0]).is_err());
    }

    #[test]
    fn a_mechanism_is_offered_by_its_whole_name() {
        let sent = body(b'R', |out| put_authentication_sasl(out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
        let Ok(Authentication::Sasl(list)) = authentication(&sent) else { panic!("not SASL") };
        assert!(offers(list, "SCRAM-SHA-256"));
        assert!(!offers(b"SCRAM-SHA-256-PLUS\0\0", "SCRAM-SHA-256"));
    }

    #[test]
    fn negotiation_lists_what_is_unknown() {
        let unknown = ["_pq_.a", "_pq_.b"].into_iter();
        let sent = body(b'v', |out| put_negotiate_protocol_version(out, 0, unknown));
        assert_eq!(sent, b"\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.b\0");
    }

    #[test]
    fn the_corpus_holds() {
        let corpus: [&[u8]; 6] =
            [b"", b"I", b"a\0b\0", b"\0\0\0\x0aSCRAM-SHA-256\0\0", b"\0\0\0\x05\0", b"\0\0\0\x01abcd"];
        corpus.into_iter().for_each(fuzz_backend);
    }

    proptest! {
        #[test]
        fn any_body_is_survived(data in proptest::collection::vec(any::<u8>(), 0..60)) {
            fuzz_backend(&data);
        }
    }
}
