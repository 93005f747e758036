//! `cargo +nightly fuzz run inline`. Kind: wiring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redis_router::wire::fuzz::fuzz_inline(data));
