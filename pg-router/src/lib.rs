//! PostgreSQL router. Kind: wiring.
