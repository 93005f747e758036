//! The parser of both versions, over a prefix of the stream. It rejects what it doesn't know as soon as the bytes show
//! it, and it gives the same answer however the bytes are split. Kind: pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Proxied;

/// Section 2.2: "the 12 bytes block".
pub(super) const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_SIGNATURE: &[u8] = b"PROXY ";
/// Section 2.1: the longest line of version 1, with its CRLF.
const V1_MAX: usize = 107;
/// Signature, command, family and length.
const V2_FIXED: usize = 16;
/// How many bytes of addresses and extensions we read for one connection; the specification would allow 65 535.
/// Senders add some hundred at most, a client's certificate name being the longest.
const V2_MAX_LENGTH: usize = 4096;

/// A header that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// On whose behalf the proxy calls; `None`: on its own, or on behalf of somebody whom TCP addresses can't name.
    pub proxied: Option<Proxied>,
    /// How many bytes the header has; the protocol's own begin there.
    pub length: usize,
}

/// How far the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of these bytes belong to the header, and it isn't complete.
    NeedMore,
    /// The header is complete.
    Done(Parsed),
}

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A trusted proxy didn't send a header.
    #[error("no PROXY header from a trusted proxy (is the PROXY protocol switched on there?)")]
    Absent,
    /// Version 1: not one line of at most 107 bytes.
    #[error("the PROXY header has no end within 107 bytes")]
    Endless,
    /// Version 1: the line isn't as the specification has it.
    #[error("malformed PROXY header of version 1")]
    Line,
    /// Version 2: a version, command or address family that isn't assigned.
    #[error("PROXY header of version 2 with unassigned values")]
    Unassigned,
    /// Version 2: more than 4096 bytes of addresses and extensions.
    #[error("a PROXY header that declares {0} bytes")]
    TooLong(usize),
    /// Version 2: the declared length can't hold the addresses.
    #[error("a PROXY header of version 2 that is too short for its addresses")]
    TooShort,
}

/// Parses the header that `bytes`, the stream's first, begin with.
///
/// # Errors
/// When no further bytes could make a header out of them.
pub fn parse(bytes: &[u8]) -> Result<Progress, HeaderError> {
    if agree(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else if agree(bytes, V1_SIGNATURE) {
        parse_v1(bytes)
    } else {
        Err(HeaderError::Absent)
    }
}

/// Whether one is the beginning of the other.
fn agree(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

fn done(proxied: Option<Proxied>, length: usize) -> Progress {
    Progress::Done(Parsed { proxied, length })
}

/// Section 2.1. A line feed ends the header, with its carriage return or without; the latter is then refused.
fn parse_v1(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let Some(end) = bytes.iter().take(V1_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_MAX { Ok(Progress::NeedMore) } else { Err(HeaderError::Endless) };
    };
    let line = bytes[..end].strip_prefix(V1_SIGNATURE).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| str::from_utf8(line).ok()).ok_or(HeaderError::Line)?;
    Ok(done(parse_line(line).ok_or(HeaderError::Line)?, end + 1))
}

/// The line between `PROXY ` and CRLF. What follows UNKNOWN is to be ignored.
fn parse_line(line: &str) -> Option<Option<Proxied>> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        "TCP4" => parse_addresses::<Ipv4Addr>(rest).map(Some),
        "TCP6" => parse_addresses::<Ipv6Addr>(rest).map(Some),
        "UNKNOWN" => Some(None),
        _ => None,
    }
}

fn parse_addresses<Ip: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<Proxied> {
    let mut fields = text.split(' ');
    let mut ip = || fields.next()?.parse::<Ip>().ok();
    let (source, destination) = (ip()?, ip()?);
    let mut port = || parse_port(fields.next()?);
    let (source_port, destination_port) = (port()?, port()?);
    let ends = fields.next().is_none();
    ends.then(|| proxied(source.into(), source_port, destination.into(), destination_port))
}

/// "Heading zeroes are not permitted in front of numbers", and signs aren't either.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    plain.then(|| text.parse().ok()).flatten()
}

/// Mapped addresses become what they map (`::ffff:10.0.0.1` is `10.0.0.1`): limits and logs know one client by one name.
fn proxied(source: IpAddr, source_port: u16, destination: IpAddr, destination_port: u16) -> Proxied {
    Proxied {
        source: SocketAddr::new(source.to_canonical(), source_port),
        destination: SocketAddr::new(destination.to_canonical(), destination_port),
    }
}

/// Section 2.2. Extensions (TLVs) follow the addresses and are skipped.
fn parse_v2(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED) else { return Ok(Progress::NeedMore) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let layout = layout(command, family)?;
    check_length(length, layout)?;
    let Some(block) = rest.get(..length) else { return Ok(Progress::NeedMore) };
    let proxied = match layout {
        Layout::Unnamed => None,
        Layout::Inet => read_inet(block),
        Layout::Inet6 => read_inet6(block),
    };
    Ok(done(proxied, V2_FIXED + length))
}

/// What the block of version 2 begins with, of what concerns us.
#[derive(Clone, Copy)]
enum Layout {
    Unnamed,
    Inet,
    Inet6,
}

impl Layout {
    const fn size(self) -> usize {
        match self {
            Self::Unnamed => 0,
            Self::Inet => 12,
            Self::Inet6 => 36,
        }
    }
}

/// A LOCAL command speaks for the proxy itself, whatever the family. Datagrams and unix sockets can't have become
/// this connection by TCP; they are valid, and the receiver is to go by the real addresses.
fn layout(command: u8, family: u8) -> Result<Layout, HeaderError> {
    match (command, family) {
        (0x20, 0x00..=0x02 | 0x10..=0x12 | 0x20..=0x22 | 0x30..=0x32) => Ok(Layout::Unnamed),
        (0x21, 0x11) => Ok(Layout::Inet),
        (0x21, 0x21) => Ok(Layout::Inet6),
        (0x21, 0x00..=0x02 | 0x10 | 0x12 | 0x20 | 0x22 | 0x30..=0x32) => Ok(Layout::Unnamed),
        _ => Err(HeaderError::Unassigned),
    }
}

fn check_length(length: usize, layout: Layout) -> Result<(), HeaderError> {
    match length {
        length if length > V2_MAX_LENGTH => Err(HeaderError::TooLong(length)),
        length if length < layout.size() => Err(HeaderError::TooShort),
        _ => Ok(()),
    }
}

fn read_inet(block: &[u8]) -> Option<Proxied> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    read_ports(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), rest)
}

fn read_inet6(block: &[u8]) -> Option<Proxied> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    read_ports(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), rest)
}

fn read_ports(source: IpAddr, destination: IpAddr, rest: &[u8]) -> Option<Proxied> {
    let &[a, b, c, d] = rest.first_chunk::<4>()?;
    Some(proxied(source, u16::from_be_bytes([a, b]), destination, u16::from_be_bytes([c, d])))
}

/// The entry for a fuzzer: whatever the bytes, the parser doesn't panic, takes no more than there is, and comes to the
/// same end however they arrive.
pub fn fuzz_proxy_header(bytes: &[u8]) {
    let whole = parse(bytes);
    let first_verdict =
        (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|seen| *seen != Ok(Progress::NeedMore));
    assert_eq!(first_verdict.unwrap_or(Ok(Progress::NeedMore)), whole);
    if let Ok(Progress::Done(parsed)) = whole {
        assert!(parsed.length <= bytes.len());
        assert_eq!(parse(&bytes[..parsed.length]), whole, "nothing beyond the header counts");
    }
}
