//! PostgreSQL router. Kind: wiring.

pub mod auth;
pub mod server;
pub mod wire;
