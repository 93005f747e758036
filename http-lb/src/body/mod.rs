//! Bodies that are read whole before somebody else has to wait for them: in memory, then in an unlinked file, under
//! one budget of the process. Kind: wiring.

mod backlog;
mod budget;
mod measure;
mod spool;

pub use backlog::Backlog;
pub use budget::{Budget, Each, Limits};
pub use measure::{Measure, Portion};
pub use spool::{Full, Spool};
