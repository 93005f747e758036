//! Who is the master and who may be read from: Sentinels and nodes are watched, a judge concludes. Kind: wiring.
//!
//! ```text
//!   Sentinel ◄─ ear, mouth ──┐ (event, testimony)
//!                            ├─ report ─► watcher ─► judge (evidence) ─► verdict ─► endpoints, publisher
//!   node ◄───── probe ───────┘ (answer, lag)  ▲                             │
//!   traffic ── suspect ───────────────────────┘   status, gauges, chronicle ◄┘
//! ```

mod answer;
mod barrier;
mod chronicle;
mod control;
mod council;
mod discovery;
mod event;
mod evidence;
#[cfg(test)]
pub(crate) mod fake;
mod gauges;
mod handle;
pub mod judge;
mod lag;
pub mod observation;
mod probe;
mod reply;
mod roster;
mod sentinel;
mod settings;
#[cfg(test)]
mod sim;
mod status;
mod testimony;
pub mod verdict;
mod watch;

pub use barrier::{Barrier, Raised};
pub use chronicle::Switch;
pub use control::{Access, Account};
pub use discovery::{AddressMap, AllowList, NoPattern, Pattern};
pub use handle::{Cast, Handle};
pub use settings::{Fence, Pace, Settings};
pub use watch::Watcher;

pub(crate) use answer::read as read_info;
pub(crate) use control::{Control, Fault};
