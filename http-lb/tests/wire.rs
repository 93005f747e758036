//! The parsers against any bytes and any cuts, and against another implementation. Kind: driver.

#[path = "../../proxy-core/tests/shared/fuzz.rs"]
mod fuzz;

use fuzz::{Entry, damaged, replay};
use http_lb::wire::chunked::{put_chunk, put_last_chunk};
use http_lb::wire::fuzz::{
    fuzz_chunk, fuzz_cookie, fuzz_date, fuzz_path, fuzz_range, fuzz_request, fuzz_response,
};
use http_lb::wire::{ChunkedDecoder, Fields, HeadLimits, RequestHead, date};
use proptest::collection::vec;
use proptest::prelude::*;

/// The entries of the fuzzer, by the names of its targets.
const TARGETS: [(&str, Entry); 7] = [
    ("request", fuzz_request),
    ("response", fuzz_response),
    ("chunk", fuzz_chunk),
    ("range", fuzz_range),
    ("cookie", fuzz_cookie),
    ("path", fuzz_path),
    ("date", fuzz_date),
];

#[test]
fn what_a_fuzzer_kept_is_replayed() {
    replay(&TARGETS);
}

/// A request line and fields, with all that could confuse a parser.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "OPTIONS", "CONNECT", "get", "A-B"]);
    let target = prop::sample::select(vec!["/", "/a?b", "*", "http://a/", "http://a", "a:1", "/a b", "/#"]);
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]);
    (method, target, version, fields()).prop_map(|(method, target, version, fields)| {
        [format!("{method} {target} {version}\r\n").as_bytes(), &fields].concat()
    })
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let line =
        prop::sample::select(vec!["HTTP/1.1 200 OK", "HTTP/1.0 304", "HTTP/1.1 101 a b", "HTTP/1.1 204 "]);
    (line, fields()).prop_map(|(line, fields)| [line.as_bytes(), b"\r\n", &fields].concat())
}

fn fields() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        4 => prop::sample::select(vec![
            "Host: a", "host:a:1", "Content-Length: 5", "Content-Length:\t0", "Transfer-Encoding: chunked",
            "Connection: close", "Connection: keep-alive, X", "Expect: 100-continue", "Upgrade: websocket",
            "Connection: upgrade", "Transfer-Encoding : chunked", " folded", ": empty", "X:", "Cookie: a=b",
        ]).prop_map(str::to_owned),
        1 => "[a-zA-Z-]{1,20}:[ -~\t]{0,40}",
    ];
    vec(field, 0..6).prop_map(|fields| {
        let lines: String =
            ["Host: a".to_owned()].into_iter().chain(fields).map(|field| field + "\r\n").collect();
        (lines + "\r\n").into_bytes()
    })
}

fn chunked() -> impl Strategy<Value = Vec<u8>> {
    (vec(vec(any::<u8>(), 0..40), 0..5), vec("[a-z]{1,5}", 0..3)).prop_map(|(chunks, names)| {
        let (mut body, mut trailers) = (Vec::new(), Fields::new());
        names.iter().for_each(|name| trailers.push(name.as_bytes(), b"value").expect("a field"));
        chunks.iter().for_each(|chunk| put_chunk(&mut body, chunk));
        put_last_chunk(&mut body, Some(&trailers));
        body
    })
}

/// Damage is most often done by what has a meaning.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\t :;,0".to_vec())]
}

proptest! {
    #[test]
    fn requests_in_any_state_of_repair_are_read_alike(bytes in damaged(request(), byte())) {
        fuzz_request(&bytes);
    }

    #[test]
    fn responses_in_any_state_of_repair_are_read_alike(bytes in damaged(response(), byte())) {
        fuzz_response(&bytes);
    }

    #[test]
    fn chunks_in_any_state_of_repair_are_read_alike(bytes in damaged(chunked(), byte())) {
        fuzz_chunk(&bytes);
    }

    #[test]
    fn any_bytes_are_read_alike(bytes in vec(any::<u8>(), 0..200)) {
        TARGETS.iter().for_each(|(_, entry)| entry(&bytes));
    }

    #[test]
    fn a_head_is_the_same_however_it_is_cut(text in request(), cuts in vec(any::<prop::sample::Index>(), 0..8)) {
        let at_once = RequestHead::parse(&text, &HeadLimits::default());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut head = RequestHead::new();
        let fed = cuts.windows(2).try_fold(None, |used, cut| {
            if used.is_some() || cut[0] == cut[1] {
                return Ok(used);
            }
            let used = head.feed(&text[cut[0]..cut[1]], &HeadLimits::default())?;
            Ok(used.map(|used| cut[0] + used))
        });
        match (at_once, fed) {
            (Ok(Some((whole, len))), Ok(Some(used))) => {
                prop_assert_eq!(used, len);
                prop_assert!(whole.fields().eq(head.fields()));
                prop_assert_eq!(whole.line(), head.line());
            }
            (at_once, fed) => prop_assert_eq!(at_once.map(|whole| whole.map(|(_, len)| len)), fed),
        }
    }

    #[test]
    fn what_is_written_in_chunks_is_read_from_them(pieces in vec(vec(any::<u8>(), 0..300), 0..6), size in 1..50_usize) {
        let mut written = Vec::new();
        pieces.iter().for_each(|piece| put_chunk(&mut written, piece));
        put_last_chunk(&mut written, None);
        let (mut decoder, mut data, mut used) = (ChunkedDecoder::new(), Vec::new(), 0);
        while !decoder.is_done() {
            let piece = &written[used..written.len().min(used + size)];
            let decoded = decoder.advance(piece).unwrap();
            data.extend_from_slice(&piece[decoded.data]);
            used += decoded.used;
        }
        prop_assert_eq!((used, data), (written.len(), pieces.concat()));
    }

    #[test]
    fn ranges_lie_within(length in any::<u8>(), value in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,18}") {
        fuzz_range(&[&[length], value.as_bytes()].concat());
    }

    #[test]
    fn cookies_are_read_alike(field in "[a-c=; \t\"]{0,40}") {
        fuzz_cookie(field.as_bytes());
    }

    #[test]
    fn paths_are_read_alike(path in "/([a./\\\\]|%2[ef05]|%c[03]|%a[ef]){0,20}") {
        fuzz_path(path.as_bytes());
    }

    #[test]
    fn another_implementation_reads_the_same_dates(seconds in 0..253_402_300_800_u64) {
        let text = date::format(seconds);
        let text = std::str::from_utf8(&text).unwrap();
        let parsed = httpdate::parse_http_date(text).unwrap();
        prop_assert_eq!(parsed.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), seconds);
        prop_assert_eq!(date::parse(text.as_bytes()), Some(seconds));
    }
}
