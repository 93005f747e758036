//! Parts of a file: the heads that part them (RFC 9110 section 14.6). Which parts are sent says `wire::range`. Kind: pure.

use bytes::Bytes;

use crate::wire::range::Span;

/// The value of a Content-Range field.
pub(super) fn content_range(span: Span, length: u64) -> String {
    format!("bytes {}-{}/{length}", span.start, span.start + span.length - 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_parted_as_mime_does() {
        let spans = [Span { start: 0, length: 1 }, Span { start: 9, length: 1 }];
        let made = partition(&spans, 10, "text/plain", b"\"ab-c\"");
        assert_eq!(made.content_type, "multipart/byteranges; boundary=part-abc");
        let first = "--part-abc\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-0/10\r\n\r\n";
        let second = "\r\n--part-abc\r\ncontent-type: text/plain\r\ncontent-range: bytes 9-9/10\r\n\r\n";
        assert_eq!(made.heads, [first, second]);
        assert_eq!(made.tail, "\r\n--part-abc--\r\n");
    }
}
