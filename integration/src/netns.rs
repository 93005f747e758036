//! A network of namespaces: each node has an address of its own, and any two can be cut apart. Kind: driver.
use crate::Result;
use std::net::Ipv4Addr;

/// A place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where this process, the router and the clients are.
    Host,
    /// The node with this id (from 1).
    Node(usize),
}
/// One bridge, one veth pair per place.
pub struct Net {}
impl Net {
    /// Makes it (root only).
    pub fn create(_nodes: usize) -> Result<Self> {
        unimplemented!()
    }
    /// The address of a place.
    pub fn addr(&self, _place: Place) -> Ipv4Addr {
        unimplemented!()
    }
    /// The namespace's name, for `ip netns exec`.
    pub fn namespace(&self, _node: usize) -> String {
        unimplemented!()
    }
    /// Nothing passes between the two any more, either way, silently.
    pub fn cut(&self, _a: Place, _b: Place) -> Result<()> {
        unimplemented!()
    }
    /// Undoes `cut`.
    pub fn heal(&self, _a: Place, _b: Place) -> Result<()> {
        unimplemented!()
    }
}
