//! Who gets a slot of which replica, and when. Kind: wiring.
//!
//! A replica has as many slots as it has workers, so that no request ever waits where nobody can see it. One queue
//! stands before all replicas of a cluster: urgent classes first, clients of a class in turn, each client's requests
//! in order.

pub mod class;
mod fleet;
pub mod limits;
mod line;
pub mod metrics;
mod rendezvous;
pub mod scheduler;
pub mod status;
pub mod ticket;
mod waiting;

pub use class::{CLASSES, Class};
pub use fleet::{Balance, Standing};
pub use limits::Limits;
pub use metrics::QueueMetrics;
pub use scheduler::{Member, Scheduler, Slot, Terms};
pub use status::{QueueStatus, ReplicaStatus};
pub use ticket::{Affinity, ClientKey, ReplicaId, Shed, Tag, Ticket, digest};
