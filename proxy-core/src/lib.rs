//! What Turnstile's three proxies share. The core names no protocol. Kind: wiring.

pub mod backoff;
pub mod drain;
pub mod error;
pub mod link;
pub mod listener;
pub mod metrics;
pub mod net;
pub mod session;
pub mod tasks;
pub mod upstream;
pub mod worker;
