//! Who is the primary, and who may be read from: observations, the judge over them, and the watcher that feeds it.
//!
//! Kind: wiring.

mod conninfo;
mod evidence;
pub mod judge;
pub mod observation;
pub mod question;
#[cfg(test)]
mod sim;
mod standby;
pub mod verdict;
