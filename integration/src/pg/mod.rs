//! PostgreSQL with repmgr, for real. Kind: wiring.

pub mod account;
pub mod cluster;
pub mod node;
pub mod repmgr;

pub use account::Account;
pub use cluster::{Cluster, ClusterOptions};
pub use node::Node;
pub use repmgr::Repmgrd;
