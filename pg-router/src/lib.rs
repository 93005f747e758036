//! PostgreSQL router. Kind: wiring.

pub mod accept;
pub mod auth;
pub mod cancel;
pub mod config;
pub mod connect;
pub mod metrics;
pub mod pools;
pub mod roster;
pub mod router;
pub mod server;
pub mod session;
pub mod statement;
pub mod topology;
pub mod wire;
