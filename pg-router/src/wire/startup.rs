//! The first packet of a connection: what the other side wants of it. Kind: pure.
//!
//! It has no type byte: a length, a code, and what the code says. A client may first ask for encryption, then start;
//! or it cancels a query and leaves. The layout and its checks follow `ProcessStartupPacket` in PostgreSQL's
//! src/backend/tcop/backend_startup.c, and
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-STARTUPMESSAGE>.
//!
//! Whoever answers an encryption request must first make sure that nothing follows it in the buffer: plain bytes must
//! not be taken for encrypted ones (CVE-2021-23214). [`first`] returns the packet's size for that.

use super::cursor::{Cursor, Malformed};

/// The longest body of a first packet: PostgreSQL's own `MAX_STARTUP_PACKET_LENGTH`.
pub const MAX_STARTUP: u32 = 10_000;

/// The newest minor version of protocol 3 that we speak; newer ones are negotiated down to it.
pub const SUPPORTED_MINOR: u16 = 0;

/// The longest secret of a cancel key, as of protocol 3.2.
pub const MAX_SECRET: usize = 256;

pub(super) const CANCEL_CODE: u32 = 80_877_102;
pub(super) const SSL_CODE: u32 = 80_877_103;
pub(super) const GSS_CODE: u32 = 80_877_104;
pub(super) const VERSION_3_0: u32 = 0x0003_0000;

/// What the first packet asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First<'a> {
    /// `SSLRequest`: the client wants TLS; one byte answers, `S` or `N`.
    Tls,
    /// `GSSENCRequest`: the client wants GSSAPI encryption; one byte answers, `G` or `N`.
    Gss,
    /// `CancelRequest`: stop the query of another connection; never answered.
    Cancel(CancelKey<'a>),
    /// `StartupMessage`: let us begin.
    Start(Startup<'a>),
}

/// Names a connection whose query is to be cancelled, and proves the right to do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelKey<'a> {
    /// The process id from `BackendKeyData`.
    pub pid: i32,
    /// The secret from `BackendKeyData`; compare it in constant time.
    pub secret: &'a [u8],
}

/// A first packet that is not one. PostgreSQL closes on some of these without a word; so may we.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length is below 8 or above [`MAX_STARTUP`].
    #[error("invalid length of startup packet")]
    Length(u32),
    /// A major version other than 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{SUPPORTED_MINOR}")]
    Version {
        /// Asked for.
        major: u16,
        /// Asked for.
        minor: u16,
    },
    /// The fields are not laid out as they must be.
    #[error(transparent)]
    Layout(#[from] Malformed),
    /// There is no user name.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
}

impl StartupError {
    /// The SQLSTATE that PostgreSQL gives for it.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Length(_) | Self::Layout(_) => "08P01",
            Self::Version { .. } => "0A000",
            Self::NoUser => "28000",
        }
    }
}

/// The first packet at the front of `buf`, with its size; `None` while it is not all there.
pub fn first(buf: &[u8]) -> Result<Option<(First<'_>, usize)>, StartupError> {
    let Some(&head) = buf.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(head);
    if !(8..=MAX_STARTUP + 4).contains(&len) {
        return Err(StartupError::Length(len));
    }
    let size = len as usize;
    let Some(packet) = buf.get(4..size) else { return Ok(None) };
    read(packet).map(|first| Some((first, size)))
}

/// Whether this first byte opens a TLS handshake without asking (PostgreSQL 17's `sslnegotiation=direct`): no length of
/// a first packet begins with it.
#[inline]
pub fn is_tls_hello(byte: u8) -> bool {
    byte == 0x16
}

fn read(packet: &[u8]) -> Result<First<'_>, StartupError> {
    let mut cursor = Cursor::new("startup", packet);
    match u32::from_be_bytes(cursor.array()?) {
        SSL_CODE => Ok(cursor.end().map(|()| First::Tls)?),
        GSS_CODE => Ok(cursor.end().map(|()| First::Gss)?),
        CANCEL_CODE => Ok(First::Cancel(cancel_key(cursor)?)),
        version => Startup::parse(version, cursor.rest()).map(First::Start),
    }
}

fn cancel_key(mut cursor: Cursor<'_>) -> Result<CancelKey<'_>, Malformed> {
    let pid = cursor.i32()?;
    match cursor.rest() {
        secret if (4..=MAX_SECRET).contains(&secret.len()) => Ok(CancelKey { pid, secret }),
        _ => Err(cursor.wrong("a cancel key has 4 to 256 bytes")),
    }
}

/// A `StartupMessage` whose layout has been checked: names and values are UTF-8, there is a user.
///
/// PostgreSQL takes other encodings too, but nobody can say which one a name is in before there is a database; names
/// that are not UTF-8 are refused rather than guessed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Startup<'a> {
    minor: u16,
    user: &'a str,
    parameters: &'a [u8],
}

impl<'a> Startup<'a> {
    fn parse(version: u32, parameters: &'a [u8]) -> Result<Self, StartupError> {
        let (major, minor) = ((version >> 16) as u16, version as u16);
        if major != 3 {
            return Err(StartupError::Version { major, minor });
        }
        check_layout(parameters)?;
        let user = last(parameters, "user").filter(|user| !user.is_empty()).ok_or(StartupError::NoUser)?;
        Ok(Self { minor, user, parameters })
    }

    /// The minor version asked for.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// Who it is, or says so.
    pub fn user(&self) -> &'a str {
        self.user
    }

    /// The database; the user's name where none is given, as PostgreSQL has it.
    pub fn database(&self) -> &'a str {
        self.get("database").filter(|name| !name.is_empty()).unwrap_or(self.user)
    }

    /// The value of a parameter; the last one where it is given twice.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        last(self.parameters, name)
    }

    /// All parameters in their order, `user` and `database` among them.
    pub fn parameters(&self) -> Parameters<'a> {
        Parameters(Cursor::new("startup", self.parameters))
    }

    /// Protocol options that we do not know: all of them (`_pq_.…`).
    pub fn unknown_options(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.parameters().map(|(name, _)| name).filter(|name| name.starts_with("_pq_."))
    }

    /// Whether a `NegotiateProtocolVersion` must tell the client what we do not speak.
    pub fn needs_negotiation(&self) -> bool {
        self.minor > SUPPORTED_MINOR || self.unknown_options().next().is_some()
    }
}

/// The parameters of a [`Startup`]: names and values.
#[derive(Debug, Clone)]
pub struct Parameters<'a>(Cursor<'a>);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.text().ok().filter(|name| !name.is_empty())?;
        Some((name, self.0.text().ok()?))
    }
}

fn last<'a>(parameters: &'a [u8], name: &str) -> Option<&'a str> {
    Parameters(Cursor::new("startup", parameters))
        .filter(|(key, _)| *key == name)
        .last()
        .map(|(_, value)| value)
}

/// Pairs of strings, then one zero as the very last byte.
fn check_layout(parameters: &[u8]) -> Result<(), Malformed> {
    let mut cursor = Cursor::new("startup", parameters);
    while !cursor.text()?.is_empty() {
        cursor.text()?;
    }
    cursor.end()
}

/// Fuzz entry: any bytes as a first packet.
pub fn fuzz_startup(data: &[u8]) {
    if let Ok(Some((packet, size))) = first(data) {
        assert!(size <= data.len() && size <= MAX_STARTUP as usize + 4);
        if let First::Start(start) = packet {
            assert!(!start.user().is_empty() && !start.database().is_empty());
            assert!(start.parameters().count() >= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frontend;
    use proptest::prelude::*;

    fn packet(version: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = (rest.len() as u32 + 8).to_be_bytes().to_vec();
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(rest);
        out
    }

    fn check(version: u32, rest: &[u8], want: Result<(&str, &str), &str>) {
        let bytes = packet(version, rest);
        let got = first(&bytes).map(|found| match found.expect("it is whole").0 {
            First::Start(start) => (start.user(), start.database()),
            other => panic!("{other:?}"),
        });
        assert_eq!(got.map_err(|e| e.to_string()), want.map_err(str::to_owned), "{rest:?}");
    }

    #[test]
    fn the_database_is_named_after_the_user_unless_given() {
        check(VERSION_3_0, b"user\0anna\0\0", Ok(("anna", "anna")));
        check(VERSION_3_0, b"user\0anna\0database\0shop\0\0", Ok(("anna", "shop")));
        check(VERSION_3_0, b"database\0\0user\0anna\0\0", Ok(("anna", "anna")));
        check(VERSION_3_0, b"user\0eve\0user\0anna\0\0", Ok(("anna", "anna")));
    }

    #[test]
    fn there_must_be_a_user() {
        let none = Err("no PostgreSQL user name specified in startup packet");
        check(VERSION_3_0, b"\0", none);
        check(VERSION_3_0, b"user\0\0\0", none);
    }

    #[test]
    fn the_terminator_is_the_last_byte() {
        check(VERSION_3_0, b"user\0anna\0", Err("malformed startup message: a string has no end"));
        check(VERSION_3_0, b"user\0anna\0\0x", Err("malformed startup message: it goes on after its end"));
        check(VERSION_3_0, b"user\0anna\0lost\0", Err("malformed startup message: a string has no end"));
        check(VERSION_3_0, b"user\0\xff\0\0", Err("malformed startup message: a string is not UTF-8"));
    }

    #[test]
    fn other_majors_are_refused_and_newer_minors_negotiated() {
        let text = "unsupported frontend protocol 2.0: server supports 3.0 to 3.0";
        check(0x0002_0000, b"user\0anna\0\0", Err(text));
        check(0x0003_0002, b"user\0anna\0\0", Ok(("anna", "anna")));
    }

    fn negotiates(version: u32, rest: &[u8], want: bool) {
        let bytes = packet(version, rest);
        let Ok(Some((First::Start(start), _))) = first(&bytes) else { panic!("not a start") };
        assert_eq!(start.needs_negotiation(), want);
    }

    #[test]
    fn newer_minors_and_unknown_options_ask_for_negotiation() {
        negotiates(VERSION_3_0, b"user\0a\0application_name\0x\0\0", false);
        negotiates(VERSION_3_0 + 2, b"user\0a\0\0", true);
        negotiates(VERSION_3_0, b"user\0a\0_pq_.compression\0zstd\0\0", true);
    }

    #[test]
    fn lengths_are_capped_before_the_packet_has_come() {
        for len in [0, 3, 4, 7, MAX_STARTUP + 5, 0x1603_0100, u32::MAX] {
            assert_eq!(first(&len.to_be_bytes()), Err(StartupError::Length(len)));
        }
        assert_eq!(first(&(MAX_STARTUP + 4).to_be_bytes()), Ok(None));
    }

    #[test]
    fn requests_are_recognised() {
        assert_eq!(first(&packet(SSL_CODE, b"")), Ok(Some((First::Tls, 8))));
        assert_eq!(first(&packet(GSS_CODE, b"")), Ok(Some((First::Gss, 8))));
        assert!(first(&packet(SSL_CODE, b"x")).is_err());
        let key = CancelKey { pid: 7, secret: &[1, 2, 3, 4] };
        assert_eq!(
            first(&packet(CANCEL_CODE, &[0, 0, 0, 7, 1, 2, 3, 4])),
            Ok(Some((First::Cancel(key), 16)))
        );
        assert!(first(&packet(CANCEL_CODE, &[0, 0, 0, 7, 1, 2, 3])).is_err());
        assert!(first(&packet(CANCEL_CODE, &[0; 4 + MAX_SECRET + 1])).is_err());
    }

    #[test]
    fn a_packet_is_found_in_front_of_other_bytes() {
        let mut bytes = packet(SSL_CODE, b"");
        bytes.extend_from_slice(b"smuggled");
        assert_eq!(first(&bytes), Ok(Some((First::Tls, 8))));
    }

    #[test]
    fn the_corpus_holds() {
        let corpus = [
            packet(VERSION_3_0, b"user\0a\0\0"),
            packet(CANCEL_CODE, &[9; 8]),
            packet(3, b""),
            vec![0, 0, 0, 8],
        ];
        for bytes in corpus {
            (0..=bytes.len()).for_each(|end| fuzz_startup(&bytes[..end]));
        }
    }

    proptest! {
        #[test]
        fn what_we_send_we_can_read(user in "[^\0]{1,20}", values in proptest::collection::vec(("[a-z_]{1,9}", "[^\0]{0,20}"), 0..6)) {
            let mut bytes = Vec::new();
            let mut params = vec![("user", user.as_str())];
            params.extend(values.iter().filter(|(k, _)| k != "user").map(|(k, v)| (k.as_str(), v.as_str())));
            frontend::put_startup(&mut bytes, params.iter().copied());
            let Ok(Some((First::Start(start), size))) = first(&bytes) else { panic!("not a start: {bytes:?}") };
            prop_assert_eq!(size, bytes.len());
            prop_assert_eq!(start.parameters().collect::<Vec<_>>(), params);
        }

        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            fuzz_startup(&data);
            let mut framed = (data.len() as u32 + 8).to_be_bytes().to_vec();
            framed.extend_from_slice(&VERSION_3_0.to_be_bytes());
            framed.extend_from_slice(&data);
            fuzz_startup(&framed);
        }
    }
}
