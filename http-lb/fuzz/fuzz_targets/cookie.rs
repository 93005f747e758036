//! `cargo +nightly fuzz run cookie`. Kind: wiring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_lb::wire::fuzz::fuzz_cookie(data));
