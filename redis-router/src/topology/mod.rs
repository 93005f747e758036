//! Who is the master and who may be read from: Sentinels and nodes are watched, a judge concludes. Kind: wiring.

mod barrier;
mod control;
mod discovery;
mod watch;

pub use barrier::{Barrier, Raised};
pub use control::{Access, Account};
pub use discovery::{AddressMap, AllowList, Pattern};
pub use watch::{Fence, Handle, Pace, Settings, Watcher};
