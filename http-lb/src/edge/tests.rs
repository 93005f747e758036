//! Decisions about whole requests, as configured. Kind: pure.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::config::{Override, Sources};

use super::*;
use crate::config::Config;
use crate::wire::{HeadLimits, path::normalise};

const UPSTREAM: (&str, &str) = ("clusters", "[{ upstreams = [\"app:8000\"] }]");

/// A configuration of these settings, with one cluster.
pub(super) fn config(settings: &[(&'static str, &str)]) -> Arc<Config> {
    let all = [UPSTREAM].into_iter().chain(settings.iter().copied());
    let all = all.map(|(key, value)| Override::new("--flag", key, value)).collect();
    Sources::new("http-lb", None, all).load::<Config>().unwrap_or_else(|fault| panic!("{fault}")).service
}

pub(super) fn edge(settings: &[(&'static str, &str)]) -> Edge {
    Edge::load(&config(settings), None).unwrap()
}

/// A head with these lines, the first being `GET /path`; with a Host if none is there.
pub(super) fn head(lines: &str) -> RequestHead {
    let (first, rest) = lines.split_once('\n').unwrap_or((lines, ""));
    let host = if format!("\n{}", rest.to_lowercase()).contains("\nhost:") {
        ""
    } else {
        "Host: shop.example.org\r\n"
    };
    let fields: String = rest.lines().map(|line| format!("{}\r\n", line.trim())).collect();
    let text = format!("{first} HTTP/1.1\r\n{host}{fields}\r\n");
    RequestHead::parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap().0
}

pub(super) fn arrival(ip: &str) -> Arrival {
    Arrival { peer: Some(ip.parse::<IpAddr>().unwrap()), tls: false, port: 8080 }
}

/// What becomes of a request: the word for it and the status, or where it goes.
fn judged(edge: &Edge, ip: &str, lines: &str, now: Instant) -> String {
    let head = head(lines);
    let origin = edge.origin(&head, &arrival(ip));
    let id = edge.id(&head, &origin, 7);
    let path = normalise(head.path()).unwrap();
    match edge.judge(&Asked { head: &head, path: &path, origin: &origin, id: &id }, now) {
        Verdict::Go(route) => match route.target {
            Target::Cluster(index) => format!("cluster {index}"),
            Target::Files { mount, .. } => format!("files {}", mount.0),
            _ => "?".to_owned(),
        },
        Verdict::Answer(answer, why, _) => {
            let location =
                crate::wire::fields::find(&answer.fields, b"location").map(String::from_utf8_lossy);
            format!("{} {why}{}", answer.status, location.map(|to| format!(" {to}")).unwrap_or_default())
        }
    }
}

#[track_caller]
fn check(edge: &Edge, lines: &str, expected: &str) {
    assert_eq!(judged(edge, "192.0.2.1", lines, Instant::now()), expected, "{lines}");
}

#[test]
fn without_routes_all_goes_to_the_first_cluster_but_files() {
    let edge = edge(&[("files", r#"[{ prefix = "/static/", root = "/s" }]"#)]);
    check(&edge, "GET /", "cluster 0");
    check(&edge, "POST /any/where", "cluster 0");
    check(&edge, "GET /static/a.css", "files 0");
    check(&edge, "GET /static//..//static/a.css", "files 0");
    check(&edge, "GET /%73tatic/a.css", "files 0");
    check(&edge, "GET /statics", "cluster 0");
}

#[test]
fn an_internal_folder_is_no_route() {
    let edge = edge(&[("files", r#"[{ prefix = "/protected/", root = "/s", internal = true }]"#)]);
    check(&edge, "GET /protected/a", "cluster 0");
}

#[test]
fn paths_are_split_among_clusters() {
    let clusters = r#"[{ name = "api", upstreams = ["a:1"] }, { name = "web", upstreams = ["b:1"] }]"#;
    let routes = r#"[{ path = "/", cluster = "web" }, { path = "/api/", cluster = "api" },
        { exact = "/api/health", respond = { status = 204 } }, { path = "/old", respond = { status = 410 } }]"#;
    let edge = edge(&[("clusters", clusters), ("routes", routes)]);
    check(&edge, "GET /", "cluster 1");
    check(&edge, "GET /api/v1/", "cluster 0");
    check(&edge, "GET /api", "cluster 1");
    check(&edge, "GET /%61pi/v1/", "cluster 0");
    check(&edge, "GET /x/../api/v1/", "cluster 0");
    check(&edge, "GET /api/health", "204 respond");
    check(&edge, "GET /old/page", "410 respond");
}

#[test]
fn what_has_no_route_is_not_found() {
    let edge = edge(&[("routes", r#"[{ path = "/a", methods = ["GET"], cluster = "default" }]"#)]);
    check(&edge, "HEAD /a", "cluster 0");
    check(&edge, "POST /a", "405 method");
    check(&edge, "GET /b", "404 no_route");
}

#[test]
fn networks_are_kept_out() {
    let routes = r#"[{ cluster = "default", deny = ["192.0.2.0/24"] }]"#;
    let edge = edge(&[("routes", routes)]);
    check(&edge, "GET /", "403 address");
    assert_eq!(judged(&edge, "198.51.100.1", "GET /", Instant::now()), "cluster 0");
}

#[test]
fn a_rate_is_held_for_each_client() {
    let limit = r#"[{ name = "login", requests = 2, per = "1m" }]"#;
    let routes =
        r#"[{ path = "/login", cluster = "default", rate_limits = ["login"] }, { cluster = "default" }]"#;
    let edge = edge(&[("rate_limits", limit), ("routes", routes)]);
    let now = Instant::now();
    let ask = |ip: &str, path: &str| judged(&edge, ip, &format!("POST {path}"), now);
    assert_eq!(ask("192.0.2.1", "/login"), "cluster 0");
    assert_eq!(ask("192.0.2.1", "/login"), "cluster 0");
    assert_eq!(ask("192.0.2.1", "/login"), "429 rate");
    assert_eq!(ask("192.0.2.2", "/login"), "cluster 0");
    assert_eq!(ask("192.0.2.1", "/"), "cluster 0");
}

#[test]
fn a_rate_goes_on_after_a_reload_that_leaves_it() {
    let settings = |requests: u32| {
        let limit = format!(r#"[{{ name = "all", requests = {requests}, per = "1h" }}]"#);
        config(&[("rate_limits", &limit), ("routes", r#"[{ cluster = "default", rate_limits = ["all"] }]"#)])
    };
    let old = Edge::load(&settings(1), None).unwrap();
    check(&old, "GET /", "cluster 0");
    check(&Edge::load(&settings(1), Some(&old)).unwrap(), "GET /", "429 rate");
    check(&Edge::load(&settings(2), Some(&old)).unwrap(), "GET /", "cluster 0");
}

#[test]
fn plain_requests_are_sent_to_https() {
    let edge = edge(&[
        ("https", r#"{ redirect = true, hosts = ["shop.example.org", "*.tickets.example"], hsts = "1d" }"#),
        ("client.trusted_proxies", r#"["192.0.2.1"]"#.replace("192.0.2.1", "192.0.2.1/32").as_str()),
        (
            "routes",
            r#"[{ path = "/.well-known/acme-challenge/", allow_http = true, cluster = "default" },
                { cluster = "default" }]"#,
        ),
    ]);
    check(&edge, "GET /a?b=c", "308 https https://shop.example.org/a?b=c");
    check(&edge, "GET /\nHost: a.tickets.example:8080", "308 https https://a.tickets.example/");
    check(&edge, "GET /\nHost: evil.example", "421 host");
    check(&edge, "GET /.well-known/acme-challenge/x", "cluster 0");
    check(&edge, "GET /\nX-Forwarded-Proto: https", "cluster 0");
    let lied = judged(&edge, "192.0.2.9", "GET /\nX-Forwarded-Proto: https", Instant::now());
    assert_eq!(lied, "308 https https://shop.example.org/");
}

#[test]
fn a_closed_shop_is_open_for_some() {
    let maintenance = r#"{ enabled = true, allow = ["198.51.100.0/24"], open = ["/webhook"] }"#;
    let edge = edge(&[("maintenance", maintenance)]);
    check(&edge, "GET /", "503 maintenance");
    check(&edge, "POST /webhook/stripe", "cluster 0");
    assert_eq!(judged(&edge, "198.51.100.7", "GET /", Instant::now()), "cluster 0");
    edge.switch().set(false);
    check(&edge, "GET /", "cluster 0");
    edge.switch().clear();
    check(&edge, "GET /", "503 maintenance");
}

#[test]
fn the_switch_outlives_a_reload() {
    let old = edge(&[]);
    old.switch().set(true);
    let new = Edge::load(&config(&[]), Some(&old)).unwrap();
    assert!(new.is_closed());
}

#[test]
fn what_may_be_sent_again_is_told() {
    let edge = edge(&[("profile", "pretix")]);
    let ask = |lines: &str| {
        let head = head(lines);
        edge.is_repeatable(0, &head, head.path())
    };
    assert!(ask("GET /") && ask("PUT /") && ask("DELETE /") && ask("HEAD /"));
    assert!(!ask("POST /") && !ask("PATCH /api/") && !ask("POST /api/"));
    assert!(ask("POST /api/v1/orders/\nX-Idempotency-Key: abc"));
    assert!(!ask("POST /api/v1/orders/\nX-Idempotency-Key:"));
    assert!(!ask("POST /demo/\nX-Idempotency-Key: abc"));
}

#[test]
fn ids_are_those_of_trusted_proxies() {
    let edge = edge(&[("client", r#"{ trusted_proxies = ["192.0.2.1/32"], request_id = "X-Trace" }"#)]);
    let id = |ip: &str, lines: &str| {
        let head = head(lines);
        edge.id(&head, &edge.origin(&head, &arrival(ip)), 1).as_str().to_owned()
    };
    assert_eq!(id("192.0.2.1", "GET /\nX-Trace: given-123"), "given-123");
    assert_eq!(id("192.0.2.2", "GET /\nX-Trace: given-123"), format!("{:032x}", 1));
    assert_eq!(id("192.0.2.1", "GET /"), format!("{:032x}", 1));
}

#[test]
fn who_must_say_who_they_are_is_told_how() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    let routes =
        format!(r#"[{{ cluster = "default", basic_auth = {{ file = {file:?}, realm = "staff" }} }}]"#);
    let edge = edge(&[("routes", &routes)]);
    let head = head("GET /");
    let route = &edge.table.routes()[0];
    let auth = route.auth.as_ref().unwrap();
    let answer = edge.challenge(auth, route, &head, &RequestId::new(1));
    assert_eq!(answer.status, 401);
    let challenge = crate::wire::fields::find(&answer.fields, b"www-authenticate").unwrap();
    assert_eq!(challenge, b"Basic realm=\"staff\", charset=\"UTF-8\"");
}

#[test]
fn a_bad_file_of_users_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    std::fs::write(&file, "ann:plain\n").unwrap();
    let routes = format!(r#"[{{ cluster = "default", basic_auth = {{ file = {file:?} }} }}]"#);
    let error = Edge::load(&config(&[("routes", &routes)]), None).unwrap_err().to_string();
    assert!(error.contains("users") && error.contains("htpasswd -B") && !error.contains("plain"), "{error}");
}

#[test]
fn waiting_is_told_in_seconds() {
    let limit = r#"[{ name = "all", requests = 1, per = "10s" }]"#;
    let routes = r#"[{ cluster = "default", rate_limits = ["all"], errors = "json" }]"#;
    let edge = edge(&[("rate_limits", limit), ("routes", routes)]);
    let head = head("GET /");
    let origin = edge.origin(&head, &arrival("192.0.2.1"));
    let asked = Asked { head: &head, path: b"/", origin: &origin, id: &RequestId::new(1) };
    let now = Instant::now();
    assert!(matches!(edge.judge(&asked, now), Verdict::Go(_)));
    let Verdict::Answer(answer, "rate", Some(_)) = edge.judge(&asked, now + Duration::from_secs(2)) else {
        panic!("it is let in");
    };
    let fields = String::from_utf8(answer.fields).unwrap();
    assert!(fields.contains("retry-after: 9\r\n") && fields.contains("application/json"), "{fields}");
}
