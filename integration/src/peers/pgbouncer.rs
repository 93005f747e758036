//! PgBouncer with a pool in front of one server. Kind: driver.

use std::net::SocketAddr;

use super::{Home, Program, strings, subject};
use crate::Result;
use crate::pg::Account;
use crate::process::free_port;

/// A running PgBouncer.
pub struct Pgbouncer(Program);

subject!(Pgbouncer);

/// How long a client keeps a server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// Until its transaction ends.
    Transaction,
    /// Until it leaves.
    Session,
}

impl PoolMode {
    /// The word for it in PgBouncer's configuration and in our router's.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }
}

impl Pgbouncer {
    /// SCRAM on both sides and a pool of this size to one server.
    pub fn start(server: SocketAddr, mode: PoolMode, pool_size: usize) -> Result<Self> {
        let (home, port) = (Home::new("pgbouncer")?, free_port());
        let Account { user, password, .. } = Account::BENCH;
        let users =
            home.file("userlist.txt", &format!("\"{user}\" \"{}\"\n", password.unwrap_or_default()))?;
        let config = home.file("pgbouncer.ini", &config(server, port, mode, pool_size, &users))?;
        Program::start("pgbouncer", port, home, strings(["/usr/sbin/pgbouncer", "-q", &config])).map(Self)
    }
}

fn config(server: SocketAddr, port: u16, mode: PoolMode, pool_size: usize, users: &str) -> String {
    format!(
        "[databases]
* = host={} port={}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {}
max_client_conn = 4000
default_pool_size = {pool_size}
server_login_retry = 1
server_connect_timeout = 2
ignore_startup_parameters = extra_float_digits,options
log_connections = 0
log_disconnections = 0
",
        server.ip(),
        server.port(),
        mode.word()
    )
}
