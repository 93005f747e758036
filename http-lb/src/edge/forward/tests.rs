//! Heads as replicas and clients see them. Kind: pure.

use super::*;
use crate::edge::tests::{arrival, edge, head};
use crate::edge::{Asked, Edge, Verdict};
use crate::wire::{HeadLimits, Method, path::normalise};
use std::time::Instant;

const ID: &str = "00000000000000000000000000000007";

/// The head for the replica, with whatever is needed for it.
fn forwarded(edge: &Edge, ip: &str, lines: &str, change: impl Fn(&mut About<'_>)) -> String {
    let head = head(lines);
    let origin = edge.origin(&head, &arrival(ip));
    let id = edge.id(&head, &origin, 7);
    let path = normalise(head.path()).unwrap();
    let asked = Asked { head: &head, path: &path, origin: &origin, id: &id };
    let Verdict::Go(route) = edge.judge(&asked, Instant::now()) else { panic!("it goes nowhere") };
    let mut about = About {
        route,
        path: &path,
        origin: &origin,
        id: &id,
        id_field: &edge.id_field,
        span: edge.span(9),
        host: edge.host(0),
        body: Body::None,
        connection: Connection::Keep,
    };
    change(&mut about);
    let mut out = Vec::new();
    forward_head(&mut out, &head, &about);
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(edge: &Edge, lines: &str, present: &[&str], absent: &[&str]) {
    let text = forwarded(edge, "192.0.2.1", lines, |_| {});
    assert!(text.ends_with("\r\n\r\n"));
    for line in present {
        assert!(text.contains(&format!("{line}\r\n")), "no {line:?} in {text}");
    }
    let lower = text.to_lowercase();
    for word in absent {
        assert!(!lower.contains(word), "{word:?} in {text}");
    }
}

#[test]
fn a_whole_head() {
    let text = forwarded(&edge(&[]), "192.0.2.1", "GET /a%2e?b=c\nHost: Shop:80\nAccept: x", |_| {});
    let expected = format!(
        "GET /a%2e?b=c HTTP/1.1\r\nhost: shop:80\r\naccept: x\r\n\
         traceparent: 00-{ID}-0000000000000009-00\r\nx-forwarded-for: 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\n\
         x-forwarded-proto: http\r\nx-forwarded-host: shop:80\r\nx-forwarded-port: 8080\r\nx-request-id: {ID}\r\n\r\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn what_the_client_says_about_itself_is_overwritten() {
    let lies = "GET /\nX-Forwarded-For: 6.6.6.6\nX-Real-IP: 6.6.6.6\nX-Forwarded-Proto: evil\nForwarded: for=6.6.6.6\n\
                X-Request-ID: 6.6.6.6-6.6.6.6\nX-Forwarded-Host: evil\nX-Forwarded-Anything: evil\n\
                Traceparent: 00-66666666666666666666666666666666-6666666666666666-01\nTracestate: evil=1";
    check(
        &edge(&[]),
        lies,
        &["x-forwarded-for: 192.0.2.1", "x-forwarded-host: shop.example.org", "x-forwarded-proto: http"],
        &["6.6.6.6", "evil", "forwarded: for", "66666"],
    );
}

#[test]
fn names_that_pass_for_others_are_dropped() {
    let tricks = "GET /\nX_Forwarded_For: evil\nSCRIPT_NAME: /evil\nScript-Name: /evil\nProxy: http://evil\n\
                  Remote-User: evil\nRemote-Addr: evil\nX-Accel-Redirect: /evil\nX-Accel-Anything: evil\n\
                  X-Original-URL: /evil\nX-Rewrite-URL: /evil\nContent_Length: 5evil\nX-Fine: kept";
    check(&edge(&[]), tricks, &["x-fine: kept"], &["evil"]);
}

#[test]
fn what_belongs_to_the_connection_stays_there() {
    let lines = "GET /\nConnection: keep-alive, X-Hop\nKeep-Alive: once\nTE: once\nX-Hop: once\nTrailer: once\n\
                 Proxy-Authorization: once\nUpgrade: once\nExpect: 100-continue\nX-Stay: kept";
    check(&edge(&[]), lines, &["x-stay: kept"], &["once", "x-hop", "keep-alive", "connection", "expect"]);
}

#[test]
fn an_upgrade_is_asked_for_anew() {
    let lines = "GET /\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: abc";
    let upgrade = |about: &mut About<'_>| about.connection = Connection::Upgrade(b"websocket");
    let text = forwarded(&edge(&[]), "192.0.2.1", lines, upgrade);
    assert!(text.ends_with("connection: upgrade\r\nupgrade: websocket\r\n\r\n"), "{text}");
    assert!(text.contains("sec-websocket-key: abc\r\n"));
}

#[test]
fn a_body_has_one_length() {
    let lines = "POST /\nContent-Length: 5";
    let with = |body| forwarded(&edge(&[]), "192.0.2.1", lines, |about| about.body = body);
    assert_eq!(with(Body::Length(5)).matches("content-length").count(), 1);
    assert!(with(Body::Length(5)).contains("content-length: 5\r\n"));
    assert!(with(Body::Chunked).contains("transfer-encoding: chunked\r\n"));
    assert!(!with(Body::Chunked).contains("content-length"));
    let chunked = "POST /\nTransfer-Encoding: chunked";
    let text = forwarded(&edge(&[]), "192.0.2.1", chunked, |about| about.body = Body::Length(12));
    assert!(text.contains("content-length: 12\r\n") && !text.contains("chunked"), "{text}");
}

#[test]
fn proxies_that_we_trust_are_continued() {
    let edge = edge(&[("client.trusted_proxies", r#"["192.0.2.1/32"]"#)]);
    let lines = "GET /\nX-Forwarded-For: 198.51.100.7\nX-Forwarded-Proto: https\nX-Request-ID: given-123\n\
                 Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nTracestate: a=1";
    let present = [
        "x-forwarded-for: 198.51.100.7",
        "x-forwarded-proto: https",
        "x-request-id: given-123",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate: a=1",
    ];
    check(&edge, lines, &present, &["192.0.2.1"]);
}

#[test]
fn rules_change_requests() {
    let routes = r#"[{ cluster = "default", request_headers = { remove = ["X-Secret"],
        set = { X-Env = "prod", X-Who = "{client} {scheme} {request_id}" }, add = { Accept = "more" } } }]"#;
    let edge = edge(&[("routes", routes)]);
    let lines = "GET /\nX-Secret: evil\nX-Env: evil\nAccept: x";
    let who = format!("x-who: 192.0.2.1 http {ID}");
    check(&edge, lines, &["x-env: prod", "accept: x", "accept: more", &who], &["evil", "x-secret"]);
}

#[test]
fn a_prefix_is_rewritten_and_the_host_replaced() {
    let edge = edge(&[
        ("clusters", r#"[{ upstreams = ["a:1"], host = "inner" }]"#),
        ("routes", r#"[{ path = "/app", cluster = "default", rewrite = { prefix = "/" } }]"#),
    ]);
    check(&edge, "GET /app/x%20y?z", &["GET /x%20y?z HTTP/1.1", "host: inner"], &["/app"]);
    check(&edge, "GET /app", &["GET / HTTP/1.1", "x-forwarded-host: shop.example.org"], &[]);
}

fn answered(edge: &Edge, lines: &str, answer: &str, coding: Coding) -> (String, Passed) {
    let request = head(lines);
    let origin = edge.origin(&request, &arrival("192.0.2.1"));
    let id = edge.id(&request, &origin, 7);
    let asked = Asked { head: &request, path: b"/", origin: &origin, id: &id };
    let Verdict::Go(route) = edge.judge(&asked, Instant::now()) else { panic!("it goes nowhere") };
    let text = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", answer.replace('\n', "\r\n"));
    let limits = HeadLimits::default();
    let answer = ResponseHead::parse(text.as_bytes(), &limits, Method::Get).unwrap().unwrap().0;
    let back = Back {
        head: &request,
        route,
        origin: &origin,
        id: &id,
        id_field: &edge.id_field,
        https: &edge.https,
        coding,
    };
    let mut out = Vec::new();
    let passed = answer_fields(&mut out, &answer, &back);
    (String::from_utf8(out).unwrap(), passed)
}

#[test]
fn an_answer_is_passed_on_without_what_is_not_the_clients_business() {
    let answer = "Server: gunicorn\nDate: Sun, 06 Nov 1994 08:49:37 GMT\nConnection: close, X-Hop\nX-Hop: 1\n\
                  Content-Length: 2\nX-Accel-Buffering: no\nSet-Cookie: a=1\nSet-Cookie: b=2\n\
                  Content-Security-Policy: default-src 'self'";
    let (text, passed) = answered(&edge(&[]), "GET /", answer, Coding::AsItIs);
    let expected = format!(
        "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
         content-security-policy: default-src 'self'\r\nx-request-id: {ID}\r\n"
    );
    assert_eq!((text, passed.dated), (expected, true));
}

#[test]
fn rules_change_answers() {
    let routes = r#"[{ cluster = "default", response_headers = { remove = ["X-Powered-By"],
        set = { X-Frame-Options = "DENY" } } }]"#;
    let (text, passed) = answered(
        &edge(&[("routes", routes)]),
        "GET /",
        "X-Powered-By: x\nX-Frame-Options: SAMEORIGIN",
        Coding::AsItIs,
    );
    assert_eq!(text, format!("x-request-id: {ID}\r\nx-frame-options: DENY\r\n"));
    assert!(!passed.dated);
}

#[test]
fn https_is_demanded_of_those_who_came_by_it() {
    let settings = [("https", r#"{ hsts = "365d" }"#), ("client.trusted_proxies", r#"["192.0.2.1/32"]"#)];
    let edge = edge(&settings);
    let (https, _) = answered(&edge, "GET /\nX-Forwarded-Proto: https", "X: y", Coding::AsItIs);
    assert!(https.contains("strict-transport-security: max-age=31536000\r\n"), "{https}");
    let (plain, _) = answered(&edge, "GET /", "X: y", Coding::AsItIs);
    assert!(!plain.contains("strict-transport-security"));
}

#[test]
fn what_is_compressed_says_so_and_its_tag_is_weak() {
    let coded = |answer: &str, coding| answered(&edge(&[]), "GET /", answer, coding).0;
    let text = coded("ETag: \"a\"\nAccept-Ranges: bytes\nContent-Length: 9", Coding::With(Algorithm::Gzip));
    let expected = "etag: W/\"a\"\r\ncontent-encoding: gzip\r\nvary: accept-encoding\r\n";
    assert!(text.starts_with(expected), "{text}");
    let weak = coded("ETag: W/\"a\"\nVary: Cookie, Accept-Encoding", Coding::With(Algorithm::Br));
    assert!(
        weak.starts_with("etag: W/\"a\"\r\nvary: Cookie, Accept-Encoding\r\ncontent-encoding: br\r\nx-"),
        "{weak}"
    );
    let other = coded("ETag: \"a\"", Coding::Varies);
    assert!(other.starts_with("etag: \"a\"\r\nvary: accept-encoding\r\n"), "{other}");
}
