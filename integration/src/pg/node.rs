//! One server of the cluster. Kind: driver.
use crate::{Result, pg::Account};
use std::{net::SocketAddr, path::Path};

/// One PostgreSQL server: its folder, its address, and the verbs that hurt it.
pub struct Node {}
impl Node {
    /// repmgr's node id, from 1.
    pub fn id(&self) -> usize {
        unimplemented!()
    }
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        unimplemented!()
    }
    /// A libpq / tokio-postgres connection string (`host=… port=… user=… password=… dbname=…`).
    pub fn conninfo(&self, _who: Account) -> String {
        unimplemented!()
    }
    /// The postmaster's pid, if it is alive.
    pub fn pid(&self) -> Option<u32> {
        unimplemented!()
    }
    /// SIGKILL to the postmaster.
    pub fn kill_9(&self) -> Result<()> {
        unimplemented!()
    }
    /// `pg_ctl start`: comes up as whatever its folder says (after a failover: a second primary).
    pub fn start(&self) -> Result<()> {
        unimplemented!()
    }
    /// `pg_ctl stop -m fast`.
    pub fn stop_fast(&self) -> Result<()> {
        unimplemented!()
    }
    /// SIGSTOP to the postmaster and all its children: a hang.
    pub fn sigstop(&self) -> Result<()> {
        unimplemented!()
    }
    /// SIGCONT to all of them.
    pub fn cont(&self) -> Result<()> {
        unimplemented!()
    }
    /// Runs SQL as superuser `repmgr` in database `bench`... and returns psql's unaligned tuples.
    pub fn sql(&self, _database: &str, _sql: &str) -> Result<String> {
        unimplemented!()
    }
    /// The server's log.
    pub fn log(&self) -> &Path {
        unimplemented!()
    }
    /// The data folder.
    pub fn data(&self) -> &Path {
        unimplemented!()
    }
}
