//! Parts of a file: which of them a Range field asks for, and the heads that part them. Kind: pure.
//!
//! Ranges are an invitation to make a server send a file many times over (CVE-2011-3192), so that whoever asks for many, or
//! for much twice, gets the whole file instead, as RFC 9110 section 14.2 allows.

use bytes::Bytes;

/// More ranges than this are not answered by parts.
const MOST: usize = 16;

/// A stretch of a file. Never empty, never behind the file's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first byte.
    pub(super) offset: u64,
    /// How many bytes.
    pub(super) length: u64,
}

impl Span {
    fn end(self) -> u64 {
        self.offset + self.length
    }
}

/// What a Range field comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// The field is not understood, or asks for too much: as if it were not there.
    Whole,
    /// Nothing of what it asks for is there: 416.
    Unsatisfiable,
    /// One part: 206.
    One(Span),
    /// Several parts, in the file's order, apart from each other: 206, `multipart/byteranges`.
    Several(Vec<Span>),
}

/// Selects from a file of `length` bytes what `field` asks for (RFC 9110 section 14.1.2). Ranges that touch become one.
pub(super) fn select(field: &[u8], length: u64) -> Selection {
    let Some(specs) = specs(field) else { return Selection::Whole };
    let mut spans = Vec::new();
    for (count, spec) in
        specs.split(|byte| *byte == b',').map(trim).filter(|spec| !spec.is_empty()).enumerate()
    {
        match span(spec, length) {
            _ if count == MOST => return Selection::Whole,
            None => return Selection::Whole,
            Some(None) => {}
            Some(Some(span)) => spans.push(span),
        }
    }
    // No range at all is no ranges-specifier.
    let any = specs.iter().any(u8::is_ascii_digit);
    settle(spans, length, any)
}

fn settle(mut spans: Vec<Span>, length: u64, any: bool) -> Selection {
    let asked: u64 = spans.iter().fold(0, |sum, span| sum.saturating_add(span.length));
    spans.sort_unstable_by_key(|span| span.offset);
    spans.dedup_by(|next, span| {
        let touches = next.offset <= span.end();
        if touches {
            span.length = span.end().max(next.end()) - span.offset;
        }
        touches
    });
    match spans.as_slice() {
        [] if any => Selection::Unsatisfiable,
        [] => Selection::Whole,
        [span] => Selection::One(*span),
        // Parts that are as large as the file cost more than the file.
        _ if asked >= length => Selection::Whole,
        _ => Selection::Several(spans),
    }
}

/// What follows `bytes=`; the unit's name knows no case (section 14.1).
fn specs(field: &[u8]) -> Option<&[u8]> {
    let (unit, specs) = field.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(specs)
}

/// One range: `None` if it is none, `Some(None)` if nothing of it is there.
fn span(spec: &[u8], length: u64) -> Option<Option<Span>> {
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(suffix(number(last)?, length)),
        (false, true) => Some(from_to(number(first)?, u64::MAX, length)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| from_to(first, last, length))
        }
    }
}

fn suffix(wanted: u64, length: u64) -> Option<Span> {
    let wanted = wanted.min(length);
    (wanted > 0).then(|| Span { offset: length - wanted, length: wanted })
}

fn from_to(first: u64, last: u64, length: u64) -> Option<Span> {
    let end = last.saturating_add(1).min(length);
    (first < end).then(|| Span { offset: first, length: end - first })
}

/// Digits alone; what is larger than any file counts as just that.
fn number(digits: &[u8]) -> Option<u64> {
    let step = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, step))
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The value of a Content-Range field.
pub(super) fn content_range(span: Span, length: u64) -> String {
    format!("bytes {}-{}/{length}", span.offset, span.end() - 1)
}

/// What parts the parts of an answer (RFC 9110 section 14.6, RFC 2046 section 5.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    /// The value of the answer's Content-Type.
    pub(super) content_type: String,
    /// What stands before each part.
    pub(super) heads: Vec<Bytes>,
    /// What stands behind the last.
    pub(super) tail: Bytes,
}

/// Parts these spans. The boundary is made of the entity tag, which stands for the file's contents.
pub(super) fn partition(spans: &[Span], length: u64, content_type: &str, etag: &[u8]) -> Partition {
    let tag: String =
        etag.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte)).collect();
    let boundary = format!("part-{tag}");
    let head = |(index, span): (usize, &Span)| {
        let lead = if index == 0 { "" } else { "\r\n" };
        let range = content_range(*span, length);
        format!("{lead}--{boundary}\r\ncontent-type: {content_type}\r\ncontent-range: {range}\r\n\r\n").into()
    };
    Partition {
        content_type: format!("multipart/byteranges; boundary={boundary}"),
        heads: spans.iter().enumerate().map(head).collect(),
        tail: format!("\r\n--{boundary}--\r\n").into(),
    }
}

/// For the fuzzer: whatever the field, what is selected lies within the file, in order and apart.
pub fn fuzz_select(field: &[u8], length: u64) {
    let spans = match select(field, length) {
        Selection::Whole | Selection::Unsatisfiable => return,
        Selection::One(span) => vec![span],
        Selection::Several(spans) => spans,
    };
    assert!(spans.len() <= MOST && spans.iter().all(|span| span.length > 0 && span.end() <= length));
    assert!(spans.windows(2).all(|pair| pair[0].end() < pair[1].offset));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(field: &str, length: u64, expected: &[(u64, u64)]) {
        let spans = match select(field.as_bytes(), length) {
            Selection::One(span) => vec![span],
            Selection::Several(spans) => spans,
            other => panic!("{field}: {other:?}"),
        };
        let found: Vec<_> = spans.iter().map(|span| (span.offset, span.end() - 1)).collect();
        assert_eq!(found, expected, "{field}");
    }

    #[track_caller]
    fn check_not(field: &str, length: u64, expected: &Selection) {
        assert_eq!(select(field.as_bytes(), length), *expected, "{field}");
    }

    /// The examples of RFC 9110 section 14.1.2, for a file of 10000 bytes.
    #[test]
    fn the_examples_of_the_rfc() {
        check("bytes=0-499", 10000, &[(0, 499)]);
        check("bytes=500-999", 10000, &[(500, 999)]);
        check("bytes=-500", 10000, &[(9500, 9999)]);
        check("bytes=9500-", 10000, &[(9500, 9999)]);
        check("bytes=0-0,-1", 10000, &[(0, 0), (9999, 9999)]);
        check("bytes= 0-999, 4500-5499, -1000", 10000, &[(0, 999), (4500, 5499), (9000, 9999)]);
        check("bytes=500-600,601-999", 10000, &[(500, 999)]);
        check("bytes=500-700,601-999", 10000, &[(500, 999)]);
    }

    #[test]
    fn ranges_end_where_the_file_ends() {
        check("bytes=0-99999999999999999999999999", 10, &[(0, 9)]);
        check("bytes=9-18446744073709551615", 10, &[(9, 9)]);
        check("bytes=-99999999999999999999", 10, &[(0, 9)]);
        check("BYTES=0-", 1, &[(0, 0)]);
    }

    #[test]
    fn ranges_come_in_the_order_of_the_file_and_those_that_touch_are_one() {
        check("bytes=8-8,0-1", 10, &[(0, 1), (8, 8)]);
        check("bytes=0-1,2-3,5-5", 10, &[(0, 3), (5, 5)]);
        check("bytes=0-5,1-2,,", 10, &[(0, 5)]);
        check("bytes=0-0,99-", 10, &[(0, 0)]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        check_not("bytes=10-", 10, &Selection::Unsatisfiable);
        check_not("bytes=10-20,30-40", 10, &Selection::Unsatisfiable);
        check_not("bytes=-0", 10, &Selection::Unsatisfiable);
        check_not("bytes=0-", 0, &Selection::Unsatisfiable);
        check_not("bytes=-5", 0, &Selection::Unsatisfiable);
        check_not("bytes=18446744073709551615-18446744073709551615", 10, &Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_not_understood_is_not_there() {
        let odd = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "lines=0-1",
            "bytes=0-1;2-3",
        ];
        for field in
            odd.into_iter().chain(["bytes=+1-2", "bytes=0x1-2", "bytes 0-1", "bytes=1-2-3", "bytes=0-0,x"])
        {
            check_not(field, 10, &Selection::Whole);
        }
    }

    #[test]
    fn whoever_asks_for_too_much_gets_the_whole_file_once() {
        let many: Vec<_> = (0..17).map(|n| format!("{}-{}", n * 10, n * 10)).collect();
        check_not(&format!("bytes={}", many.join(",")), 10_000, &Selection::Whole);
        check_not("bytes=0-8,0-8,9-9,0-0", 11, &Selection::One(Span { offset: 0, length: 10 }));
        check_not("bytes=0-4,0-4,6-9", 10, &Selection::Whole);
    }

    #[test]
    fn sixteen_are_not_too_many() {
        let many: Vec<_> = (0..16).map(|n| format!("{}-{}", n * 10, n * 10)).collect();
        let selected = select(format!("bytes={}", many.join(",")).as_bytes(), 10_000);
        assert!(matches!(selected, Selection::Several(spans) if spans.len() == 16));
    }

    #[test]
    fn parts_are_parted_as_mime_does() {
        let spans = [Span { offset: 0, length: 1 }, Span { offset: 9, length: 1 }];
        let made = partition(&spans, 10, "text/plain", b"\"ab-c\"");
        assert_eq!(made.content_type, "multipart/byteranges; boundary=part-abc");
        let first = "--part-abc\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-0/10\r\n\r\n";
        let second = "\r\n--part-abc\r\ncontent-type: text/plain\r\ncontent-range: bytes 9-9/10\r\n\r\n";
        assert_eq!(made.heads, [first, second]);
        assert_eq!(made.tail, "\r\n--part-abc--\r\n");
    }

    proptest! {
        #[test]
        fn no_field_selects_what_is_not_there(field in "bytes=[-0-9, ]{0,40}", length in 0_u64..200) {
            fuzz_select(field.as_bytes(), length);
        }
    }
}
