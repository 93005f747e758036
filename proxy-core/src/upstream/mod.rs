//! The side that we call: endpoints with their live state, clusters of equals, who is primary as of which epoch,
//! and the waiting room for the time when nobody is.
//!
//! ```text
//!   probe ──► endpoint ◄── traffic          state file
//!               │  (health, admin, in-flight)    ▲
//!               ▼                                │
//!            cluster ──────► topology ◄── publisher ◄── watcher
//!               │ pick          │ subscribe
//!               ▼               ▼
//!            in-flight        hold
//! ```
//!
//! Health lives in the endpoint and the set of endpoints is one swap: two tables side by side would be a race.
//! Kind: wiring.

pub mod cluster;
pub mod endpoint;
pub mod health;
pub mod hold;
pub mod pick;
pub mod probe;
pub mod state;
pub mod topology;
pub mod weight;

pub use cluster::Cluster;
pub use endpoint::{Admin, Endpoint, InFlight, Outcome, Rules};
pub use health::{Health, Thresholds};
pub use hold::{Held, Hold};
pub use pick::Policy;
pub use topology::{Claim, Publisher, Topology};
