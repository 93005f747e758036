//! Which bytes a client asks for (RFC 9110 section 14). Kind: pure.

use super::text::{decimal, trim};

/// How many ranges are looked at. A browser sends one, a reader of documents a few, an attacker hundreds
/// (CVE-2011-3192).
const RANGES: usize = 16;

/// A run of bytes; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub length: u64,
}

impl Span {
    /// The byte behind the last.
    fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// What a Range field comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The field is to be ignored: it isn't of bytes, malformed, or asks for too much.
    Whole,
    /// None of the ranges has a byte of this content: 416.
    Unsatisfiable,
    /// At least one run, in the order in which they were asked for; those that overlap or touch are one.
    Spans(Vec<Span>),
}

/// What the value of a Range field selects of so many bytes.
///
/// A server may ignore the field whenever it likes (section 14.2); it does so for what costs it more than to send all:
/// more than 16 ranges, or several that come to the whole content. One that is the whole is taken: players of videos ask for
/// `bytes=0-` to see whether ranges are served at all.
pub fn select(value: &[u8], length: u64) -> Selection {
    let Some(spans) = parse(value, length) else { return Selection::Whole };
    let several = spans.len() > 1;
    let spans = coalesce(spans);
    match spans[..] {
        [] => Selection::Unsatisfiable,
        [Span { start: 0, length: whole }] if several && whole == length => Selection::Whole,
        _ => Selection::Spans(spans),
    }
}

/// The ranges that have bytes; nothing if the field is to be ignored.
fn parse(value: &[u8], length: u64) -> Option<Vec<Span>> {
    let (unit, set) = value.split_at(memchr::memchr(b'=', value)?);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut spans = Vec::new();
    let mut count = 0;
    for range in set[1..].split(|byte| *byte == b',').map(trim).filter(|range| !range.is_empty()) {
        count += 1;
        if count > RANGES {
            return None;
        }
        spans.extend(one(range, length)?);
    }
    (count > 0).then_some(spans)
}

/// One of `first-last`, `first-` and `-suffix`: `Some(None)` if it is well-formed and has no byte.
fn one(range: &[u8], length: u64) -> Option<Option<Span>> {
    let dash = memchr::memchr(b'-', range)?;
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    let (start, end) = match (first, last) {
        ([], suffix) => (length.saturating_sub(number(suffix)?), length),
        (first, []) => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    Some((start < end).then(|| Span { start, length: end - start }))
}

/// Digits; a number beyond 64 bits is beyond any content.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| decimal(text).unwrap_or(u64::MAX))
}

/// Joins those that overlap or touch (section 14.2: a server may), so that no byte is sent twice.
fn coalesce(spans: Vec<Span>) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for mut span in spans {
        let mut place = joined.len();
        // At most 16 of them: no need to sort, which would lose the order that was asked for.
        while let Some(at) = joined.iter().position(|other| touches(*other, span)) {
            let other = joined.remove(at);
            let start = other.start.min(span.start);
            span = Span { start, length: other.end().max(span.end()) - start };
            place = place.min(at).min(joined.len());
        }
        joined.insert(place, span);
    }
    joined
}

fn touches(one: Span, other: Span) -> bool {
    one.start <= other.end() && other.start <= one.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs as first and last byte.
    #[track_caller]
    fn check(value: &str, length: u64, runs: &[(u64, u64)]) {
        let spans =
            runs.iter().map(|(first, last)| Span { start: *first, length: last - first + 1 }).collect();
        assert_eq!(select(value.as_bytes(), length), Selection::Spans(spans), "{value} of {length}");
    }

    #[track_caller]
    fn check_all(values: &[&str], length: u64, selection: &Selection) {
        for value in values {
            assert_eq!(select(value.as_bytes(), length), *selection, "{value} of {length}");
        }
    }

    #[test]
    fn a_range_has_a_first_byte_a_last_byte_or_both() {
        check("bytes=0-499", 10_000, &[(0, 499)]);
        check("bytes=500-", 10_000, &[(500, 9999)]);
        check("bytes=-500", 10_000, &[(9500, 9999)]);
        check("bytes=9500-20000", 10_000, &[(9500, 9999)]);
        check("bytes=0-0,-1", 10_000, &[(0, 0), (9999, 9999)]);
        check("Bytes= 1-2 ,\t4-5,,", 10, &[(1, 2), (4, 5)]);
        check("bytes=1-18446744073709551616", 10, &[(1, 9)]);
        for whole in ["bytes=0-", "bytes=0-9", "bytes=-10", "bytes=-99"] {
            check(whole, 10, &[(0, 9)]);
        }
    }

    #[test]
    fn the_order_is_that_of_the_client_and_no_byte_comes_twice() {
        check("bytes=8-9,0-1", 10, &[(8, 9), (0, 1)]);
        check("bytes=0-3,2-5", 10, &[(0, 5)]);
        check("bytes=0-1,2-3", 10, &[(0, 3)]);
        check("bytes=6-7,0-1,2-5,9-9", 10, &[(0, 7), (9, 9)]);
        check("bytes=5-5,5-5,5-5", 10, &[(5, 5)]);
        check("bytes=20-30,1-2", 10, &[(1, 2)]);
    }

    #[test]
    fn a_range_beyond_the_end_is_not_satisfiable() {
        check_all(&["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=11-12,-0"], 10, &Selection::Unsatisfiable);
        check_all(&["bytes=99999999999999999999-"], 10, &Selection::Unsatisfiable);
        check_all(&["bytes=0-", "bytes=0-0", "bytes=-1"], 0, &Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_malformed_or_several_times_everything_is_ignored() {
        let malformed = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes",
            "items=0-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=-",
            "bytes=2-1",
            "bytes=0-1,x",
            "bytes=+0-1",
            "bytes=0--1",
            "bytes=0 -1",
            "bytes =0-1",
            "bytes=0x1-2",
        ];
        check_all(&malformed, 10, &Selection::Whole);
        check_all(&["bytes=5-9,0-4", "bytes=0-,-1", "bytes=0-9,0-9"], 10, &Selection::Whole);
        let many = format!("bytes={}", vec!["1-1"; 17].join(","));
        check_all(&[&many], 10, &Selection::Whole);
    }
}
