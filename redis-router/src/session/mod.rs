//! One client: what it may do next, and where its commands go. Kind: wiring.

mod aside;
pub mod doomed;
mod driver;
mod gather;
mod own;
pub mod pinned;
pub mod profile;
pub mod registry;
mod terms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
pub mod verbs;
mod wait;

pub use driver::{House, Session, Visitor};
pub use terms::Terms;
