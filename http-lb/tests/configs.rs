//! Configurations as an operator meets them: what is shipped is valid, and what is wrong is named with its place and
//! its remedy before anything starts. Kind: driver.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_http-lb");
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/http-lb.toml");

/// The least that is valid; a case goes on from line 3.
const LEAST: &str = "[[clusters]]\nupstreams = [\"app:8000\"]\n";

/// A folder with a configuration.
struct Site {
    dir: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Site {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        fs::write(dir.path().join("http-lb.toml"), config).expect("the folder can be written");
        Self { dir, environment: Vec::new() }
    }

    fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    fn check(&self) -> Output {
        let mut command = Command::new(BINARY);
        command.args(["--check", "--config", "http-lb.toml"]).current_dir(&self.dir);
        command.env_clear().envs(self.environment.iter().copied());
        command.output().expect("the binary runs")
    }
}

#[track_caller]
fn accepted(site: &Site, parts: &[&str]) -> String {
    let output = site.check();
    let (said, cried) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{cried}");
    parts.iter().for_each(|part| assert!(said.contains(part), "no {part:?} in {said}"));
    said
}

#[track_caller]
fn refused(site: &Site, parts: &[&str]) {
    let output = site.check();
    let (said, cried) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}{cried}");
    assert_eq!(said, "", "nothing is printed as if it took effect");
    parts.iter().for_each(|part| assert!(cried.contains(part), "no {part:?} in {cried}"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What stands in `configs/http-lb.toml`, edited.
fn shipped(edit: impl Fn(&str) -> &str) -> Site {
    let text = fs::read_to_string(SHIPPED).expect("the configuration is shipped");
    Site::new(&text.lines().map(edit).collect::<Vec<_>>().join("\n"))
}

fn as_it_is(line: &str) -> &str {
    line
}

/// A key or a section that is commented out has no space behind its `#`. Of what a route may lead to only one is.
fn turned_on(line: &str) -> &str {
    let others = ["#redirect = ", "#respond = "];
    let key = line.strip_prefix('#').filter(|key| !key.is_empty() && !key.starts_with(' '));
    key.filter(|_| !others.iter().any(|other| line.starts_with(other))).unwrap_or(line)
}

#[test]
fn the_shipped_configuration_is_valid() {
    let parts = ["pretix-1:8000", "prefix = \"/static/\"", "name = \"payment\"", "\"cachedfiles\""];
    accepted(&shipped(as_it_is), &parts);
}

#[test]
fn what_is_commented_out_in_the_shipped_configuration_is_valid_too() {
    let parts =
        ["certificate = \"/etc/http-lb/shop.crt\"", "cookie = \"replica\"", "name = \"login\"", "hsts"];
    accepted(&shipped(turned_on), &parts);
}

#[test]
fn what_the_shipped_configuration_calls_defaults_are_the_defaults() {
    let (shipped, default) = (accepted(&shipped(as_it_is), &[]), accepted(&Site::new(LEAST), &[]));
    let names = [
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
    for name in names {
        let section = |all: &str| all.split("\n\n").find(|part| part.starts_with(name)).map(str::to_owned);
        assert!(section(&default).is_some(), "no {name} in {default}");
        assert_eq!(section(&shipped), section(&default), "{name}");
    }
}

/// As far as they have a value; what is absent by default is not printed.
#[test]
fn every_setting_stands_in_the_shipped_configuration() {
    let written = fs::read_to_string(SHIPPED).expect("the configuration is shipped");
    let written: Vec<_> = written.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).collect();
    let effective = accepted(&shipped(turned_on), &[]);
    let keys = effective
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key.trim_matches(['{', ' ']));
    let missing: Vec<_> = keys.filter(|key| !written.contains(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
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
