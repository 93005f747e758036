//! Responses as servers send them, and what is made of them. Kind: pure.

use super::*;

fn parse(text: &str, request: Method) -> Result<Option<(ResponseHead, usize)>, Malformed> {
    ResponseHead::parse(text.as_bytes(), &HeadLimits::default(), request)
}

#[track_caller]
fn response(text: &str) -> ResponseHead {
    parse(text, Method::Get).unwrap_or_else(|refused| panic!("{text}: {refused}")).expect("a whole head").0
}

#[track_caller]
fn check_line(line: &str, status: u16, reason: &str) {
    let response = response(&format!("{line}\r\n\r\n"));
    assert_eq!((response.status(), response.reason()), (status, reason.as_bytes()), "{line}");
}

#[test]
fn a_status_line_may_lack_its_reason() {
    check_line("HTTP/1.1 200 OK", 200, "OK");
    check_line("HTTP/1.0 404 Not  Found", 404, "Not  Found");
    check_line("HTTP/1.1 200 ", 200, "");
    check_line("HTTP/1.1 200", 200, "");
    check_line("HTTP/1.1 599 gr\u{fc}n", 599, "gr\u{fc}n");
}

#[test]
fn gunicorns_answer_is_read() {
    let text = "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
                Content-Type: text/html; charset=utf-8\r\nContent-Length: 5\r\nSet-Cookie: a=1; Path=/\r\n\
                Set-Cookie: b=2\r\n\r\n";
    let (response, used) = parse(&format!("{text}hello"), Method::Get).unwrap().unwrap();
    assert_eq!(used, text.len());
    assert_eq!((response.framing(), response.keep_alive()), (ResponseFraming::Length(5), false));
    assert!(response.all(Name::SetCookie).eq([&b"a=1; Path=/"[..], b"b=2"]));
    assert_eq!(response.known(Name::Server), Some(&b"gunicorn"[..]));
}

#[track_caller]
fn check(status: u16, request: Method, lines: &str, framing: ResponseFraming) {
    let text = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
    let (response, _) = parse(&text, request).unwrap().unwrap();
    assert_eq!(response.framing(), framing, "{request:?}: {text}");
}

#[test]
fn a_body_ends_where_the_standard_has_it() {
    use Method::{Get, Head};
    use ResponseFraming::{Chunked, Length, None, UntilClose};
    check(200, Get, "Content-Length: 5\r\n", Length(5));
    check(200, Get, "Transfer-Encoding: chunked\r\n", Chunked);
    check(200, Get, "", UntilClose);
    check(404, Head, "Content-Length: 5\r\n", None);
    check(200, Head, "Transfer-Encoding: chunked\r\n", None);
    check(304, Get, "Content-Length: 5\r\n", None);
    check(304, Get, "", None);
    check(204, Get, "Content-Length: 0\r\n", None);
    check(100, Get, "", None);
    check(101, Get, "Connection: upgrade\r\nUpgrade: websocket\r\n", None);
}

#[test]
fn the_length_of_a_body_that_is_not_sent_is_known() {
    let (response, _) = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Head).unwrap().unwrap();
    assert_eq!(response.content_length(), Some(5));
}

#[test]
fn a_connection_is_kept_only_if_the_body_ends_before_it() {
    assert!(response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive());
    assert!(!response("HTTP/1.1 200 OK\r\n\r\n").keep_alive());
    assert!(!response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").keep_alive());
    assert!(!response("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive());
    assert!(response("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").keep_alive());
}

#[test]
fn interim_responses_are_followed_by_another() {
    assert!(response("HTTP/1.1 100 Continue\r\n\r\n").is_interim());
    assert!(response("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").is_interim());
    assert!(!response("HTTP/1.1 101 Switching\r\n\r\n").is_interim());
    assert!(!response("HTTP/1.1 200 OK\r\n\r\n").is_interim());
}

#[test]
fn a_switch_names_the_protocol() {
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(response(&format!("HTTP/1.1 101 x\r\n{lines}")).upgrade(), Some(&b"websocket"[..]));
    assert_eq!(response(&format!("HTTP/1.1 426 x\r\n{lines}")).upgrade(), None);
    assert_eq!(response("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n").upgrade(), None);
}

#[test]
fn a_server_may_name_any_field_its_own() {
    let response = response("HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding, Server\r\n\r\n");
    assert!(response.nominates(b"server") && !response.nominates(b"date"));
}

#[test]
fn what_could_be_read_in_two_ways_is_a_bad_gateway() {
    let refused = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
        "HTTP/1.1 200 OK\nX: a\n\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>",
        "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    for text in refused {
        assert_eq!(parse(text, Method::Get).map(|_| ()).expect_err(text).status, 502, "{text}");
    }
}

#[test]
fn a_head_without_end_is_a_bad_gateway() {
    let line = format!("HTTP/1.1 200 {}\r\n", "a".repeat(9000));
    assert_eq!(parse(&line, Method::Get).unwrap_err().status, 502);
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(parse(&fields, Method::Get).unwrap_err().status, 502);
}
