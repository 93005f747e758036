//! Configurations as an operator meets them: what is shipped is valid, and what is wrong is named with its place and
//! its remedy before anything starts. Kind: driver.

#[path = "../../proxy-core/tests/shared/configuration.rs"]
mod configuration;

use configuration::{Site, accepted, as_it_is, refused, shipped_as_defaults, shipped_in_full, turned_on};

/// The least that is valid; a case goes on from line 3.
const LEAST: &str = "[cluster]\nnodes = [\"db1:5432\"]\n";

/// What is shipped, with its secrets.
fn shipped(edit: impl Fn(&str) -> &str) -> Site {
    Site::shipped(edit).with_file("repmgr", "watches\n").with_file("pretix", "sells\n")
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
    let sections = ["[pool]", "[hold]", "[sockets]", "[drain]"];
    shipped_as_defaults(&shipped(as_it_is), &Site::new(LEAST), &sections);
}

#[test]
fn every_setting_stands_in_the_shipped_configuration() {
    shipped_in_full(&shipped(turned_on));
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
