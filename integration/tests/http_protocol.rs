//! http-lb keeps to the rules, and has others keep to them. The long forms of these, with floods, slow attacks and TLS, are
//! another command: `cargo stack suite http`. Kind: driver.

use integration::{Result, suite::http};

#[test]
fn what_is_smuggled_is_refused_or_seen_once() -> Result<()> {
    http::check("smuggling").map(drop)
}

#[test]
fn websocket_goes_as_without_a_balancer() -> Result<()> {
    http::check("websocket").map(drop)
}

#[test]
fn http_2_keeps_to_its_clauses() -> Result<()> {
    http::check("frames").map(drop)
}

#[test]
fn hostile_input_has_its_status_and_costs_little() -> Result<()> {
    http::check("hostile").map(drop)
}
