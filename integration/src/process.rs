//! Child processes that never outlive us. Kind: driver.
use crate::Result;
use std::{path::PathBuf, time::Duration};

/// What to run, as whom, where.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// Both output streams are appended to this file.
    pub log: PathBuf,
    /// The system user to become (root only).
    pub user: Option<String>,
    /// The network namespace to enter (root only).
    pub netns: Option<String>,
}
/// A running child in a process group of its own; dropping it kills the group.
pub struct Process {}
impl Process {
    /// Starts it.
    pub fn spawn(_spec: &Spec) -> Result<Self> {
        unimplemented!()
    }
    /// Its pid (also the id of its group).
    pub fn pid(&self) -> u32 {
        unimplemented!()
    }
    /// Has it not ended yet?
    pub fn alive(&mut self) -> bool {
        unimplemented!()
    }
    /// SIGTERM, then SIGKILL to the group after `timeout`; the exit code, if it had one.
    pub fn stop(&mut self, _timeout: Duration) -> Result<Option<i32>> {
        unimplemented!()
    }
    /// SIGKILL.
    pub fn kill_9(&mut self) {}
}
/// A loopback TCP port that was free a moment ago and that this process won't hand out twice.
pub fn free_port() -> u16 {
    unimplemented!()
}
