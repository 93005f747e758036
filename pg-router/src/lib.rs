//! PostgreSQL router. Kind: wiring.

pub mod auth;
pub mod server;
pub mod statement;
pub mod topology;
pub mod wire;
