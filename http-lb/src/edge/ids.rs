//! By what a request is found again in all logs: its id and its trace. Chance is an argument. Kind: pure.

use crate::wire::{Name, RequestHead};

/// The longest id that is taken over.
const LONGEST: usize = 64;

/// The id of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; LONGEST],
    len: u8,
    /// The random bits of a new one.
    random: Option<u128>,
}

impl RequestId {
    /// A new one, of 128 random bits.
    pub fn new(random: u128) -> Self {
        let mut bytes = [0; LONGEST];
        hex(&random.to_be_bytes(), &mut bytes);
        Self { bytes, len: 32, random: Some(random) }
    }

    /// The one that was given, if it looks like one.
    pub fn given(text: &[u8]) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.=+/:".contains(byte);
        if !(8..=LONGEST).contains(&text.len()) || !text.iter().all(plain) {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self { bytes, len: u8::try_from(text.len()).ok()?, random: None })
    }

    /// The id.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Its first 32 digits as a number, if it is hexadecimal as ours are; else one that is made of its bytes.
    pub fn number(&self) -> u128 {
        self.random.unwrap_or_else(|| self.number_of_text())
    }

    fn number_of_text(&self) -> u128 {
        let digits = self.as_str().get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let mix = |sum: u128, byte: &u8| sum.wrapping_mul(0x0100_0000_01b3) ^ u128::from(*byte);
        digits.unwrap_or_else(|| self.as_bytes().iter().fold(1, mix))
    }

    /// The id; only ASCII is ever taken.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `traceparent` is well-formed: version, trace, parent, flags, none of them all zeros or of version ff.
///
/// <https://www.w3.org/TR/trace-context/#traceparent-header>
pub fn is_traceparent(text: &[u8]) -> bool {
    let Some(exact) = text.get(..55) else { return false };
    let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let well_formed = exact.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => lower_hex(byte),
    });
    let nonzero = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    // A later version may have more behind a hyphen; version 00 has not.
    let end = text.len() == 55 || (&exact[..2] != b"00" && text[55] == b'-');
    well_formed && end && &exact[..2] != b"ff" && nonzero(&exact[3..35]) && nonzero(&exact[36..52])
}

/// The trace that a request continues, if a proxy that we trust began one.
pub fn continued(head: &RequestHead, trusted: bool) -> Option<&[u8]> {
    head.known(Name::Traceparent).filter(|text| trusted && is_traceparent(text))
}

/// Begins a trace: the trace's own id is the request's 128 random bits, so that both are found by one search.
/// Nothing is recorded by us, so that the flag for it is not set.
pub fn begin(trace: u128, span: u64) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex(&trace.max(1).to_be_bytes(), &mut text[3..]);
    hex(&span.max(1).to_be_bytes(), &mut text[36..]);
    text
}

/// In fours.
fn hex(bytes: &[u8], out: &mut [u8]) {
    let (numbers, _) = bytes.as_chunks();
    let (places, _) = out.as_chunks_mut();
    for (digits, number) in places.iter_mut().zip(numbers) {
        *digits = eight_digits(u32::from_be_bytes(*number));
    }
}

/// All digits of a number at once, each in its byte of a word.
const fn eight_digits(number: u32) -> [u8; 8] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let halves = (number as u64 | (number as u64) << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (bytes | bytes << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // One for each value beyond nine: six more carry it into the upper half of its byte.
    let letters = (values + ONES * 6) >> 4 & ONES;
    (values + ONES * b'0' as u64 + letters * (b'a' - b'0' - 10) as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_those_of_the_number() {
        for number in [0, 9, 10, 15, 16, 0x9a, 0xa9, 0xffff, 0x1000_0000, 0xa0f9_90a9, u32::MAX] {
            assert_eq!(eight_digits(number), *format!("{number:08x}").as_bytes(), "{number}");
        }
    }

    #[test]
    fn new_ids_are_hexadecimal() {
        let id = RequestId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.as_str(), "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn given_ids_must_look_like_one() {
        let given = |text: &str| RequestId::given(text.as_bytes()).is_some();
        assert!(given("0fd2a6c0-5e5d-4c1e-9a38-7fbc3aa6d2a4") && given("12345678"));
        assert!(!given("short") && !given("") && !given(&"a".repeat(65)));
        assert!(!given("has space") && !given("quote\"quote") && !given("line\nbreak"));
    }

    #[test]
    fn a_trace_is_well_formed() {
        let check = |text: &[u8]| is_traceparent(text);
        assert!(check(&begin(0, 0)) && check(&begin(u128::MAX, 7)));
        assert!(check(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(check(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        assert!(!check(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        assert!(!check(b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!check(b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
        assert!(!check(b"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!check(b""));
    }
}
