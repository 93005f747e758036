//! Bodies in chunks. What must be refused is in `tests/corpus/smuggling.txt`. Kind: pure.

use super::*;

/// The data of a body that comes in pieces of this size, and what is behind it.
fn decode(bytes: &[u8], size: usize) -> (ChunkedDecoder, Vec<u8>, usize) {
    let (mut decoder, mut data, mut used) = (ChunkedDecoder::new(), Vec::new(), 0);
    while used < bytes.len() && !decoder.is_done() {
        let piece = &bytes[used..bytes.len().min(used + size)];
        let decoded = decoder.advance(piece).unwrap();
        data.extend_from_slice(&piece[decoded.data]);
        used += decoded.used;
    }
    (decoder, data, used)
}

#[track_caller]
fn check(text: &str, data: &str, trailers: &str, behind: usize) {
    for size in 1..=text.len() {
        let (decoder, found, used) = decode(text.as_bytes(), size);
        assert!(decoder.is_done(), "{text}");
        assert_eq!(
            (String::from_utf8(found).unwrap(), text.len() - used),
            (data.to_owned(), behind),
            "{text}"
        );
        assert_eq!(decoder.trailers().as_bytes(), trailers.as_bytes(), "{text}");
    }
}

#[test]
fn data_is_what_is_between_the_sizes() {
    check("0\r\n\r\n", "", "", 0);
    check("5\r\nhello\r\n0\r\n\r\n", "hello", "", 0);
    check("5\r\nhello\r\n00A;x=\"y\"\r\n, world!!!\r\n000\r\n\r\n", "hello, world!!!", "", 0);
    check("1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n", "\n\r", "", 0);
    check("0\r\n\r\nGET /", "", "", 5);
}

#[test]
fn trailers_are_collected() {
    check("1\r\na\r\n0\r\nX-Sum: 1 \r\ny:2\r\n\r\n", "a", "x-sum: 1\r\ny: 2\r\n", 0);
    check("0;a\r\nExpires: never\r\n\r\n", "", "expires: never\r\n", 0);
}

#[test]
fn data_is_given_as_it_comes() {
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.advance(b"ffff\r\nab").unwrap(), Decoded { used: 8, data: 6..8, end: false });
    assert_eq!(decoder.advance(b"cd").unwrap(), Decoded { used: 2, data: 0..2, end: false });
    assert_eq!(decoder.advance(b"").unwrap(), Decoded { used: 0, data: 0..0, end: false });
}

#[test]
fn more_than_there_is_room_for_is_refused_before_it_comes() {
    let fault = |bytes: &[u8]| {
        let mut decoder = ChunkedDecoder::new();
        decoder.bound(10);
        let mut at = 0;
        while at < bytes.len() {
            match decoder.advance(&bytes[at..]) {
                Ok(decoded) => at += decoded.used,
                Err(fault) => return Some((at, fault.status)),
            }
        }
        None
    };
    assert_eq!(fault(b"a\r\nabcdefghij\r\n0\r\n\r\n"), None);
    assert_eq!(fault(b"b\r\n"), Some((0, 413)));
    assert_eq!(fault(b"ffffffffffffffff\r\n"), Some((0, 413)));
    assert_eq!(fault(b"5\r\nabcde\r\n6\r\n"), Some((8, 413)));
}

#[test]
fn behind_a_fault_nothing_is_read() {
    let mut decoder = ChunkedDecoder::new();
    decoder.advance(b"x").unwrap_err();
    decoder.advance(b"0\r\n\r\n").unwrap_err();
    assert!(!decoder.is_done());
}

#[test]
fn after_the_end_nothing_is_taken() {
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.advance(b"0\r\n\r\nmore").unwrap(), Decoded { used: 5, data: 5..5, end: true });
    assert_eq!(decoder.advance(b"more").unwrap(), Decoded { used: 0, data: 0..0, end: true });
}

#[test]
fn a_chunk_is_written_with_its_size() {
    let mut out = Vec::new();
    put_chunk(&mut out, b"");
    put_chunk(&mut out, &[b'a'; 26]);
    put_last_chunk(&mut out, None);
    assert_eq!(out, b"1a\r\naaaaaaaaaaaaaaaaaaaaaaaaaa\r\n0\r\n\r\n");
    assert_eq!(ChunkHead::new(usize::MAX).as_bytes(), b"ffffffffffffffff\r\n");
    assert!(out.ends_with(LAST_CHUNK));
}

#[test]
fn trailers_are_written_behind_the_last_chunk() {
    let (mut out, mut trailers) = (Vec::new(), Fields::new());
    trailers.push(b"X-Sum", b"1").unwrap();
    put_last_chunk(&mut out, Some(&trailers));
    assert_eq!(out, b"0\r\nx-sum: 1\r\n\r\n");
}
