//! Frames by hand: the clauses of RFC 9113 that h2spec looks at, and the attacks. Kind: driver.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// The frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields, as literals that enter no table (RFC 7541 section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop.example")];

/// A GET with these fields behind the usual ones.
fn get_with(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(&[&GET, fields].concat()))
}

fn get_on(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &block(&GET))
}

/// A request whose body is still to come.
fn post_on(stream: u32) -> Vec<u8> {
    let mut fields = GET;
    fields[0].1 = "POST";
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

pub(super) async fn greet(near: &mut UnixStream) {
    near.write_all(PREFACE).await.unwrap();
    near.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
}

/// The windows of streams and connection are as large as can be.
pub(super) async fn greet_with_large_windows(near: &mut UnixStream) {
    near.write_all(PREFACE).await.unwrap();
    near.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])).await.unwrap();
    near.write_all(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])).await.unwrap();
}

pub(super) async fn ask(near: &mut UnixStream, stream: u32) {
    near.write_all(&get_on(stream)).await.unwrap();
}

/// The next frame: kind, flags, stream, payload. `None` at the end.
async fn read(near: &mut UnixStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    near.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    near.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// What the server says to what was sent, up to the first of what a test can wait for.
pub(super) async fn verdict(near: &mut UnixStream) -> String {
    let code = |payload: &[u8]| {
        let code = payload.last_chunk::<4>().map_or(0, |code| u32::from_be_bytes(*code));
        format!("{:?}", Reason::from(code))
    };
    while let Some((kind, flags, stream, payload)) = read(near).await {
        match kind {
            GOAWAY => return format!("goaway {}", code(payload.get(..8).unwrap_or(&[]))),
            RST_STREAM => return format!("reset {stream} {}", code(&payload)),
            PING if flags & ACK != 0 => return format!("pong {}", String::from_utf8_lossy(&payload)),
            // A status without a name in HPACK's table is a literal; these are indexed (RFC 7541 appendix A).
            HEADERS => {
                let status = match payload[0] {
                    0x88 => "200",
                    0x8c => "400",
                    0x48 | 0x08 => "other",
                    _ => "odd",
                };
                return format!("answer {stream} {status}");
            }
            _ => (),
        }
    }
    "closed".to_owned()
}

async fn echo(_: Box<RequestHead>, mut client: Exchange) {
    while let Ok(Some(_)) = client.body().await {}
    let _ = answer(&mut client, 200, b"", b"ok").await;
}

/// Sends these frames behind a preface. What is expected may be the beginning of what is said: where the RFC names a
/// finer code, h2 often says PROTOCOL_ERROR; and it ends connections where only a stream must end (5.4.2 allows it).
async fn check(frames: &[Vec<u8>], expected: &str) {
    stage(async {
        let mut scene = serve_on(terms(), echo);
        greet(&mut scene.near).await;
        // A server that has said its last need not read on.
        let _ = scene.near.write_all(&frames.concat()).await;
        let said = verdict(&mut scene.near).await;
        let expected = expected.split('|').collect::<Vec<_>>();
        assert!(expected.iter().any(|expected| said.starts_with(expected)), "{said}: {frames:02x?}");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_begin_with_the_preface_is_not_spoken_to() {
    stage(async {
        let mut scene = serve_on(terms(), echo);
        scene.near.write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.unwrap();
        assert_eq!(scene.ending.await.unwrap(), Ending::Protocol);
    })
    .await;
}

#[tokio::test]
async fn a_preface_without_settings_is_none() {
    for (early, late) in [("", get_on(1)), ("early", get_on(1)), ("", frame(SETTINGS, 1, 0, b""))] {
        stage(async {
            let (early, late) = if early.is_empty() {
                (Vec::new(), [PREFACE, &late].concat())
            } else {
                (PREFACE.to_vec(), late)
            };
            let mut scene = serve_early(early, terms(), echo);
            scene.near.write_all(&late).await.unwrap();
            assert_eq!(scene.ending.await.unwrap(), Ending::Protocol);
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_read_early_is_part_of_the_connection() {
    stage(async {
        let early = [PREFACE, &frame(SETTINGS, 0, 0, b""), &get_on(1)[..4]].concat();
        let mut scene = serve_early(early, terms(), echo);
        scene.near.write_all(&get_on(1)[4..]).await.unwrap();
        assert_eq!(verdict(&mut scene.near).await, "answer 1 200");
    })
    .await;
}

#[tokio::test]
async fn settings_are_in_form() {
    check(&[frame(SETTINGS, 0, 0, b"abc")], "goaway").await; // 6.5
    check(&[frame(SETTINGS, ACK, 0, &[0; 6])], "goaway").await;
    check(&[frame(SETTINGS, 0, 1, b"")], "goaway PROTOCOL_ERROR").await;
    check(&[frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])], "goaway PROTOCOL_ERROR").await; // 6.5.2 ENABLE_PUSH
    check(&[frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], "goaway").await;
    check(&[frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])], "goaway PROTOCOL_ERROR").await;
    // What nobody knows is ignored (5.5).
    check(&[frame(SETTINGS, 0, 0, &[0xee, 0xee, 0, 0, 0, 1]), get_on(1)], "answer 1 200").await;
    check(&[frame(0xee, 0, 0, b"abc"), get_on(1)], "answer 1 200").await;
}

#[tokio::test]
async fn streams_have_the_ids_and_states_that_they_may_have() {
    check(&[get_on(2)], "goaway PROTOCOL_ERROR").await; // 5.1.1
    check(&[get_on(0)], "goaway PROTOCOL_ERROR").await;
    check(&[post_on(5), get_on(3)], "goaway PROTOCOL_ERROR").await;
    check(&[frame(DATA, 0, 1, b"x")], "goaway PROTOCOL_ERROR").await; // idle
    check(&[frame(RST_STREAM, 0, 1, &[0; 4])], "goaway PROTOCOL_ERROR").await;
    check(&[frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])], "goaway PROTOCOL_ERROR").await;
    check(&[frame(CONTINUATION, END_HEADERS, 1, b"")], "goaway PROTOCOL_ERROR").await;
    check(&[frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])], "goaway PROTOCOL_ERROR").await; // 8.4
    check(&[get_on(1), frame(DATA, END_STREAM, 1, b"x")], "goaway|reset 1").await; // half-closed
    check(&[frame(PRIORITY, 0, 1, &[0; 4])], "goaway|reset 1").await;
}

#[tokio::test]
async fn frames_have_the_sizes_that_they_may_have() {
    check(&[post_on(1), frame(DATA, 0, 1, &[0; 16_385])], "goaway").await; // 4.2
    check(&[frame(PING, 0, 0, b"seven b")], "goaway").await;
    check(&[frame(PING, 0, 1, b"12345678")], "goaway PROTOCOL_ERROR").await;
    check(&[frame(PING, 0, 0, b"12345678")], "pong 12345678").await;
    check(&[post_on(1), frame(WINDOW_UPDATE, 0, 1, b"abc")], "goaway").await;
    check(&[post_on(1), frame(RST_STREAM, 0, 1, b"abc")], "goaway").await;
}

#[tokio::test]
async fn windows_are_neither_empty_steps_nor_too_wide() {
    let wide = [0x7f, 0xff, 0xff, 0xff];
    check(&[frame(WINDOW_UPDATE, 0, 0, &[0; 4])], "goaway PROTOCOL_ERROR").await; // 6.9
    check(&[post_on(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])], "goaway|reset 1").await;
    check(&[frame(WINDOW_UPDATE, 0, 0, &wide)], "goaway FLOW_CONTROL_ERROR").await; // 6.9.1
    check(&[post_on(1), frame(WINDOW_UPDATE, 0, 1, &wide)], "reset 1 FLOW_CONTROL_ERROR").await;
}

#[tokio::test]
async fn a_head_is_one_block() {
    let (all, half) = (block(&GET), block(&GET[..2]));
    let rest = block(&GET[2..]);
    let halves = [frame(HEADERS, END_STREAM, 1, &half), frame(CONTINUATION, END_HEADERS, 1, &rest)];
    check(&halves, "answer 1 200").await;
    let open = || frame(HEADERS, END_STREAM, 1, &half);
    check(&[open(), frame(PING, 0, 0, b"12345678")], "goaway PROTOCOL_ERROR").await; // 6.10
    check(&[open(), frame(CONTINUATION, END_HEADERS, 3, &rest)], "goaway PROTOCOL_ERROR").await;
    check(&[open(), get_on(3)], "goaway PROTOCOL_ERROR").await;
    check(&[frame(HEADERS, WHOLE, 1, &[0xff; 9])], "goaway").await; // 4.3
    let padded = [&[200][..], &all].concat();
    check(&[frame(HEADERS, WHOLE | 8, 1, &padded)], "goaway PROTOCOL_ERROR").await; // 6.2
}

#[tokio::test]
async fn a_malformed_head_is_a_reset() {
    for fields in [
        &[("X-Upper", "1")][..], // 8.2
        &[("connection", "close")],
        &[("transfer-encoding", "chunked")],
        &[("keep-alive", "5")],
        &[("upgrade", "h2c")],
        &[("proxy-connection", "close")],
        &[("te", "gzip")],
        &[(":path", "/")], // 8.3
        &[(":status", "200")],
        &[(":unknown", "x")],
        &[("x", "1"), (":method", "GET")],
        &[("content-length", "1")], // 8.1.1, on a stream that has ended
        &[("x", "a\nb")],
        &[("x y", "1")],
    ] {
        check(&[get_with(fields)], "goaway PROTOCOL_ERROR|reset 1 PROTOCOL_ERROR").await;
    }
    for missing in 0..3 {
        let fields = GET.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field);
        let head = frame(HEADERS, WHOLE, 1, &block(&fields.collect::<Vec<_>>()));
        check(&[head], "reset 1 PROTOCOL_ERROR").await;
    }
}

/// A request with these pseudo fields and fields, that HTTP/2 allows but we don't.
async fn check_refused(changes: &[(usize, &str)], fields: &[(&str, &str)]) {
    let mut pseudo = GET;
    for (at, value) in changes {
        pseudo[*at].1 = value;
    }
    let head = frame(HEADERS, WHOLE, 1, &block(&[&pseudo, fields].concat()));
    stage(async {
        let mut scene = serve_on(terms(), echo);
        greet(&mut scene.near).await;
        scene.near.write_all(&head).await.unwrap();
        let said = verdict(&mut scene.near).await;
        let refused = ["answer 1 400", "answer 1 other", "reset 1 PROTOCOL_ERROR", "goaway PROTOCOL_ERROR"];
        let refused = refused.contains(&said.as_str());
        assert!(refused, "{changes:?} {fields:?}: {said}");
    })
    .await;
}

#[tokio::test]
async fn what_http1_could_read_otherwise_is_refused() {
    check_refused(&[], &[("host", "other.example")]).await;
    check_refused(&[], &[("host", "shop.example"), ("host", "other.example")]).await;
    check_refused(&[(2, "http://other.example/")], &[]).await;
    check_refused(&[(2, "foo")], &[]).await;
    check_refused(&[(2, "/ HTTP/1.1")], &[]).await;
    check_refused(&[(2, "/\r\nx: y")], &[]).await;
    check_refused(&[(2, "/\u{e4}")], &[]).await;
    check_refused(&[(3, "me@shop.example")], &[]).await;
    check_refused(&[(3, "shop.example/x")], &[]).await;
    check_refused(&[(3, "")], &[]).await;
    check_refused(&[(0, "GET / HTTP/1.1\r\nx:")], &[]).await;
    check_refused(&[(0, "CONNECT")], &[]).await;
    check_refused(&[], &[("content-length", "1"), ("content-length", "2")]).await;
    check_refused(&[], &[("content-length", "+0")]).await;
}

#[tokio::test]
async fn a_body_is_as_long_as_was_said() {
    let post = |length: &str| {
        let mut fields = GET.to_vec();
        fields[0].1 = "POST";
        fields.push(("content-length", length));
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    };
    check(&[post("1"), frame(DATA, END_STREAM, 1, b"x")], "answer 1 200").await;
    check(&[post("2"), frame(DATA, END_STREAM, 1, b"x")], "reset 1 PROTOCOL_ERROR").await;
    check(&[post("1"), frame(DATA, END_STREAM, 1, b"xy")], "reset 1 PROTOCOL_ERROR").await;
    check(&[post("1"), frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b"y")], "reset 1 PROTOCOL_ERROR")
        .await;
    let trailers = |fields: &[(&str, &str)]| frame(HEADERS, WHOLE, 1, &block(fields));
    check(&[post("1"), frame(DATA, 0, 1, b"x"), trailers(&[("x-sum", "1")])], "answer 1 200").await;
    check(&[post_on(1), frame(HEADERS, END_HEADERS, 1, &block(&[("x", "1")]))], "reset 1 PROTOCOL_ERROR")
        .await;
}

#[tokio::test]
async fn heads_are_not_larger_than_they_may_be() {
    let long = "x".repeat(120);
    let field = [("x-long", long.as_str())];
    let many = block(&[&GET[..], &field.repeat(300)].concat());
    let pieces = many.chunks(16_000).collect::<Vec<_>>();
    let mut frames = vec![frame(HEADERS, END_STREAM, 1, pieces[0])];
    frames.extend(pieces[1..].iter().map(|piece| frame(CONTINUATION, 0, 1, piece)));
    frames.push(frame(CONTINUATION, END_HEADERS, 1, b""));
    check(&frames, "answer 1 other").await; // 431
}

/// An attacker sends on whatever it is told; the connection must end as abuse.
async fn check_abuse(frames: impl Iterator<Item = Vec<u8>>) {
    stage(async {
        let mut scene = serve_on(terms(), echo);
        greet(&mut scene.near).await;
        let (mut reader, mut writer) = scene.near.into_split();
        spawn_session(async move {
            let mut ignored = vec![0; 1 << 16];
            while reader.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
        });
        let frames = frames.flatten().collect::<Vec<_>>();
        let _ = writer.write_all(&frames).await;
        assert_eq!(scene.ending.await.unwrap(), Ending::Abuse);
    })
    .await;
}

#[tokio::test]
async fn rapid_resets_are_abuse() {
    let pair = |stream| [get_on(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    check_abuse((0..2000).map(|at| pair(2 * at + 1))).await; // CVE-2023-44487
}

#[tokio::test]
async fn making_us_reset_is_abuse() {
    let pair =
        |stream| [post_on(stream), frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat();
    check_abuse((0..2000).map(|at| pair(2 * at + 1))).await; // CVE-2025-8671
}

#[tokio::test]
async fn a_head_without_end_is_abuse() {
    let head = std::iter::once(frame(HEADERS, END_STREAM, 1, &block(&GET)));
    check_abuse(head.chain((0..1000).map(|_| frame(CONTINUATION, 0, 1, b"")))).await; // CVE-2024-27316
}

#[tokio::test]
async fn frames_that_carry_nothing_are_abuse() {
    let flood = |frame: Vec<u8>| (0..260_000).map(move |_| frame.clone());
    check_abuse(flood(frame(PING, 0, 0, b"12345678"))).await; // CVE-2019-9512
    check_abuse(flood(frame(SETTINGS, 0, 0, b""))).await; // CVE-2019-9515
    check_abuse(flood(frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]))).await;
    check_abuse(std::iter::once(post_on(1)).chain(flood(frame(DATA, 0, 1, b"")))).await; // CVE-2019-9518
}

#[tokio::test]
async fn malformed_requests_without_end_are_abuse() {
    let odd = |stream| frame(HEADERS, WHOLE, stream, &block(&[&GET[..], &[("host", "other")]].concat()));
    check_abuse((0..100).map(|at| odd(2 * at + 1))).await;
}
