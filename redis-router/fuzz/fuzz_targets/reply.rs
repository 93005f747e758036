//! `cargo +nightly fuzz run reply`. Kind: wiring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redis_router::wire::fuzz::fuzz_reply(data));
