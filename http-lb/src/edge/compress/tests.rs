//! What is compressed, and that it comes back. Kind: pure.

use std::io::Read;

use super::*;
use crate::edge::tests::head;
use crate::wire::HeadLimits;

#[track_caller]
fn check(request: &str, answer: &str, length: Option<u64>, expected: Coding) {
    let (status, fields) = answer.split_once('\n').unwrap_or((answer, ""));
    let text = format!("HTTP/1.1 {status} x\r\n{}\r\n\r\n", fields.replace('\n', "\r\n"));
    let text = text.replace("\r\n\r\n\r\n", "\r\n\r\n");
    let limits = HeadLimits::default();
    let answer = ResponseHead::parse(text.as_bytes(), &limits, Method::Get).unwrap().unwrap().0;
    let terms = Terms::new(&Compression::default());
    assert_eq!(terms.coding(&head(request), &answer, length, true), expected, "{request} {text}");
}

const BIG: Option<u64> = Some(10_000);
const HTML: &str = "200\nContent-Type: text/html; charset=utf-8";

#[test]
fn the_client_chooses_and_else_we_do() {
    let take = |list: &str| format!("GET /\nAccept-Encoding: {list}");
    check(&take("gzip, deflate, br, zstd"), HTML, BIG, Coding::With(Algorithm::Br));
    check(&take("gzip, zstd"), HTML, BIG, Coding::With(Algorithm::Zstd));
    check(&take("gzip;q=1, br;q=0.5"), HTML, BIG, Coding::With(Algorithm::Gzip));
    check(&take("gzip;q=0"), HTML, BIG, Coding::Varies);
    check(&take("identity, gzip;q=0.5"), HTML, BIG, Coding::Varies);
    check(&take("*"), HTML, BIG, Coding::With(Algorithm::Br));
    check("GET /", HTML, BIG, Coding::Varies);
    check(&take("gzip").replace("GET", "HEAD"), HTML, BIG, Coding::Varies);
}

#[test]
fn what_can_t_or_mustn_t_be_compressed_is_left_alone() {
    let gzip = "GET /\nAccept-Encoding: gzip";
    let left = |answer: &str, length| check(gzip, answer, length, Coding::AsItIs);
    left(HTML, Some(100));
    left("200\nContent-Type: image/png", BIG);
    left("200", BIG);
    left(&format!("{HTML}\nContent-Encoding: br"), BIG);
    left(&format!("{HTML}\nCache-Control: private, no-transform"), BIG);
    left("206\nContent-Type: text/html\nContent-Range: bytes 0-1/2", BIG);
    left("304\nContent-Type: text/html", BIG);
    check(gzip, HTML, None, Coding::With(Algorithm::Gzip));
    check(gzip, "404\nContent-Type: text/html", BIG, Coding::With(Algorithm::Gzip));
    check(gzip, "200\nContent-Type: TEXT/HTML", BIG, Coding::With(Algorithm::Gzip));
}

#[test]
fn tls_can_be_left_out() {
    let config = Compression { over_tls: false, types: vec!["text/*".to_owned()], ..Compression::default() };
    let terms = Terms::new(&config);
    let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/x-new\r\n\r\n";
    let answer = ResponseHead::parse(text, &HeadLimits::default(), Method::Get).unwrap().unwrap().0;
    let request = head("GET /\nAccept-Encoding: gzip");
    assert_eq!(terms.coding(&request, &answer, None, true), Coding::AsItIs);
    assert_eq!(terms.coding(&request, &answer, None, false), Coding::With(Algorithm::Gzip));
}

fn decoded(algorithm: Algorithm, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match algorithm {
        Algorithm::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)?,
        Algorithm::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)?,
        Algorithm::Zstd => zstd::stream::read::Decoder::new(bytes)?.read_to_end(&mut out)?,
    };
    Ok(out)
}

const ALL: [Algorithm; 3] = [Algorithm::Gzip, Algorithm::Br, Algorithm::Zstd];

#[test]
fn what_goes_in_comes_out_in_whatever_pieces() {
    let text: Vec<u8> = (0..20_000_u32).flat_map(|number| format!("{} ", number % 97).into_bytes()).collect();
    for algorithm in ALL {
        for piece in [1, 4096, text.len()] {
            let mut encoder = Terms::new(&Compression::default()).encoder(algorithm).unwrap();
            let mut out = Vec::new();
            text.chunks(piece).for_each(|piece| encoder.push(piece, false, &mut out).unwrap());
            encoder.finish(&mut out).unwrap();
            assert!(out.len() < text.len() / 4, "{algorithm:?}: {}", out.len());
            assert_eq!(decoded(algorithm, &out).unwrap(), text, "{algorithm:?}");
        }
    }
}

#[test]
fn what_is_flushed_can_be_read_at_once() {
    for algorithm in ALL {
        let mut encoder = Terms::new(&Compression::default()).encoder(algorithm).unwrap();
        let mut out = Vec::new();
        encoder.push(b"event: one\n\n", true, &mut out).unwrap();
        let mut seen = [0; 12];
        match algorithm {
            Algorithm::Gzip => flate2::read::GzDecoder::new(&out[..]).read_exact(&mut seen).unwrap(),
            Algorithm::Br => brotli::Decompressor::new(&out[..], 4096).read_exact(&mut seen).unwrap(),
            Algorithm::Zstd => {
                zstd::stream::read::Decoder::new(&out[..]).unwrap().read_exact(&mut seen).unwrap()
            }
        }
        assert_eq!(&seen, b"event: one\n\n", "{algorithm:?}");
        encoder.finish(&mut out).unwrap();
        assert_eq!(decoded(algorithm, &out).unwrap(), b"event: one\n\n");
    }
}

#[test]
fn an_empty_body_is_a_body() {
    for algorithm in ALL {
        let encoder = Terms::new(&Compression::default()).encoder(algorithm).unwrap();
        let mut out = Vec::new();
        encoder.finish(&mut out).unwrap();
        assert_eq!(decoded(algorithm, &out).unwrap(), b"");
    }
}
