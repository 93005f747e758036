//! PostgreSQL router. Kind: wiring.

pub mod statement;
pub mod topology;
