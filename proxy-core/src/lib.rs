//! What Turnstile's three proxies share. The core names no protocol. Kind: wiring.

pub mod admin;
pub mod app;
pub mod backoff;
pub mod config;
pub mod decimal;
pub mod drain;
pub mod error;
pub mod link;
pub mod listener;
pub mod metrics;
pub mod net;
pub mod proxy_protocol;
pub mod relay;
pub mod reload;
pub mod session;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod worker;
