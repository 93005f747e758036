//! The binary as an operator meets it. Kind: driver.

#[path = "../../proxy-core/tests/shared/life.rs"]
mod life;

/// What the environment must name.
const ENOUGH: [(&str, &str); 2] =
    [("PG_ROUTER_CLUSTER__NODES", "127.0.0.1:1"), ("PG_ROUTER_STATE_DIR", env!("CARGO_TARGET_TMPDIR"))];

/// No primary is known.
const READY: &str = "HTTP/1.1 503 ";

#[test]
fn the_help_names_the_flags() {
    for flag in ["--state-dir", "--forget-epoch", "--check"] {
        life::check(&["--help"], 0, flag);
    }
}
