//! HAProxy in TCP mode: a plain relay for benches, the usual role check for drills. Kind: driver.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Home, Program, strings, subject};
use crate::Result;
use crate::pg::{Account, Cluster};
use crate::process::free_port;

/// A running HAProxy.
pub struct Haproxy(Program);

subject!(Haproxy);

/// `select pg_is_in_recovery()` as a Query message.
const ROLE_QUERY: &str = "510000001f73656c6563742070675f69735f696e5f7265636f76657279282900";
/// ReadyForQuery, idle.
const READY: &str = "5a0000000549";
/// A DataRow with one column that holds `f`.
const NOT_IN_RECOVERY: &str = "440000000b00010000000166";
/// Terminate.
const GOOD_BYE: &str = "5800000004";

/// Every server counts as up until it has failed two checks, 500 ms apart; before that, writes would go to standbys.
const FIRST_CHECKS: Duration = Duration::from_millis(2000);

impl Haproxy {
    /// One thread that relays to one server.
    pub fn relay(server: SocketAddr) -> Result<Self> {
        Self::start(1, |port| format!("listen pg\n  bind 127.0.0.1:{port}\n  server primary {server}\n"))
    }

    /// Whoever says that he is not in recovery gets the traffic: the configuration that everybody uses. A tcp-check
    /// can't do SCRAM, hence a role that `pg_hba.conf` trusts.
    pub fn following(cluster: &Cluster) -> Result<Self> {
        let servers: String =
            cluster.nodes().iter().map(|n| format!("  server n{} {}\n", n.id(), n.addr())).collect();
        let haproxy =
            Self::start(2, |port| format!("listen pg\n  bind 127.0.0.1:{port}\n{}{servers}", role_check()))?;
        std::thread::sleep(FIRST_CHECKS);
        Ok(haproxy)
    }

    fn start(threads: usize, listen: impl FnOnce(u16) -> String) -> Result<Self> {
        launch(Home::new("haproxy")?, threads, listen).map(Self)
    }
}

/// Starts HAProxy in TCP mode with whatever `listen` makes of the port.
pub(super) fn launch(home: Home, threads: usize, listen: impl FnOnce(u16) -> String) -> Result<Program> {
    let port = free_port();
    let config = home.file("haproxy.cfg", &format!("{}{}", head(threads), listen(port)))?;
    Program::start("haproxy", port, home, strings(["/usr/sbin/haproxy", "-db", "-f", &config]))
}

/// 8000 connections need 16 000 descriptors: there are 20 000 where nobody has raised the limit.
fn head(threads: usize) -> String {
    format!(
        "global
  maxconn 8000
  nbthread {threads}
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 1s
"
    )
}

fn role_check() -> String {
    format!(
        "  option tcp-check
  tcp-check connect
  tcp-check send-binary {}
  tcp-check expect binary {READY}
  tcp-check send-binary {ROLE_QUERY}
  tcp-check expect binary {NOT_IN_RECOVERY}
  tcp-check send-binary {GOOD_BYE}
  default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
",
        startup(Account::HACHECK)
    )
}

/// A StartupMessage of protocol 3.0, in hex.
fn startup(who: Account) -> String {
    let parameters = format!("user\0{}\0database\0{}\0\0", who.user, who.database);
    let length = 8 + parameters.len() as u32;
    let bytes = [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_startup_message_counts_itself() {
        let who = Account { user: "a", password: None, database: "b" };
        assert_eq!(startup(who), "0000001b0003000075736572006100646174616261736500620000");
    }
}
