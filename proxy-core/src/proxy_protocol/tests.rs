//! Headers as they arrive, well and badly made. Kind: driver.

use std::{net::Ipv6Addr, time::Duration};

use proptest::prelude::*;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, UnixStream},
};

use super::*;

fn proxied(source: &str, destination: &str) -> Option<Proxied> {
    Some(Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

/// A header of version 2 by its parts.
fn v2(command: u8, family: u8, length: u16, block: &[u8]) -> Vec<u8> {
    let mut header = parse::V2_SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(block);
    header
}

/// 10.0.0.1:1 to 10.0.0.2:258, as version 2 writes it.
const INET: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 1, 2];

fn inet() -> Option<Proxied> {
    proxied("10.0.0.1:1", "10.0.0.2:258")
}

/// Parses the header with a request behind it.
#[track_caller]
fn check(header: impl AsRef<[u8]>, expected: Result<Option<Proxied>, HeaderError>) {
    let header = header.as_ref();
    let stream = [header, b"SELECT 1"].concat();
    let length = header.len();
    assert_eq!(parse(&stream), expected.map(|proxied| Progress::Done(Parsed { proxied, length })));
    fuzz_proxy_header(&stream);
}

#[test]
fn version_1() {
    check("PROXY TCP4 10.0.0.1 10.0.0.2 1 258\r\n", Ok(inet()));
    check("PROXY TCP6 ::1 2001:db8::2 65535 0\r\n", Ok(proxied("[::1]:65535", "[2001:db8::2]:0")));
    check("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:10.0.0.2 1 258\r\n", Ok(inet()));
    check("PROXY UNKNOWN\r\n", Ok(None));
    check("PROXY UNKNOWN ffff:f... 1 anything goes\r\n", Ok(None));
}

#[test]
fn version_1_is_strict() {
    for line in [
        "PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2  1 2\r\n",
        "PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n",
        "PROXY TCP4 010.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\u{fffd}\r\n",
    ] {
        check(line, Err(HeaderError::Line));
    }
    check("PROXY UNKNOWN\u{e9}\r\n".as_bytes(), Err(HeaderError::Line));
}

#[test]
fn version_1_ends_within_107_bytes() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), 107);
    check(longest, Ok(None));
    check(format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), Err(HeaderError::Endless));
}

#[test]
fn version_2() {
    check(v2(0x21, 0x11, 12, &INET), Ok(inet()));
    let mut inet6 = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 5, 0, 6]].concat();
    check(v2(0x21, 0x21, 36, &inet6), Ok(proxied("[::1]:5", "[::2]:6")));
    inet6.extend([4, 0, 2, 9, 9]);
    check(v2(0x21, 0x21, 41, &inet6), Ok(proxied("[::1]:5", "[::2]:6")));
}

#[test]
fn version_2_without_names_leaves_the_real_ones() {
    check(v2(0x20, 0x00, 0, b""), Ok(None));
    check(v2(0x20, 0x11, 12, &INET), Ok(None));
    check(v2(0x21, 0x00, 3, b"tlv"), Ok(None));
    check(v2(0x21, 0x12, 12, &INET), Ok(None));
    check(v2(0x21, 0x31, 216, &[0; 216]), Ok(None));
}

#[test]
fn version_2_is_strict() {
    for (command, family) in
        [(0x11, 0x11), (0x31, 0x11), (0x22, 0x11), (0x21, 0x13), (0x21, 0x41), (0x20, 0xff)]
    {
        check(v2(command, family, 12, &INET), Err(HeaderError::Unassigned));
    }
    check(v2(0x21, 0x11, 11, &INET[..11]), Err(HeaderError::TooShort));
    check(v2(0x21, 0x21, 12, &INET), Err(HeaderError::TooShort));
    check(v2(0x20, 0x00, 4096, &[0; 4096]), Ok(None));
    check(v2(0x20, 0x00, 4097, b""), Err(HeaderError::TooLong(4097)));
    check(v2(0x20, 0x00, u16::MAX, b""), Err(HeaderError::TooLong(65_535)));
}

#[test]
fn what_is_no_header_is_known_at_its_first_wrong_byte() {
    for bytes in ["S", "PROXZ", "PROXYTCP4", "\r\n\r\n\0\r\nQUIX", "\r\r"] {
        assert_eq!(parse(bytes.as_bytes()), Err(HeaderError::Absent), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Progress::NeedMore));
}

#[test]
fn the_corpus_is_replayed() {
    let corpus: [&[u8]; 8] = [
        b"",
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n\r\n\r\n",
        b"PROXY UNKNOWN\r",
        b"PROXY \n",
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02rest",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x0c",
    ];
    corpus.into_iter().for_each(fuzz_proxy_header);
}

fn end() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
    (prop_oneof![v4, v6], any::<u16>()).prop_map(SocketAddr::from)
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(version in version(), source in end(), destination in end()) {
        let (source, destination) = (Peer::from(source), Peer::from(destination));
        let written = header(version, source, destination);
        let expected = source.addr().zip(destination.addr());
        let expected = expected.map(|(source, destination)| Proxied { source, destination });
        prop_assert_eq!(parse(&written), Ok(Progress::Done(Parsed { proxied: expected, length: written.len() })));
        fuzz_proxy_header(&written);
    }

    #[test]
    fn any_bytes_behind_a_signature_do_no_harm(second in any::<bool>(), rest in any::<Vec<u8>>()) {
        let signature: &[u8] = if second { parse::V2_SIGNATURE } else { b"PROXY " };
        fuzz_proxy_header(&[signature, &rest].concat());
    }

    #[test]
    fn a_damaged_header_does_no_harm(version in version(), source in end(), at in any::<u16>(), byte in any::<u8>()) {
        let mut header = header(version, source.into(), source.into());
        let at = usize::from(at) % header.len();
        header[at] = byte;
        fuzz_proxy_header(&header);
    }
}

#[test]
fn a_unix_socket_has_no_address_to_tell() {
    let tcp = Peer::from(SocketAddr::from(([10, 0, 0, 1], 1)));
    for version in [Version::V1, Version::V2] {
        check(header(version, Peer::Unix, tcp), Ok(None));
        check(header(version, tcp, Peer::Unix), Ok(None));
    }
}

async fn sockets() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    near.set_nodelay(true).unwrap();
    (near, listener.accept().await.unwrap().0.into())
}

fn policy(trusted: &str, required: bool) -> Policy {
    Policy { trusted: vec![trusted.parse().unwrap()], required }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// A proxy that sends all this at once: what we make of the header, and what is left for the protocol.
async fn received(sent: &[u8], policy: &Policy) -> (Result<Option<Proxied>>, Vec<u8>) {
    let (mut near, mut far) = sockets().await;
    near.write_all(sent).await.unwrap();
    drop(near);
    let accepted = accept(&mut far, policy, soon()).await;
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    (accepted, rest)
}

#[tokio::test]
async fn not_one_byte_of_the_protocol_is_taken() {
    let long = v2(0x21, 0x11, 1000, &[INET.as_slice(), &[0; 988]].concat());
    for header in [b"PROXY TCP4 10.0.0.1 10.0.0.2 1 258\r\n".to_vec(), v2(0x21, 0x11, 12, &INET), long] {
        let sent = [&header, &b"SELECT 1"[..]].concat();
        let (accepted, rest) = received(&sent, &policy("127.0.0.0/8", true)).await;
        assert_eq!((accepted.unwrap(), &rest[..]), (inet(), &b"SELECT 1"[..]));
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let (mut near, mut far) = sockets().await;
    let policy = policy("127.0.0.1/32", false);
    let drip = async {
        for byte in v2(0x21, 0x11, 12, &INET) {
            near.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (accepted, ()) = tokio::join!(accept(&mut far, &policy, soon()), drip);
    assert_eq!(accepted.unwrap(), inet());
}

#[tokio::test]
async fn whoever_is_not_trusted_speaks_for_itself() {
    let header = v2(0x21, 0x11, 12, &INET);
    let (accepted, rest) = received(&header, &policy("10.0.0.0/8", false)).await;
    assert_eq!((accepted.unwrap(), rest), (None, header.clone()));
    let (accepted, _) = received(&header, &policy("10.0.0.0/8", true)).await;
    assert_eq!(accepted.unwrap_err().as_labels(), ["downstream", "denied"]);
}

#[tokio::test]
async fn a_unix_socket_has_no_address_to_trust() {
    let (near, _far) = UnixStream::pair().unwrap();
    let accepted = accept(&mut near.into(), &policy("0.0.0.0/0", false), soon()).await;
    assert_eq!(accepted.unwrap(), None);
}

#[tokio::test]
async fn the_trusted_must_send_a_header_whole_and_in_time() {
    let trusted = policy("127.0.0.1/32", false);
    for (sent, labels) in [
        (&b"SELECT 1"[..], ["downstream", "protocol"]),
        (b"PROXY TCP4 10.0", ["downstream", "closed"]),
        (b"", ["downstream", "closed"]),
    ] {
        let (accepted, _) = received(sent, &trusted).await;
        assert_eq!(accepted.unwrap_err().as_labels(), labels);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_stalls_has_its_time() {
    let (mut near, mut far) = sockets().await;
    near.write_all(b"PROXY ").await.unwrap();
    let accepted = accept(&mut far, &policy("127.0.0.1/32", false), soon()).await;
    assert_eq!(accepted.unwrap_err().as_labels(), ["downstream", "timeout"]);
}
