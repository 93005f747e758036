//! Who is the primary, and who may be read from: observations, the judge over them, and the watcher that feeds it.
//!
//! Kind: wiring.

mod evidence;
pub mod judge;
pub mod observation;
mod standby;
pub mod verdict;
