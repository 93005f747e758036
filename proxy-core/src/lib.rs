//! What Turnstile's three proxies share. The core names no protocol. Kind: wiring.

pub mod backoff;
pub mod net;
pub mod upstream;
