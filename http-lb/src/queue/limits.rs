//! How many may wait, and what is kept for whom. Kind: pure.

use std::time::Duration;

use super::class::CLASSES;

/// How many may wait in a cluster's queue, and what is kept for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many may wait in all. Where there is no room, the least urgent class gives way.
    pub max: usize,
    /// How many of each class may wait.
    pub per_class: [usize; CLASSES],
    /// Slots of the cluster that only the top class may use, so that urgent requests never find all of them held by long
    /// ones. The last slot is never reserved.
    pub reserved: u32,
    /// The share of the grants, in percent, that goes to lower classes while higher ones wait; 0 lets them starve.
    pub low_share_percent: u8,
    /// How long a request waits, unless its route says otherwise.
    pub timeout: Duration,
}

/// The queue that a shop survives an on-sale with: about 15 s of waiting at 60 requests a second.
impl Default for Limits {
    fn default() -> Self {
        Self {
            max: 1000,
            per_class: [usize::MAX; CLASSES],
            reserved: 0,
            low_share_percent: 5,
            timeout: Duration::from_secs(15),
        }
    }
}
