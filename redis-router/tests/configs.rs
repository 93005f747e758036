//! Configurations as an operator meets them: what is shipped is valid, and what is wrong is named with its place and
//! its remedy before anything starts. Kind: driver.

#[path = "../../proxy-core/tests/shared/configuration.rs"]
mod configuration;

use configuration::{Site, accepted, as_it_is, refused, shipped_as_defaults, shipped_in_full, turned_on};

/// The least that is valid; a case goes on from line 3.
const LEAST: &str = "[[masters]]\nsentinels = [\"s1:26379\"]\n";

/// What is shipped, with its secrets.
fn shipped(edit: impl Fn(&str) -> &str) -> Site {
    let secrets = ["redis-password", "sentinel-password", "redis-clients"];
    secrets.iter().fold(Site::shipped(edit), |site, name| site.with_file(name, "watches\n"))
}

#[test]
fn the_shipped_configuration_is_valid() {
    let parts = ["sentinel-3:26379", "0.0.0.0:6380", "name = \"mymaster\"", "timeout = \"25s\""];
    accepted(&shipped(as_it_is), &parts);
}

#[test]
fn what_is_commented_out_in_the_shipped_configuration_is_valid_too() {
    let parts = ["mode = \"verify-full\"", "max_per_address = 1000", "max_lag", "password = \"***\""];
    let said = accepted(&shipped(turned_on), &parts);
    assert!(!said.contains("watches"), "a secret is printed: {said}");
}

#[test]
fn what_the_shipped_configuration_calls_defaults_are_the_defaults() {
    let sections = ["[hold]", "[limits]", "[pool]", "[observe]", "[sockets]", "[drain]", "[masters.fence]"];
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
        .with_variable("REDIS_ROUTER_POOL__SIZE", "7")
        .with_variable("REDIS_ROUTER_USERS", "[{ name = 'default', password_file = 'secret' }]");
    accepted(&site, &["size = 7", "s1:26379", "password = \"***\""]);
}

#[test]
fn contradictions_are_named_with_their_remedy() {
    refused(&Site::new(""), &["`masters`: no master is named; write [[masters]]", "--sentinel"]);
    let nobody = Site::new(&format!("listeners = []\n{LEAST}"));
    refused(&nobody, &["redis-router.toml:1: `listeners`: there is no address for clients"]);
    let tls = Site::new(&format!("{LEAST}[[listeners]]\ntls = true\n"));
    refused(&tls, &["`listeners.tls`: needs a certificate; write [client_tls]"]);
    let blind = Site::new(&format!("{LEAST}[[listeners]]\nmode = \"passthrough\"\nread_only = true\n"));
    refused(&blind, &["`listeners.mode`: a passthrough listener does not look at commands"]);
}
