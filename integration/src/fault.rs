//! A TCP relay that makes faults on demand. Kind: driver.
use crate::Result;
use std::{net::SocketAddr, time::Duration};

/// How the relay treats bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Forward as they come.
    None,
    /// Keep connections, forward nothing (a hang, a partition).
    Stall,
    /// Hold every piece back for this long.
    Delay(Duration),
    /// Forward at most this many bytes per second and direction.
    Slow(u32),
    /// Accept and close at once.
    Refuse,
}
/// A relay in front of one server.
pub struct Relay {}
impl Relay {
    /// Listens on a free loopback port and forwards to `upstream`.
    pub fn start(_upstream: SocketAddr) -> Result<Self> {
        unimplemented!()
    }
    /// Where to connect.
    pub fn addr(&self) -> SocketAddr {
        unimplemented!()
    }
    /// From now on, for old and new connections alike.
    pub fn set(&self, _fault: Fault) {}
    /// Ends every open connection in order (FIN).
    pub fn cut(&self) {}
    /// Ends every open connection by RST.
    pub fn reset(&self) {}
}
