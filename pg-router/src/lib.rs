//! PostgreSQL router. Kind: wiring.

pub mod session;
pub mod statement;
pub mod topology;
pub mod wire;
