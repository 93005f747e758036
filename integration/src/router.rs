//! Our pg-router in front of a cluster. Kind: driver.
use crate::{
    Result,
    pg::{Account, Cluster},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// How it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For tests.
    Fast,
    /// For measurements.
    Release,
}
/// `cargo build -p pg-router`; the binary's path.
pub fn build(_profile: Profile) -> Result<PathBuf> {
    unimplemented!()
}
/// How it is configured.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Its folder (config, secrets, state, log); none: a fresh temporary one.
    pub dir: Option<PathBuf>,
    /// The port of its listener; none: a free one.
    pub port: Option<u16>,
    /// `workers`.
    pub workers: usize,
    /// `mode` of the listener: `transaction` or `session`.
    pub mode: &'static str,
    /// `pool.size`.
    pub pool_size: usize,
    /// The addresses that it gets as `cluster.nodes`; empty: all of the cluster's (set it to put relays between).
    pub nodes: Vec<String>,
    /// TOML appended to the config as it is.
    pub extra: String,
}
impl RouterOptions {
    /// One worker, transaction mode, pool of 20.
    pub fn new(_binary: &Path) -> Self {
        unimplemented!()
    }
}
/// A running pg-router; dropping it kills it.
pub struct Router {}
impl Router {
    /// Writes its files, starts it and waits for `/readyz`.
    pub fn start(_cluster: &Cluster, _options: &RouterOptions) -> Result<Self> {
        unimplemented!()
    }
    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        unimplemented!()
    }
    /// Its admin endpoint.
    pub fn admin(&self) -> SocketAddr {
        unimplemented!()
    }
    /// Its pid.
    pub fn pid(&self) -> u32 {
        unimplemented!()
    }
    /// A connection string through it.
    pub fn conninfo(&self, _who: Account) -> String {
        unimplemented!()
    }
    /// The value of a metric, summed over its labels; 0 when it isn't there yet.
    pub fn metric(&self, _name: &str) -> Result<f64> {
        unimplemented!()
    }
    /// Its log.
    pub fn log(&self) -> &Path {
        unimplemented!()
    }
    /// SIGTERM and wait; its exit code.
    pub fn stop(self) -> Result<Option<i32>> {
        unimplemented!()
    }
}
