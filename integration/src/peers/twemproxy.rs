//! twemproxy (Debian's `nutcracker`): one server connection for all clients. Kind: driver.

use std::net::SocketAddr;

use super::{Home, Program, strings, subject};
use crate::Result;
use crate::process::free_port;
use crate::redis::Account;

/// A running twemproxy.
pub struct Twemproxy(Program);

subject!(Twemproxy);

impl Twemproxy {
    /// One thread, which is all that it has, before one server. It logs in by itself, and asks clients for the same
    /// password; of Redis' commands it knows those of one key and few others.
    pub fn before(server: SocketAddr) -> Result<Self> {
        let (home, port) = (Home::ours("twemproxy")?, free_port());
        let config = home.file("nutcracker.yml", &config(server, port))?;
        let (pid, log) = (home.path().join("pid"), home.path().join("nutcracker.log"));
        let argv = strings([
            "/usr/sbin/nutcracker",
            "-c",
            &config,
            "-p",
            &pid.to_string_lossy(),
            "-o",
            &log.to_string_lossy(),
            "-a",
            "127.0.0.1",
            "-s",
            &free_port().to_string(),
        ]);
        Program::start("twemproxy", port, home, argv).map(Self)
    }
}

fn config(server: SocketAddr, port: u16) -> String {
    format!(
        "bench:
  listen: 127.0.0.1:{port}
  redis: true
  redis_auth: {}
  hash: fnv1a_64
  distribution: ketama
  preconnect: true
  timeout: 2000
  auto_eject_hosts: false
  servers:
   - {server}:1
",
        Account::DEFAULT.password
    )
}
