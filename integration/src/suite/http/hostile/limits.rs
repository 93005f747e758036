//! Too long, too many, or not HTTP at all: the right status, the end of the connection, and nothing for the application.
//! Kind: driver.

use crate::error::Result;

use super::super::raw::{Answer, Raw};
use super::super::report::Part;
use super::super::stage::Stage;

/// What is sent, and with which status it is refused; none: it is answered well. 0: closing without a word will do, too.
struct Case(&'static str, fn() -> Vec<u8>, Option<&'static [u16]>);

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\n";

const CASES: &[Case] = &[
    // The line and the fields.
    Case(
        "a path of 8000 bytes",
        || format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(8000)).into(),
        None,
    ),
    Case(
        "a path of 9000 bytes",
        || format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(9000)).into(),
        Some(&[414]),
    ),
    Case(
        "a path of 1 MiB",
        || format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20)).into(),
        Some(&[414]),
    ),
    Case(
        "a method of 9000 bytes",
        || format!("{} / HTTP/1.1\r\nHost: localhost\r\n\r\n", "X".repeat(9000)).into(),
        Some(&[400, 414, 501]),
    ),
    Case("90 fields", || fields(90), None),
    Case("101 fields", || fields(101), Some(&[431])),
    Case("100000 fields", || fields(100_000), Some(&[431])),
    Case("a field of 8000 bytes", || with(GET, &format!("X-Test: {}", "x".repeat(8000))), None),
    Case("a field of 9000 bytes", || with(GET, &format!("X-Test: {}", "x".repeat(9000))), Some(&[431])),
    Case("four fields of 7000 bytes", || fields_of(4, 7000), None),
    Case("five fields of 7000 bytes", || fields_of(5, 7000), Some(&[431])),
    Case("a field of 40000 bytes", || with(GET, &format!("X-Test: {}", "x".repeat(40_000))), Some(&[431])),
    Case("a field's name of 40000 bytes", || with(GET, &format!("{}: x", "X".repeat(40_000))), Some(&[431])),
    Case(
        "a field without an end, of 4 MiB",
        || format!("{GET}X-Test: {}", "x".repeat(4 << 20)).into(),
        Some(&[431]),
    ),
    Case("7500 bytes of cookies", || with(GET, &format!("Cookie: {}", "a=b; ".repeat(1500))), None),
    // Bodies; the limit is 1 MiB here.
    Case("a body of 1 MiB", || [with(POST, "Content-Length: 1048576"), vec![b'x'; 1 << 20]].concat(), None),
    Case("a body of 1 MiB and a byte", || with(POST, "Content-Length: 1048577"), Some(&[413])),
    Case("a body of 2^63 bytes", || with(POST, "Content-Length: 9223372036854775808"), Some(&[413])),
    Case("chunks of 2 MiB in all", || chunked(&format!("{:x}\r\n", 65_536), 65_536, 32), Some(&[413])),
    Case(
        "a chunk of 2^60 bytes",
        || [with(POST, "Transfer-Encoding: chunked"), b"1000000000000000\r\nx".to_vec()].concat(),
        Some(&[408, 413]),
    ),
    Case(
        "a chunk extension of 100000 bytes",
        || chunked(&format!("1;{}\r\n", "x".repeat(100_000)), 1, 1),
        Some(&[400, 431]),
    ),
    Case(
        "trailers of 100000 bytes",
        || {
            [
                with(POST, "Transfer-Encoding: chunked"),
                format!("0\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into(),
            ]
            .concat()
        },
        Some(&[400, 431]),
    ),
    Case("20000 chunks of a byte", || [chunked("1\r\n", 1, 20_000), b"0\r\n\r\n".to_vec()].concat(), None),
    Case(
        "too large a body that waits for 100",
        || with(POST, "Content-Length: 5000000\r\nExpect: 100-continue"),
        Some(&[413]),
    ),
    Case(
        "an expectation that nobody knows",
        || with(POST, "Content-Length: 1\r\nExpect: 200-ok"),
        Some(&[417]),
    ),
    // Ranges and conditions.
    Case("1000 ranges", || file(&format!("Range: bytes={}0-0", "0-,".repeat(1000))), None),
    Case(
        "1000 overlapping ranges of a large file",
        || large(&format!("Range: bytes={}0-", "5-,".repeat(1000))),
        None,
    ),
    Case(
        "7500 bytes of entity tags",
        || file(&format!("If-None-Match: {}\"x\"", "\"x\", ".repeat(1400))),
        None,
    ),
    Case("TLS without TLS", || vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], Some(&[0, 400])),
    Case("garbage", || vec![0xff; 600], Some(&[0, 400])),
    Case("an SSH client", || b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Some(&[0, 400])),
    Case(
        "a PROXY header that was not asked for",
        || b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        Some(&[0, 400]),
    ),
    Case("HTTP/0.9", || b"GET /\r\n\r\n".to_vec(), Some(&[0, 400, 505])),
    Case("HTTP/1.2", || b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n".to_vec(), Some(&[505])),
    Case("HTTP/2.0 in words", || b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(), Some(&[400, 505])),
    Case(
        "CONNECT",
        || b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n".to_vec(),
        Some(&[400, 405, 501]),
    ),
    Case(
        "TRACE",
        || b"TRACE / HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n".to_vec(),
        Some(&[405, 501]),
    ),
    Case(
        "a POST to a file",
        || b"POST /static/page.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_vec(),
        Some(&[405]),
    ),
    Case("no Host", || b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(&[400])),
    Case(
        "h2c by an upgrade",
        || {
            with(
                GET,
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            )
        },
        None,
    ),
];

pub(super) fn all(stage: &Stage, part: &mut Part) -> Result<()> {
    for Case(name, bytes, refused) in CASES {
        stage.application.seen()?;
        let answer = ask(stage, &bytes());
        let seen = stage.application.seen()?.len();
        part.judge(name, answer.map_err(|e| e.to_string()).and_then(|answer| judge(*refused, answer, seen)));
    }
    Ok(())
}

/// The answer, and whether the connection ended behind it.
fn ask(stage: &Stage, bytes: &[u8]) -> Result<Option<(Answer, bool)>> {
    let mut raw = Raw::connect(stage.router.addr())?;
    raw.send(bytes);
    let Some(answer) = raw.any_answer()? else { return Ok(None) };
    let closes = answer.status >= 400 && raw.rest().is_ok();
    Ok(Some((answer, closes)))
}

fn judge(
    refused: Option<&[u16]>,
    answer: Option<(Answer, bool)>,
    seen: usize,
) -> std::result::Result<(), String> {
    let (status, closes) = answer.map_or((0, true), |(answer, closes)| (answer.status, closes));
    match refused {
        None if matches!(status, 200 | 206 | 416) => Ok(()),
        Some(statuses) if !statuses.contains(&status) => Err(format!("{status}, not of {statuses:?}")),
        None => Err(format!("it was refused with {status}")),
        Some(_) if seen > 0 => Err(format!("{status}, and yet the application saw it")),
        // A file that can't be written to is no reason to part.
        Some(_) if !closes && status != 405 => Err(format!("{status}, and the connection stays open")),
        Some(_) => Ok(()),
    }
}

fn with(head: &str, field: &str) -> Vec<u8> {
    format!("{head}{field}\r\n\r\n").into()
}

fn fields(count: usize) -> Vec<u8> {
    // Host is one of them.
    format!("{GET}{}\r\n", "X-Test: 1\r\n".repeat(count - 1)).into()
}

fn fields_of(count: usize, size: usize) -> Vec<u8> {
    format!("{GET}{}\r\n", format!("X-Test: {}\r\n", "x".repeat(size)).repeat(count)).into()
}

fn file(field: &str) -> Vec<u8> {
    with("GET /static/page.txt HTTP/1.1\r\nHost: localhost\r\n", field)
}

fn large(field: &str) -> Vec<u8> {
    with("GET /static/large.bin HTTP/1.1\r\nHost: localhost\r\n", field)
}

/// So many chunks, without the last one.
fn chunked(line: &str, size: usize, count: usize) -> Vec<u8> {
    let chunk = format!("{line}{}\r\n", "x".repeat(size));
    [with(POST, "Transfer-Encoding: chunked"), chunk.repeat(count).into()].concat()
}
