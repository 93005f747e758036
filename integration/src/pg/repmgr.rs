//! repmgr and its daemon. Kind: driver.
use crate::Result;

/// How patient repmgrd is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timings {
    /// `monitor_interval_secs`.
    pub monitor_interval: u32,
    /// `reconnect_attempts`.
    pub reconnect_attempts: u32,
    /// `reconnect_interval`.
    pub reconnect_interval: u32,
}
impl Default for Timings {
    fn default() -> Self {
        Self { monitor_interval: 1, reconnect_attempts: 2, reconnect_interval: 1 }
    }
}
/// The repmgrd of one node.
pub struct Repmgrd {}
impl Repmgrd {
    /// Starts it, if it isn't running.
    pub fn start(&self) -> Result<()> {
        unimplemented!()
    }
    /// Stops it.
    pub fn stop(&self) -> Result<()> {
        unimplemented!()
    }
}
