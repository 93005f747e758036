//! The real stack on one machine, as a library: processes, servers, routers, faults and what watches them.
//! Everything here blocks the calling thread unless it says `async`: call it from `main`, from a plain `#[test]`,
//! or through `spawn_blocking`. Kind: wiring.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans guard the routers' workers; a test bed has threads to block and tasks of its own"
)]

pub mod bed;
pub mod bench;
pub mod browser;
pub mod certificates;
pub mod commands;
pub mod companions;
pub mod crowd;
pub mod debian;
pub mod direct;
pub mod drill;
pub mod error;
pub mod fault;
pub mod front;
pub mod gunicorn;
pub mod http;
pub mod load;
pub mod measure;
pub mod netns;
pub mod open_loop;
pub mod peers;
pub mod pg;
pub mod place;
pub mod pretix;
pub mod process;
pub mod progress;
pub mod python;
pub mod redis;
pub mod report;
pub mod router;
pub mod shop;
pub mod suite;
pub mod sweeper;
pub mod test;
pub mod up;
pub mod upstream;
pub mod wait;

pub use error::{Context, Error, Result};
