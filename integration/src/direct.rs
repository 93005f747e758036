//! A witness beside the router. Kind: driver.
use crate::{Result, pg::Cluster};
use std::time::Instant;

/// What a node was seen to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No answer.
    Down,
    /// `pg_is_in_recovery()` is true.
    Standby,
    /// `pg_is_in_recovery()` is false.
    Primary,
}
/// A change.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The node's id.
    pub node: usize,
    /// When it was seen.
    pub at: Instant,
    /// What it was seen to be from then on.
    pub seen: Seen,
}
/// Polls every node each 5 ms over kept-open connections, on a thread of its own.
pub struct Watcher {}
impl Watcher {
    /// Starts watching; returns when every node was seen once.
    pub fn start(_cluster: &Cluster) -> Result<Self> {
        unimplemented!()
    }
    /// Every change so far, oldest first (the first of each node is what it was at the start).
    pub fn changes(&self) -> Vec<Change> {
        unimplemented!()
    }
    /// When the first node other than `than` turned primary after `after`.
    pub fn promoted(&self, _after: Instant, _than: usize) -> Option<Change> {
        unimplemented!()
    }
    /// When `node` was first seen down after `after`.
    pub fn down(&self, _after: Instant, _node: usize) -> Option<Instant> {
        unimplemented!()
    }
}
