//! Configurations as an operator meets them: what is shipped is valid, and what is wrong is named with its place and
//! its remedy before anything starts. Kind: driver.

#[path = "../../proxy-core/tests/shared/configuration.rs"]
mod configuration;

use configuration::{Site, accepted, as_it_is, refused, shipped_as_defaults, shipped_in_full, turned_on};

/// The least that is valid; a case goes on from line 3.
const LEAST: &str = "[[clusters]]\nupstreams = [\"app:8000\"]\n";

/// Of what a route may lead to only one is taken in.
fn turned_on_once(line: &str) -> &str {
    let others = ["#redirect = ", "#respond = "];
    if others.iter().any(|other| line.starts_with(other)) { line } else { turned_on(line) }
}

#[test]
fn the_shipped_configuration_is_valid() {
    let parts = ["pretix-1:8000", "prefix = \"/static/\"", "name = \"payment\"", "\"cachedfiles\""];
    accepted(&Site::shipped(as_it_is), &parts);
}

#[test]
fn what_is_commented_out_in_the_shipped_configuration_is_valid_too() {
    let parts =
        ["certificate = \"/etc/http-lb/shop.crt\"", "cookie = \"replica\"", "name = \"login\"", "hsts"];
    accepted(&Site::shipped(turned_on_once), &parts);
}

#[test]
fn what_the_shipped_configuration_calls_defaults_are_the_defaults() {
    let sections = [
        "[https]",
        "[client]",
        "[file_memory]",
        "[timeouts]",
        "[limits]",
        "[buffers]",
        "[http2]",
        "[compression]",
        "[maintenance]",
        "[sockets]",
        "[drain]",
        "[clusters.ejection]",
        "[clusters.keepalive]",
        "[clusters.resolution]",
        "[[listeners]]",
    ];
    shipped_as_defaults(&Site::shipped(as_it_is), &Site::new(LEAST), &sections);
}

#[test]
fn every_setting_stands_in_the_shipped_configuration() {
    shipped_in_full(&Site::shipped(turned_on_once));
}

#[test]
fn the_environment_alone_is_enough() {
    let site = Site::new("")
        .with_variable("HTTP_LB_CLUSTERS", r#"[{ upstreams = ["dns:tasks.pretix:8000"], slots = 4 }]"#)
        .with_variable("HTTP_LB_PROFILE", "pretix")
        .with_variable("HTTP_LB_CLIENT__TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1/32")
        .with_variable("HTTP_LB_TIMEOUTS__RESPONSE", "2m");
    let parts = [
        "dns:tasks.pretix:8000",
        "slots = 4",
        "path = \"/healthcheck/\"",
        "192.0.2.1/32",
        "response = \"2m\"",
    ];
    accepted(&site, &parts);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let section = Site::new(&format!("{LEAST}[timeouts]\nrespones = \"5s\"\n"));
    refused(&section, &["http-lb.toml:4: unknown key `timeouts.respones`: did you mean `response`?"]);
    let element = Site::new(&format!("{LEAST}[clusters.queue]\ntimout = \"5s\"\n"));
    refused(&element, &["unknown key `clusters[0].queue.timout`: did you mean `timeout`?"]);
    let variable = Site::new(LEAST).with_variable("HTTP_LB_LIMITS__BODDY", "5MiB");
    refused(&variable, &["environment variable HTTP_LB_LIMITS__BODDY: unknown key `limits.boddy`"]);
}

#[test]
fn a_value_of_the_wrong_shape_is_named_with_what_is_expected() {
    let duration = Site::new(&format!("{LEAST}[timeouts]\nresponse = \"60\"\n"));
    refused(&duration, &["http-lb.toml:4: `timeouts.response` = \"60\": expected a duration with its unit"]);
    let policy = Site::new(&format!("{LEAST}policy = \"fastest\"\n"));
    refused(&policy, &["http-lb.toml:3: `clusters[0].policy` = \"fastest\": ", "least_in_flight"]);
    let upstream = Site::new("[[clusters]]\nupstreams = [\"app:8000\", \"app\"]\n");
    refused(&upstream, &["http-lb.toml:2: `clusters[0].upstreams[1]` = \"app\": ", "write host:port"]);
    let host = Site::new(&format!("{LEAST}[https]\nhosts = [\"https://shop\"]\n"));
    refused(&host, &["http-lb.toml:4: `https.hosts[0]`", "without a port"]);
    let glob = Site::new(&format!("{LEAST}[[classes]]\nname = \"a\"\nrules = [{{ paths = [\"/a*\"] }}]\n"));
    refused(&glob, &["a star stands for a whole segment"]);
}

#[test]
fn contradictions_are_named_with_their_remedy() {
    refused(&Site::new(""), &["`clusters`: there is nothing to serve", "--upstream"]);
    let nobody = Site::new(&format!("listeners = []\n{LEAST}"));
    refused(&nobody, &["http-lb.toml:1: `listeners`: there is no address for clients"]);
    let tls = Site::new(&format!("{LEAST}[[listeners]]\ntls = true\n"));
    refused(&tls, &["http-lb.toml:4: `listeners[0].tls`: needs a certificate; write [[tls.certificates]]"]);
    let route = Site::new(&format!("{LEAST}[[routes]]\npath = \"/\"\ncluster = \"web\"\n"));
    refused(&route, &["http-lb.toml:5: `routes[0].cluster`: \"web\" is none of [[clusters]]"]);
    let open = Site::new(&format!("{LEAST}[https]\nredirect = true\n"));
    refused(&open, &["http-lb.toml:4: `https.redirect`: needs https.hosts"]);
}
