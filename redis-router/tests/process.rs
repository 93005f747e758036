//! The binary as an operator meets it. Kind: driver.

#[path = "../../proxy-core/tests/shared/life.rs"]
mod life;

/// What the environment must name.
const ENOUGH: [(&str, &str); 2] = [
    ("REDIS_ROUTER_MASTERS", "[{ name = 'shop', sentinels = ['127.0.0.1:1'] }]"),
    ("REDIS_ROUTER_STATE_DIR", env!("CARGO_TARGET_TMPDIR")),
];

/// No master is known.
const READY: &str = "HTTP/1.1 503 ";

#[test]
fn the_help_names_the_flags_that_are_enough() {
    for flag in ["--sentinel", "--master", "--listen", "--forget-epoch"] {
        life::check(&["--help"], 0, flag);
    }
}

#[test]
fn a_sentinel_and_a_name_are_enough() {
    let flags = ["--sentinel", "s1:26379", "--sentinel", "s2:26379", "--master", "shop", "--check"];
    life::check(&flags, 0, "name = \"shop\"");
    life::check(&flags, 0, "\"s2:26379\"");
    life::check(&["--check"], 2, "no master is named");
}
