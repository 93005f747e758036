//! What Turnstile's three proxies share. The core names no protocol. Kind: wiring.

pub mod admin;
pub mod app;
pub mod config;
pub mod drain;
pub mod error;
pub mod metrics;
pub mod reload;
pub mod tasks;
pub mod telemetry;
