//! `cargo +nightly fuzz run date`. Kind: wiring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_lb::wire::fuzz::fuzz_date(data));
