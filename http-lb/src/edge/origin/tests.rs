//! Clients behind proxies, and those who only say so. Kind: pure.

use super::*;
use crate::edge::tests::head;

#[track_caller]
fn check(peer: Option<&str>, lines: &str, expected: (&str, bool, u16)) {
    let proxies = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap()).to_vec();
    let arrival = Arrival { peer: peer.map(|ip| ip.parse().unwrap()), tls: false, port: 8080 };
    let origin = Trust::new(proxies, true).origin(&head(lines), &arrival);
    assert_eq!((origin.ip.to_string().as_str(), origin.https, origin.port), expected, "{lines}");
}

#[test]
fn strangers_speak_for_themselves() {
    let lies = "GET /\nX-Forwarded-For: 1.2.3.4\nX-Forwarded-Proto: https\nX-Forwarded-Port: 443";
    check(Some("192.0.2.1"), lies, ("192.0.2.1", false, 8080));
    check(Some("::ffff:192.0.2.1"), lies, ("192.0.2.1", false, 8080));
}

#[test]
fn the_client_is_the_rightmost_that_is_no_proxy_of_ours() {
    let of = |list: &str| format!("GET /\nX-Forwarded-For: {list}");
    check(Some("10.0.0.1"), &of("192.0.2.1"), ("192.0.2.1", false, 8080));
    check(Some("10.0.0.1"), &of("1.2.3.4, 192.0.2.1"), ("192.0.2.1", false, 8080));
    check(Some("10.0.0.1"), &of("1.2.3.4, 192.0.2.1, 10.0.0.2"), ("192.0.2.1", false, 8080));
    check(Some("2001:db8::1"), &of("2001:db9::7"), ("2001:db9::7", false, 8080));
    check(Some("10.0.0.1"), "GET /", ("10.0.0.1", false, 8080));
    check(Some("10.0.0.1"), &of("rubbish"), ("10.0.0.1", false, 8080));
    check(Some("10.0.0.1"), &of("1.2.3.4\nX-Forwarded-For: 192.0.2.1"), ("192.0.2.1", false, 8080));
}

#[test]
fn a_unix_socket_is_a_proxy_of_ours() {
    check(None, "GET /\nX-Forwarded-For: 1.2.3.4, 192.0.2.1", ("192.0.2.1", false, 8080));
    check(None, "GET /", ("127.0.0.1", false, 8080));
    let distrusted = Trust::new(Vec::new(), false);
    let arrival = Arrival { peer: None, tls: false, port: 0 };
    let origin = distrusted.origin(&head("GET /\nX-Forwarded-For: 192.0.2.1"), &arrival);
    assert_eq!((origin.ip.to_string().as_str(), origin.trusted), ("127.0.0.1", false));
}

#[test]
fn scheme_and_port_are_those_that_the_proxy_saw() {
    check(Some("10.0.0.1"), "GET /\nX-Forwarded-Proto: https", ("10.0.0.1", true, 443));
    check(Some("10.0.0.1"), "GET /\nX-Forwarded-Proto: http, https", ("10.0.0.1", true, 443));
    check(
        Some("10.0.0.1"),
        "GET /\nX-Forwarded-Proto: https\nX-Forwarded-Port: 8443",
        ("10.0.0.1", true, 8443),
    );
    check(Some("10.0.0.1"), "GET /\nX-Forwarded-Proto: gopher", ("10.0.0.1", false, 8080));
}
