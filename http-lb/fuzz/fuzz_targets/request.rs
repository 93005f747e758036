//! `cargo +nightly fuzz run request`. Kind: wiring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http_lb::wire::fuzz::fuzz_request(data));
