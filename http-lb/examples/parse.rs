//! What reading a head costs: `cargo run --release -p http-lb --example parse`. Kind: driver.

use std::hint::black_box;
use std::time::Instant;

use http_lb::wire::{HeadLimits, Method, RequestHead, ResponseHead};

/// What a browser sends for a page of the shop.
const REQUEST: &[u8] = b"GET /demo/conf/?voucher=abc HTTP/1.1\r\n\
    Host: tickets.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://tickets.example.org/demo/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=abcdefghijklmnopqrstuvwxyz012345; csrftoken=abcdefghijklmnopqrstuvwxyz0123456789\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";

/// What the shop answers.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: gunicorn\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Connection: close\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 5120\r\n\
    Vary: Host, Cookie\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: same-origin\r\n\
    Set-Cookie: csrftoken=abcdefghijklmnopqrstuvwxyz0123456789; Max-Age=31449600; Path=/; SameSite=Lax\r\n\r\n";

fn main() {
    let limits = HeadLimits::default();
    let mut request = RequestHead::new();
    measure("request, 12 fields", || {
        request.clear();
        request.feed(black_box(REQUEST), &limits).expect("it is well-formed")
    });
    measure("request, a new head each", || {
        RequestHead::new().feed(black_box(REQUEST), &limits).expect("it is well-formed")
    });
    let mut response = ResponseHead::new();
    measure("response, 9 fields", || {
        response.clear();
        response.feed(black_box(RESPONSE), &limits, Method::Get).expect("it is well-formed")
    });
}

/// Prints the best of many rounds: what disturbs only makes it slower.
fn measure<T>(what: &str, mut work: impl FnMut() -> T) {
    const ROUNDS: u32 = 200;
    const EACH: u32 = 5_000;
    let round = |_| {
        let start = Instant::now();
        (0..EACH).for_each(|_| drop(black_box(work())));
        start.elapsed() / EACH
    };
    let best = (0..ROUNDS).map(round).min().unwrap_or_default();
    println!("{what:26} {:5} ns", best.as_nanos());
}
