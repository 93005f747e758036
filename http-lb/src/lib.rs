//! http-lb: what stands between customers and the replicas of a Django shop. Kind: wiring.

pub mod accept;
pub mod access_log;
pub mod balancer;
pub mod body;
pub mod cluster;
pub mod config;
pub mod edge;
pub mod files;
pub mod flags;
pub mod metrics;
pub mod queue;
pub mod server;
pub mod session;
pub mod wire;
