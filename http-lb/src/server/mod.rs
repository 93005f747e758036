//! Connections to the replicas: dialled, kept idle on their worker, spoken to in HTTP/1.1. Kind: wiring.

mod dial;
pub mod pingora;
mod shelf;
mod talk;

pub use dial::{Dialled, Unreachable, dial};
pub use shelf::{Keeping, Shelves};
pub use talk::{Lost, Talk};
