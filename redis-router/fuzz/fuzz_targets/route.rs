//! `cargo +nightly fuzz run route`. Kind: wiring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redis_router::command::fuzz_route(data));
