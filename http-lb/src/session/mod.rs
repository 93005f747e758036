//! One downstream connection, and each request on it from head to last byte. Kind: driver.

mod attempt;
pub mod client;
pub mod desk;
pub mod exchange;
pub mod house;
pub mod http1;
pub mod http2;
mod lease;
pub mod pace;
mod parting;
mod passage;
mod reply;
mod respond;
pub mod retry;
mod send;
mod speech;
mod story;
#[cfg(test)]
mod toy;
pub mod visit;
pub mod watchdog;

pub use client::{AnswerHead, BodyFault, Client, Gone, Size};
pub use desk::Desk;
pub use house::House;
pub use visit::Visit;
