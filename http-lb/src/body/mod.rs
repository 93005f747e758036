//! Bodies that are read whole before somebody else has to wait for them: in memory, then in an unlinked file, under
//! one budget of the process. Kind: wiring.

mod budget;
mod spool;

pub use budget::{Budget, Limits};
pub use spool::{Full, Spool};
