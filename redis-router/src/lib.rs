//! redis-router: clients of Redis keep their connections through a failover. Kind: wiring.

pub mod command;
pub mod passthrough;
pub mod session;
pub mod topology;
pub mod wire;
