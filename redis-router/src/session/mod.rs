//! One client: what it may do next, and where its commands go. Kind: wiring.

pub mod doomed;
pub mod pinned;
