//! repmgrd, the daemon that promotes a standby when the primary is gone. Kind: driver.

use super::{Node, files};
use crate::{
    Error, Result,
    process::Process,
    wait::{eventually, tail},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The repmgrd of one node.
#[derive(Debug)]
pub struct Repmgrd {
    node: Arc<Node>,
    process: Mutex<Option<Process>>,
}

impl Repmgrd {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, process: Mutex::new(None) }
    }

    /// Starts it, unless it runs, and waits until it watches.
    pub fn start(&self) -> Result<()> {
        if self.running() {
            return Ok(());
        }
        let process = self.spawn()?;
        let pid = process.pid();
        *self.slot() = Some(process);
        self.watching(pid)
    }

    /// Is it alive?
    pub fn running(&self) -> bool {
        self.slot().as_mut().is_some_and(Process::alive)
    }

    /// Stops it.
    pub fn stop(&self) -> Result<()> {
        match self.slot().take() {
            Some(mut process) => process.stop(Duration::from_secs(5)).map(drop),
            None => Ok(()),
        }
    }

    /// Lets it watch but not act (`repmgr service pause`, for this node alone), or act again.
    pub fn pause(&self, pause: bool) -> Result<()> {
        self.node.sql("repmgr", &format!("select repmgr.repmgrd_pause({pause})")).map(drop)
    }

    fn spawn(&self) -> Result<Process> {
        let (site, conf) = (self.node.site(), self.node.repmgr_conf());
        // repmgrd writes its real log itself (`log_file`), as its own user: a file that we made would be closed to it.
        let log = site.path(format!("repmgrd{}.out", self.node.id()));
        let args = ["-f", &conf.to_string_lossy(), "--daemonize=false", "--no-pid-file"].map(String::from);
        Process::spawn(&site.program("repmgrd", self.node.netns()).args(args).log(log))
    }

    /// It leaves its pid in the node's shared memory once it is connected.
    fn watching(&self, pid: u32) -> Result<()> {
        let what = format!("repmgrd {pid} on n{}", self.node.id());
        eventually(Duration::from_secs(20), &what, || {
            let seen =
                self.node.sql("repmgr", "select repmgr.get_repmgrd_pid()").map_err(|e| e.to_string())?;
            if seen == pid.to_string() { Ok(()) } else { Err(format!("pid {seen}")) }
        })
        .map_err(|e| {
            Error::new(format!(
                "{e}\n{}",
                tail(&self.node.site().path(format!("repmgr{}.log", self.node.id())))
            ))
        })
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rejoins a node that is down or deposed under `primary`.
///
/// Without the checkpoint repmgr compares the control files' timelines, which lag behind a promotion, finds nothing to
/// rewind, and the node then hangs as a standby that can't follow.
pub(super) fn rejoin(node: &Node, primary: &Node) -> Result<()> {
    if node.id() == primary.id() {
        return Err(Error::new(format!("n{} is the primary itself", node.id())));
    }
    registered(primary)?;
    primary.sql("repmgr", "checkpoint")?;
    if node.pid().is_some() {
        node.stop_fast()?;
    } else if !node.shut_down_cleanly()? {
        node.recover_alone()?;
    }
    let upstream = files::conninfo(primary.addr().ip(), primary.addr().port());
    node.repmgr(["node", "rejoin", "-d", &upstream, "--force-rewind", "--config-files=conf.node"]).map(drop)
}

/// For up to a second after a promotion the new primary's own `repmgr.nodes` still names the old one.
fn registered(primary: &Node) -> Result<()> {
    let record = format!("select type || active from repmgr.nodes where node_id = {}", primary.id());
    eventually(Duration::from_secs(20), "the new primary's record", || match primary.sql("repmgr", &record) {
        Ok(seen) if seen == "primarytrue" => Ok(()),
        Ok(seen) => Err(seen),
        Err(e) => Err(e.to_string()),
    })
}
