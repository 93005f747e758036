//! Who is the primary and who may be read from: observations, a judge, a watcher that feeds it. Kind: wiring.
//!
//! ```text
//!   node ◄─ monitor ─ report ─► watcher ─► judge (evidence, standby) ─► verdict ─► endpoints, publisher
//!            (question)            ▲                                                  │
//!   traffic ── evidence ───────────┘              status, gauges, chronicle ◄─────────┘
//! ```

mod chronicle;
mod conninfo;
mod evidence;
mod gauges;
pub mod judge;
mod monitor;
pub mod observation;
pub mod question;
mod roster;
#[cfg(test)]
mod sim;
mod standby;
mod status;
pub mod verdict;
mod watch;

pub use chronicle::Switch;
pub use monitor::{Account, Dial, Greeted, Pace};
pub use watch::{Evidence, Handle, Settings, Watcher};
