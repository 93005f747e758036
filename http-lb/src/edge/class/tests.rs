//! Classes of requests, with Pretix' profile above all. Kind: pure.

use super::*;
use crate::edge::tests::{config, head};
use crate::wire::path::normalise;

#[track_caller]
fn check(config: &Config, lines: &str, expected: &str) {
    let head = head(lines);
    let path = normalise(head.path()).unwrap();
    let class = Classes::new(config).of(&head, &path);
    assert_eq!(config.class_names()[class.index()], expected, "{lines}");
}

#[track_caller]
fn pretix(lines: &str, expected: &str) {
    check(&config(&[("profile", "pretix")]), lines, expected);
}

#[test]
fn without_classes_all_are_alike() {
    check(&config(&[]), "GET /", "default");
}

#[test]
fn money_comes_first() {
    pretix("POST /demo/conf/checkout/payment/", "payment");
    pretix("POST /demo/conf/checkout/confirm/", "payment");
    pretix("GET /demo/conf/order/ABC12/0123456789abcdef/pay/1/complete", "payment");
    pretix("GET /conf/order/ABC12/0123456789abcdef/pay/1/confirm", "payment");
    pretix("POST /_stripe/webhook/", "payment");
    pretix("POST /demo/conf/_paypal/webhook/", "payment");
    pretix("POST /api/v1/organizers/demo/checkinrpc/redeem/", "payment");
}

#[test]
fn then_what_lies_in_the_cart() {
    pretix("GET /demo/conf/checkout/questions/", "checkout");
    pretix("GET /checkout/start", "checkout");
    pretix("POST /demo/conf/cart/add", "checkout");
    pretix("POST /demo/conf/w/0123456789abcdef/cart/add?iframe=1", "checkout");
    pretix("GET /demo/conf/order/ABC12/0123456789abcdef/", "checkout");
    pretix("POST /api/v1/organizers/demo/events/conf/orders/", "checkout");
}

#[test]
fn then_polls_sessions_strangers_and_bots() {
    pretix("GET /demo/conf/cart/add?async_id=0&ajax=1", "poll");
    pretix("GET /demo/conf/?ajax=1\nCookie: a=b; pretix_session=x", "session");
    pretix("GET /demo/conf/\nCookie: __Host-pretix_session=x", "session");
    pretix("GET /control/event/demo/conf/", "session");
    pretix("GET /api/v1/organizers/", "session");
    pretix("GET /demo/conf/", "anonymous");
    pretix("GET /demo/conf/\nCookie: pretix_session=", "anonymous");
    pretix("GET /demo/conf/\nUser-Agent: Mozilla/5.0 (compatible; GoogleBot/2.1)", "bots");
    pretix("GET /checkout-my-band/conf/", "anonymous");
}

#[test]
fn a_path_in_disguise_is_the_same_path() {
    pretix("POST /demo//conf/%63heckout/./payment/", "payment");
}

#[test]
fn all_of_a_rule_must_hold() {
    let classes = r#"[{ name = "a", rules = [{ methods = ["POST"], cookies = ["x"], query = ["q"] }] }, { name = "b" }]"#;
    let config = config(&[("classes", classes)]);
    check(&config, "POST /?q\nCookie: x=1", "a");
    check(&config, "POST /?p=q&q=1\nCookie: y=2; x=1", "a");
    check(&config, "GET /?q\nCookie: x=1", "b");
    check(&config, "POST /?qq\nCookie: x=1", "b");
    check(&config, "POST /?q", "b");
}

#[test]
fn more_words_than_bits_are_no_trouble() {
    let paths: Vec<_> = (0..100).map(|number| format!("\"/w{number}/**\"")).collect();
    let classes =
        format!("[{{ name = \"a\", rules = [{{ paths = [{}] }}] }}, {{ name = \"b\" }}]", paths.join(","));
    let config = config(&[("classes", &classes)]);
    check(&config, "GET /w0/x", "a");
    check(&config, "GET /w99/x", "a");
    check(&config, "GET /w100/x", "b");
}
