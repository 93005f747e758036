//! Real clients through the real router in front of the real cluster: what PostgreSQL promises them, they get.
//! Kind: wiring.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans guard the routers' workers; a test has tasks of its own"
)]

mod cancel;
mod copy;
mod hostile;
mod life;
mod listeners;
mod login;
mod pooling;
mod python;
mod queries;
