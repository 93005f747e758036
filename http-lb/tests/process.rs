//! The binary as an operator meets it. Kind: driver.

#[path = "../../proxy-core/tests/shared/life.rs"]
mod life;

/// What the environment must name.
const ENOUGH: [(&str, &str); 1] = [("HTTP_LB_CLUSTERS", "[{ upstreams = ['127.0.0.1:1'] }]")];

/// With replicas that nobody has found down.
const READY: &str = "HTTP/1.1 200 ";

#[test]
fn the_help_names_the_flags_that_are_enough() {
    for flag in ["--upstream", "--slots", "--static", "--listen", "--profile"] {
        life::check(&["--help"], 0, flag);
    }
}
