//! Where clients are sent, and what replicas are asked for. Kind: pure.

use super::*;
use crate::edge::tests::head;

#[track_caller]
fn check(to: &str, prefix: &str, request: &str, expected: &str) {
    let address = Target::new(to).of(&head(request), prefix.as_bytes());
    assert_eq!(String::from_utf8(address).unwrap(), expected, "{to} {request}");
}

#[test]
fn a_target_names_parts_of_the_request() {
    check("https://new.example{uri}", "/", "GET /a?b", "https://new.example/a?b");
    check("https://{host}{uri}", "/", "GET /a\nHost: x.org:81", "https://x.org/a");
    check("/shop{rest}", "/old", "GET /old/a?b", "/shop/a?b");
    check("/shop/{rest}", "/old/", "GET /old/a", "/shop/a");
    check("/shop/{rest}", "/old", "GET /old/a", "/shop/a");
    check("https://fixed.example/", "/", "GET /a", "https://fixed.example/");
    check("{other}", "/", "GET /a", "{other}");
}

#[test]
fn nobody_is_sent_to_another_host_by_a_path() {
    check("{uri}", "/", "GET //evil.example/a", "/evil.example/a");
    check("{rest}", "/old", "GET /old//evil.example", "/evil.example");
}

#[track_caller]
fn rewrite(prefix: &str, with: &str, request: &str, path: &str, expected: &str) {
    let target = rewritten(&head(request), path.as_bytes(), prefix.as_bytes(), with.as_bytes());
    assert_eq!(String::from_utf8(target).unwrap(), expected, "{prefix} -> {with}: {request}");
}

#[test]
fn a_prefix_takes_the_place_of_another() {
    rewrite("/app/", "/", "GET /app/x?y", "/app/x", "/x?y");
    rewrite("/app", "/", "GET /app/x", "/app/x", "/x");
    rewrite("/app", "/", "GET /app", "/app", "/");
    rewrite("/app", "/v2", "GET /app/x", "/app/x", "/v2/x");
    rewrite("/app", "/v2", "GET /app", "/app", "/v2");
    rewrite("/app/", "/v2", "GET /app/x", "/app/x", "/v2/x");
    rewrite("/app/", "/v2/", "GET /app/a%20b", "/app/a b", "/v2/a%20b");
}

#[test]
fn a_prefix_in_disguise_is_found_nevertheless() {
    rewrite("/app/", "/", "GET /%61pp/x%20y?q", "/app/x y", "/x%20y?q");
    rewrite("/app/", "/", "GET //app/%3fx", "/app/?x", "/%3Fx");
}
