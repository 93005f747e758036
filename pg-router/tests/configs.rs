//! Configurations as an operator meets them: what is shipped is valid, and what is wrong is named with its place and
//! its remedy before anything starts. Kind: driver.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_pg-router");
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/pg-router.toml");

/// The least that is valid; a case goes on from line 3.
const LEAST: &str = "[cluster]\nnodes = [\"db1:5432\"]\n";

/// A folder with a configuration; the files that it names are looked for in the same folder.
struct Site {
    dir: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Site {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        Self { dir, environment: Vec::new() }.with_file("pg-router.toml", config)
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).expect("the folder can be written");
        self
    }

    fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn check(&self) -> Output {
        let mut command = Command::new(BINARY);
        command.arg("--check").arg("--config").arg(self.path("pg-router.toml"));
        command.current_dir(&self.dir).env_clear().envs(self.environment.iter().copied());
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

/// What stands in `configs/pg-router.toml`, edited, with its secrets in a folder that a test can write.
fn shipped(edit: impl Fn(&str) -> &str) -> Site {
    let text = fs::read_to_string(SHIPPED).expect("the configuration is shipped");
    let lines: Vec<_> = text.lines().map(edit).collect();
    let site = Site::new(&lines.join("\n").replace("/run/secrets/", "./"));
    site.with_file("repmgr", "watches\n").with_file("pretix", "sells\n")
}

fn as_it_is(line: &str) -> &str {
    line
}

/// A key or a section that is commented out has no space behind its `#`.
fn turned_on(line: &str) -> &str {
    let key = line.strip_prefix('#').filter(|key| !key.is_empty() && !key.starts_with(' '));
    key.unwrap_or(line)
}

#[test]
fn the_shipped_configuration_is_valid() {
    let parts = ["db3:5432", "monitor_password = \"***\"", "0.0.0.0:6433", "name = \"pretix\""];
    accepted(&shipped(as_it_is), &parts);
}

#[test]
fn no_secret_is_printed() {
    let said = accepted(&shipped(as_it_is), &[]);
    assert!(!said.contains("watches") && !said.contains("sells"), "{said}");
}

#[test]
fn what_is_commented_out_in_the_shipped_configuration_is_valid_too() {
    let parts = ["role = \"replica\"", "mode = \"verify-full\"", "max_per_address = 1000", "max_lag"];
    accepted(&shipped(turned_on), &parts);
}

#[test]
fn what_the_shipped_configuration_calls_defaults_are_the_defaults() {
    let (shipped, default) = (accepted(&shipped(as_it_is), &[]), accepted(&Site::new(LEAST), &[]));
    for name in ["[pool]", "[hold]", "[sockets]", "[drain]"] {
        let section = |all: &str| all.split("\n\n").find(|part| part.starts_with(name)).map(str::to_owned);
        assert!(section(&default).is_some(), "no {name} in {default}");
        assert_eq!(section(&shipped), section(&default));
    }
}

#[test]
fn the_environment_wins_over_the_file_and_secrets_come_from_files() {
    let site = Site::new(LEAST)
        .with_file("secret", "watches\n")
        .with_variable("PG_ROUTER_POOL__SIZE", "7")
        .with_variable("PG_ROUTER_CLUSTER__NODES", "db4:5432,[::1]:5433")
        .with_variable("PG_ROUTER_CLUSTER__MONITOR_PASSWORD_FILE", "secret");
    accepted(&site, &["size = 7", "db4:5432", "[::1]:5433", "monitor_password = \"***\""]);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let section = Site::new(&format!("{LEAST}[pool]\nsise = 5\n"));
    refused(&section, &["pg-router.toml:4: unknown key `pool.sise`: did you mean `size`?"]);
    let element = Site::new(&format!("{LEAST}[[listeners]]\nmod = \"session\"\n"));
    refused(&element, &["pg-router.toml:4: unknown key `listeners[0].mod`: did you mean `mode`?"]);
    let variable = Site::new(LEAST).with_variable("PG_ROUTER_POOL__SISE", "5");
    refused(&variable, &["environment variable PG_ROUTER_POOL__SISE: unknown key `pool.sise`"]);
}

#[test]
fn a_value_of_the_wrong_shape_is_named_with_what_is_expected() {
    let duration = Site::new(&format!("{LEAST}probe_interval = \"250\"\n"));
    let remedy = "expected a duration with its unit, such as \"250ms\"";
    refused(&duration, &["pg-router.toml:3: `cluster.probe_interval` = \"250\": ", remedy]);
    let number = Site::new(&format!("{LEAST}[pool]\nsize = \"many\"\n"));
    refused(&number, &["pg-router.toml:4: `pool.size` = \"many\": expected a whole number"]);
    let word = Site::new(&format!("{LEAST}[[listeners]]\nmode = \"statement\"\n"));
    refused(&word, &["pg-router.toml:4: `listeners[0].mode` = \"statement\": ", "transaction"]);
}

#[test]
fn contradictions_are_named_with_their_remedy() {
    refused(&Site::new("[cluster]\n"), &["`cluster.nodes`: no server is named; write [\"db1:5432\""]);
    let nobody = Site::new("listeners = []\n[cluster]\nnodes = [\"db1:5432\"]\n");
    refused(&nobody, &["pg-router.toml:1: `listeners`: there is no address for clients"]);
    let pool = Site::new(&format!("{LEAST}[pool]\nmin = 30\n"));
    refused(&pool, &["pg-router.toml:4: `pool.min`: more than pool.size; write at most that"]);
}

#[test]
fn tls_without_what_it_needs_is_refused() {
    let required = Site::new(&format!("client_tls_required = true\n{LEAST}"));
    refused(&required, &["pg-router.toml:1: `client_tls_required`: needs a certificate; write [client_tls]"]);
    let no_key = Site::new(&format!("{LEAST}[client_tls]\ncertificate = \"a.crt\"\n"));
    refused(&no_key, &["pg-router.toml:3: key `client_tls.key` is missing"]);
    let no_ca = Site::new(&format!("{LEAST}[server_tls]\nmode = \"verify-full\"\n"));
    refused(&no_ca, &["pg-router.toml:3: `server_tls`: ", "need a CA file"]);
}

#[test]
fn a_secret_is_given_once_and_its_file_must_be_there() {
    let both = Site::new(&format!("{LEAST}monitor_password = \"a\"\nmonitor_password_file = \"b\"\n"));
    refused(&both, &["pg-router.toml:4: `cluster.monitor_password_file`: ", "remove one of the two"]);
    let gone = Site::new(&format!("{LEAST}monitor_password_file = \"gone\"\n"));
    refused(&gone, &["pg-router.toml:3: `cluster.monitor_password_file`: can't read \"gone\""]);
}
