//! One downstream connection, and each request on it from head to last byte. Kind: driver.

pub mod client;
pub mod http2;
pub mod pace;
pub mod watchdog;

pub use client::{AnswerHead, BodyFault, Client, Gone, Size};
