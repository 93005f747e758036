//! redis-router: clients of Redis keep their connections through a failover. Kind: wiring.

pub mod accept;
pub mod answers;
pub mod checks;
pub mod command;
pub mod config;
pub mod downstream;
pub mod flags;
pub mod metrics;
pub mod observe;
pub mod passthrough;
pub mod realm;
pub mod router;
pub mod server;
pub mod session;
pub mod site;
pub mod switchover;
pub mod topology;
pub mod wire;
