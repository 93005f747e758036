//! The side that we call: endpoints, clusters, who is primary as of which epoch, and holding. Kind: wiring.
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

pub mod cluster;
pub mod endpoint;
pub mod epoch;
pub mod ewma;
pub mod health;
pub mod hold;
pub mod permits;
pub mod pick;
pub mod pool;
pub mod probe;
pub mod state;
pub mod topology;
pub mod weight;

pub use cluster::Cluster;
pub use endpoint::{Admin, Endpoint, InFlight, Outcome, Rules};
pub use epoch::{Refused, Reign};
pub use ewma::PeakEwma;
pub use health::{Health, Thresholds};
pub use hold::{Held, Hold, HoldLimits, HoldMetrics, TimedOut};
pub use pick::Policy;
pub use pool::Pool;
pub use probe::{Beat, Probe, Prober};
pub use state::State;
pub use topology::{Claim, Publisher, Topology};
