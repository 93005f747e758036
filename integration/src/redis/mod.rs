//! Redis 7.0 under Sentinel, for real: clusters that start in seconds, and the verbs that hurt them. Kind: wiring.

pub mod account;
pub mod client;
pub mod cluster;
pub mod connection;
pub mod files;
pub mod node;
pub mod resp;
pub mod sentinel;
pub mod server;

pub use account::Account;
pub use client::Client;
pub use cluster::{Cluster, ClusterOptions};
pub use connection::Connection;
pub use node::{Node, Role};
pub use resp::{Resp, Value};
pub use sentinel::{MASTER, Sentinel, View};

/// How redis-router ends its answer to a write of which nobody knows whether it has run.
pub const UNKNOWN_OUTCOME: &str = "it may have run, or not";
