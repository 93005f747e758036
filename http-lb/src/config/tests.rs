//! Configurations as they are written, and what is said about them. Kind: pure.

use std::sync::Arc;

use super::*;
use proxy_core::config::{Loaded, Override, Sources};

/// The least that is valid.
const LEAST: (&str, &str) = ("clusters", "[{ upstreams = [\"app:8000\"] }]");

/// Keys and their values, as flags give them.
fn load(settings: &[(&'static str, &str)]) -> Result<Config, String> {
    let settings = settings.iter().map(|(key, value)| Override::new("--flag", key, *value));
    let loaded = Sources::new("http-lb", None, settings.collect()).load::<Config>();
    loaded.map(|loaded| Config::clone(&loaded.service)).map_err(|fault| fault.to_string())
}

#[track_caller]
fn valid(settings: &[(&'static str, &str)]) -> Config {
    load(settings).expect("the configuration is valid")
}

/// The least, and one setting more that is refused with its place and a remedy.
#[track_caller]
fn refused(key: &'static str, value: &str, parts: &[&str]) {
    let settings = [LEAST, (key, value)];
    let settings = if key == LEAST.0 { &settings[1..] } else { &settings[..] };
    let error = load(settings).expect_err("it can't work");
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

#[test]
fn one_upstream_or_one_folder_is_all_it_needs() {
    let config = valid(&[LEAST]);
    assert_eq!(config.clusters[0].name, "default");
    assert_eq!(config.listeners[0].listen.to_string(), "0.0.0.0:8080");
    valid(&[("files", "[{ prefix = \"/static/\", root = \"/srv\" }]")]);
    let error = load(&[]).expect_err("there is nothing to do");
    assert!(error.contains("nothing to serve") && error.contains("--upstream"), "{error}");
}

#[test]
fn upstreams_are_texts_or_tables() {
    let upstreams = r#"["a:1", "unix:/run/a.sock", "dns:tasks.web:80", "srv:_http._tcp.web",
        { address = "b:2", weight = 3, slots = 4 }]"#;
    let config = valid(&[("clusters", &format!("[{{ upstreams = {upstreams} }}]"))]);
    let written: Vec<_> = config.clusters[0].upstreams.iter().map(|one| one.address.to_string()).collect();
    assert_eq!(written, ["a:1", "unix:/run/a.sock", "dns:tasks.web:80", "srv:_http._tcp.web", "b:2"]);
    let last = &config.clusters[0].upstreams[4];
    assert_eq!((last.weight, last.slots), (3, Some(4)));
}

#[test]
fn a_bad_upstream_is_named_with_its_remedy() {
    refused("clusters", "[{ upstreams = [\"app\"] }]", &["clusters[0].upstreams[0]", "write host:port"]);
    refused("clusters", "[{ upstreams = [\"dns:app\"] }]", &["the port is missing"]);
    refused("clusters", "[{ upstreams = [{ adress = \"a:1\" }] }]", &["adress", "did you mean `address`"]);
    refused("clusters", "[{}]", &["has no replicas; write upstreams"]);
}

#[test]
fn what_is_printed_reads_back_as_itself() {
    for profile in [None, Some("pretix")] {
        let mut settings = vec![LEAST, ("files", "[{ prefix = \"/media/\", root = \"/srv\" }]")];
        settings.extend(profile.map(|name| ("profile", name)));
        let config = valid(&settings);
        let written = toml_of(&config);
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(file.path(), &written).expect("it can be written");
        let sources = Sources::new("http-lb", Some(file.path().to_owned()), Vec::new());
        let again = sources.load::<Config>().unwrap_or_else(|fault| panic!("{fault}\n{written}"));
        assert_eq!(*again.service, config);
    }
}

fn toml_of(config: &Config) -> String {
    let (core, service) = (Arc::default(), Arc::new(config.clone()));
    Loaded { core, service, files: Vec::new() }.effective().expect("it can be written")
}

#[test]
fn the_pretix_profile_fills_in_what_was_left_out() {
    let media = ("files", "[{ prefix = \"/media/\", root = \"/srv\" }]");
    let config = valid(&[LEAST, media, ("profile", "pretix")]);
    let cluster = &config.clusters[0];
    let check = cluster.check.as_ref().expect("replicas are checked");
    assert_eq!((check.path.as_str(), check.host.as_str()), ("/healthcheck/", "localhost"));
    assert_eq!(cluster.retries.idempotency_key, ["/api/"]);
    assert_eq!(config.files[0].deny, ["cachedfiles", "invoices"]);
    assert_eq!(config.files[0].kind, Kind::Media);
    assert_eq!(config.class_names(), ["payment", "checkout", "poll", "session", "anonymous", "bots"]);
    assert_eq!(config.fallback_class(), 4);
}

#[test]
fn the_operator_goes_before_the_profile() {
    let clusters = "[{ upstreams = [\"a:1\"], check = { path = \"/alive\" } }]";
    let config = valid(&[("clusters", clusters), ("profile", "pretix"), ("classes", "[{ name = \"all\" }]")]);
    assert_eq!(config.clusters[0].check.as_ref().map(|check| check.path.as_str()), Some("/alive"));
    assert_eq!(config.class_names(), ["all"]);
}

#[test]
fn without_classes_there_is_one() {
    let config = valid(&[LEAST]);
    assert_eq!((config.class_names(), config.fallback_class()), (vec!["default"], 0));
}

#[test]
fn names_that_nobody_has_are_refused() {
    refused("routes", "[{ cluster = \"web\" }]", &["routes[0].cluster", "none of [[clusters]]"]);
    refused("routes", "[{ files = \"/static/\" }]", &["none of [[files]]"]);
    refused("routes", "[{ cluster = \"default\", class = \"vip\" }]", &["none of [[classes]]"]);
    refused("routes", "[{ cluster = \"default\", rate_limits = [\"x\"] }]", &["none of [[rate_limits]]"]);
    let twice = "[{ upstreams = [\"a:1\"] }, { upstreams = [\"b:1\"] }]";
    refused("clusters", twice, &["stands there twice"]);
}

#[test]
fn a_route_leads_to_one_place() {
    refused("routes", "[{ path = \"/\" }]", &["exactly one of cluster, files, redirect and respond"]);
    let both = "[{ cluster = \"default\", respond = { status = 204 } }]";
    refused("routes", both, &["exactly one"]);
    let both = "[{ cluster = \"default\", path = \"/a\", exact = \"/a\" }]";
    refused("routes", both, &["stands beside path"]);
}

#[test]
fn paths_are_written_as_they_are_compared() {
    for path in ["a", "/a//b", "/a/../b", "/a%2fb", "/a?b", "/.", "/a b"] {
        let route = format!("[{{ cluster = \"default\", path = {path:?} }}]");
        refused("routes", &route, &["routes[0].path", "begins with a slash"]);
    }
    valid(&[LEAST, ("routes", "[{ cluster = \"default\", path = \"/a/b.c/\" }]")]);
}

#[test]
fn a_redirect_never_follows_what_a_client_says() {
    let open = "[{ redirect = { to = \"https://{host}/\" } }]";
    refused("routes", open, &["routes[0].redirect.to", "write in hosts"]);
    valid(&[LEAST, ("routes", "[{ hosts = [\"a.b\"], redirect = { to = \"https://{host}/\" } }]")]);
    refused("https", "{ redirect = true }", &["https.redirect", "needs https.hosts"]);
}

#[test]
fn header_rules_leave_framing_and_policies_alone() {
    for name in ["Content-Length", "Connection", "Content-Security-Policy", "Host"] {
        let route =
            format!("[{{ cluster = \"default\", response_headers = {{ set = {{ {name} = \"x\" }} }} }}]");
        refused("routes", &route, &["routes[0].response_headers", "no rule's business"]);
    }
    let split = "[{ cluster = \"default\", request_headers = { add = { x = \"a\\r\\nb\" } } }]";
    refused("routes", split, &["control byte"]);
}

#[test]
fn values_out_of_bounds_are_refused() {
    refused("compression.gzip_level", "10", &["compression.gzip_level", "1 to 9"]);
    refused("limits.line", "64KiB", &["limits.line", "more than limits.head"]);
    refused("listeners", "[{ listen = \"127.0.0.1:1\", tls = true }]", &["needs a certificate"]);
    refused("listeners", "[]", &["no address for clients"]);
    let rate = "[{ name = \"login\", requests = 0, per = \"1m\" }]";
    refused("rate_limits", rate, &["rate_limits[0].requests", "nobody could come in"]);
    refused("files", "[{ prefix = \"static\", root = \"/srv\" }]", &["begins and ends with a slash"]);
    let rests = "[{ name = \"a\" }, { name = \"b\" }]";
    refused("classes", rests, &["only one can take the rest"]);
    refused("client.request_id", "x y", &["no header field's name"]);
}
