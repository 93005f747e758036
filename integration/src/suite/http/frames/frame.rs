//! HTTP/2 on the wire, as little of it as a client needs that breaks its rules: frames of any kind, length and flags
//! (RFC 9113 section 4), fields as literals and the status of an answer (RFC 7541). Kind: pure.

/// What every client says first (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types (section 6).
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// Reserved for experiments: whoever does not know it ignores it (section 5.5).
    pub(crate) const UNKNOWN: u8 = 0xf5;
}

/// The flags.
pub(super) mod flag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
    /// A whole request without a body.
    pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;
}

/// The settings (section 6.5.2).
pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const UNKNOWN: u16 = 0xfafa;
}

/// The error codes (section 7).
pub(super) mod code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const PROTOCOL: u32 = 1;
    pub(crate) const FLOW_CONTROL: u32 = 3;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const COMPRESSION: u32 = 9;
    pub(crate) const CALM: u32 = 11;
}

/// The frame size that nobody has to agree on, and the window that everybody has at first.
pub(super) const FRAME_SIZE: usize = 16_384;
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;

const HEAD: usize = 9;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// The first frame of `bytes`, and how many of them it takes.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.get(..HEAD)? else { return None };
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let payload = bytes.get(HEAD..HEAD + length)?;
        let stream = number(stream) & MAX_WINDOW;
        Some((Self::new(*kind, *flags, stream, payload), HEAD + length))
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.payload);
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The value of a setting that it tells.
    pub(super) fn setting(&self, key: u16) -> Option<u32> {
        let mut pairs = self.payload.chunks_exact(6);
        pairs.find(|pair| pair[..2] == key.to_be_bytes()).map(|pair| number(&pair[2..]))
    }

    /// The error code of a RST_STREAM or a GOAWAY, the increment of a WINDOW_UPDATE.
    pub(super) fn error_code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        number(self.payload.get(at..).unwrap_or_default())
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

pub(super) fn data(stream: u32, flags: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(kind::DATA, flags, stream, payload)
}

pub(super) fn headers(stream: u32, flags: u8, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(kind::HEADERS, flags, stream, block)
}

pub(super) fn continuation(stream: u32, flags: u8, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(kind::CONTINUATION, flags, stream, block)
}

/// Of a stream that depends on another one (RFC 7540 section 6.3; RFC 9113 section 5.3.2 has it ignored).
pub(super) fn priority(stream: u32, on: u32) -> Frame {
    Frame::new(kind::PRIORITY, flag::NONE, stream, [&on.to_be_bytes()[..], &[15]].concat())
}

pub(super) fn reset(stream: u32, code: u32) -> Frame {
    Frame::new(kind::RST_STREAM, flag::NONE, stream, code.to_be_bytes())
}

pub(super) fn settings(pairs: &[(u16, u32)]) -> Frame {
    let bytes = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    Frame::new(kind::SETTINGS, flag::NONE, 0, pairs.iter().flat_map(bytes).collect::<Vec<_>>())
}

pub(super) fn ping(flags: u8, payload: &[u8]) -> Frame {
    Frame::new(kind::PING, flags, 0, payload)
}

pub(super) fn window_update(stream: u32, by: u32) -> Frame {
    Frame::new(kind::WINDOW_UPDATE, flag::NONE, stream, by.to_be_bytes())
}

/// A block of fields, each a literal that no table remembers (RFC 7541 section 6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        put_string(&mut out, name.as_bytes());
        put_string(&mut out, value.as_bytes());
    }
    out
}

/// RFC 7541 section 5.2, without Huffman.
pub(super) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// RFC 7541 section 5.1.
pub(super) fn put_number(out: &mut Vec<u8>, mark: u8, bits: u8, number: usize) {
    let most = (1_usize << bits) - 1;
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    if number < most {
        return out.push(mark | byte(number));
    }
    out.push(mark | byte(most));
    let mut rest = number - most;
    while rest >= 0x80 {
        out.push(byte(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(byte(rest));
}

/// The status of an answer's block, by a peer that was told to keep no table: the first field (section 8.3.2), by an entry
/// of the static table or as a literal beside one.
pub(super) fn status(block: &[u8]) -> Option<u16> {
    const FIRST: u8 = 8;
    const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let field = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    let (first, rest) = block[field..].split_first()?;
    if first & 0x80 != 0 {
        return STATUSES.get(usize::from((first & 0x7f).checked_sub(FIRST)?)).copied();
    }
    let index = if first & 0x40 != 0 { first & 0x3f } else { first & 0x0f };
    if !(FIRST..FIRST + 7).contains(&index) {
        return None;
    }
    let (length, text) = rest.split_first()?;
    let text = text.get(..usize::from(length & 0x7f))?;
    if length & 0x80 != 0 { digits(text) } else { std::str::from_utf8(text).ok()?.parse().ok() }
}

/// Three digits in Huffman's code (RFC 7541 appendix B): 0 to 2 take five bits, the others six.
fn digits(text: &[u8]) -> Option<u16> {
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let five = (0..5).try_fold(0, |sum, _| Some(sum << 1 | bits.next()?))?;
        let digit = if five < 3 { five } else { (five << 1 | bits.next()?).checked_sub(22)? };
        number = number * 10 + digit;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = Frame::new(kind::PING, flag::ACK, 7, [1; 8]);
        let mut bytes = Vec::new();
        frame.put(&mut bytes);
        assert_eq!(Frame::read(&bytes), Some((frame, 17)));
        assert_eq!(Frame::read(&bytes[..16]), None);
    }

    #[track_caller]
    fn check_number(number: usize, bits: u8, bytes: &[u8]) {
        let mut out = Vec::new();
        put_number(&mut out, 0, bits, number);
        assert_eq!(out, bytes);
    }

    /// RFC 7541 appendix C.1.
    #[test]
    fn numbers_are_as_the_examples_have_them() {
        check_number(10, 5, &[0b01010]);
        check_number(1337, 5, &[31, 154, 10]);
        check_number(42, 8, &[42]);
    }

    #[track_caller]
    fn check_status(block: &[u8], expected: Option<u16>) {
        assert_eq!(status(block), expected, "{block:x?}");
    }

    #[test]
    fn a_status_is_found_in_each_of_its_forms() {
        check_status(&[0x88], Some(200));
        check_status(&[0x20, 0x8d], Some(404));
        check_status(b"\x08\x03413", Some(413));
        check_status(b"\x48\x03503", Some(503));
        // RFC 7541 appendix C.6.1: 302.
        check_status(&[0x48, 0x82, 0x64, 0x02], Some(302));
        check_status(&[0x82], None);
        check_status(&[], None);
    }
}
