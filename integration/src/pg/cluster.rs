//! One primary and its standbys under repmgr. Kind: driver.
use super::{Node, Repmgrd, repmgr::Timings};
use crate::{Result, netns::Net};
use std::path::PathBuf;

/// What to start.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes; the first is the primary.
    pub nodes: usize,
    /// Where its files live; none: a fresh temporary folder, removed at the end.
    pub dir: Option<PathBuf>,
    /// The first port; none: free ones.
    pub base_port: Option<u16>,
    /// The first primary, and it alone, waits for any one standby before it acknowledges.
    pub sync_standby: bool,
    /// repmgrd on every node, this patient; none: no automatic failover.
    pub repmgrd: Option<Timings>,
    /// Every node in a network namespace of its own (root only).
    pub namespaces: bool,
    /// `max_connections`.
    pub max_connections: u32,
}
impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            dir: None,
            base_port: None,
            sync_standby: false,
            repmgrd: Some(Timings::default()),
            namespaces: false,
            max_connections: 400,
        }
    }
}
/// A running cluster; dropping it stops everything.
pub struct Cluster {}
impl Cluster {
    /// Brings it up: from a cached template when there is one (about 4 s), otherwise from nothing (about 12 s).
    pub fn start(_options: &ClusterOptions) -> Result<Self> {
        unimplemented!()
    }
    /// All nodes, by id.
    pub fn nodes(&self) -> &[Node] {
        unimplemented!()
    }
    /// The node with repmgr's id `id` (from 1).
    pub fn node(&self, _id: usize) -> &Node {
        unimplemented!()
    }
    /// The primary with the highest timeline, as the nodes say it now.
    pub fn primary(&self) -> Result<&Node> {
        unimplemented!()
    }
    /// The repmgrd of a node.
    pub fn repmgrd(&self, _id: usize) -> &Repmgrd {
        unimplemented!()
    }
    /// The network, where the nodes have namespaces.
    pub fn net(&self) -> Option<&Net> {
        unimplemented!()
    }
    /// `repmgr standby switchover --siblings-follow` on node `id`; blocks until repmgr is done (about 11 s).
    pub fn switchover_to(&self, _id: usize) -> Result<()> {
        unimplemented!()
    }
    /// `repmgr node rejoin --force-rewind` of a dead or deposed node under the present primary.
    pub fn rejoin(&self, _id: usize) -> Result<()> {
        unimplemented!()
    }
    /// Waits until one primary has every other node streaming from it, and `repmgr.nodes` agrees.
    pub fn settled(&self) -> Result<()> {
        unimplemented!()
    }
    /// Stops everything in order.
    pub fn stop(self) -> Result<()> {
        unimplemented!()
    }
}
