//! PostgreSQL router. Kind: wiring.

pub mod wire;
