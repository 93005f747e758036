//! HAProxy before Redis: a plain relay for benches, the usual role check for drills. Kind: driver.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Home, Program, haproxy, subject};
use crate::error::{Context, Result};
use crate::redis::{Account, Cluster};

/// A running HAProxy.
pub struct HaproxyRedis(Program);

subject!(HaproxyRedis);

/// Every server counts as up until it has failed two checks, 500 ms apart; before that, writes would go to replicas.
const FIRST_CHECKS: Duration = Duration::from_millis(2000);

impl HaproxyRedis {
    /// One thread that relays to one server.
    pub fn relay(server: SocketAddr) -> Result<Self> {
        let listen = |port| format!("listen redis\n  bind 127.0.0.1:{port}\n  server master {server}\n");
        haproxy::launch(Home::ours("haproxy")?, 1, listen).map(Self)
    }

    /// The same for clients that encrypt; `keys` is the folder with `server.crt` and `server.key`.
    pub fn relay_tls(server: SocketAddr, keys: &Path) -> Result<Self> {
        let home = Home::ours("haproxy")?;
        let read = |name: &str| std::fs::read_to_string(keys.join(name)).context(name);
        let pem = home.file("server.pem", &(read("server.crt")? + &read("server.key")?))?;
        let listen =
            |port| format!("listen redis\n  bind 127.0.0.1:{port} ssl crt {pem}\n  server master {server}\n");
        haproxy::launch(home, 1, listen).map(Self)
    }

    /// Whoever says `role:master` gets the traffic, and who stops saying so loses it at once: HAProxy's own recipe, with
    /// a password, and sessions of a server that is down shut down.
    pub fn following(cluster: &Cluster) -> Result<Self> {
        let servers: String =
            cluster.nodes().iter().map(|n| format!("  server {} {}\n", n.name(), n.addr())).collect();
        let listen = |port| format!("listen redis\n  bind 127.0.0.1:{port}\n{}{servers}", role_check());
        let haproxy = haproxy::launch(Home::ours("haproxy")?, 2, listen)?;
        std::thread::sleep(FIRST_CHECKS);
        Ok(Self(haproxy))
    }
}

/// <https://www.haproxy.com/blog/haproxy-advanced-redis-health-check>
fn role_check() -> String {
    format!(
        "  option tcp-check
  tcp-check connect
  tcp-check send AUTH\\ {}\\r\\n
  tcp-check expect string +OK
  tcp-check send PING\\r\\n
  tcp-check expect string +PONG
  tcp-check send info\\ replication\\r\\n
  tcp-check expect string role:master
  tcp-check send QUIT\\r\\n
  tcp-check expect string +OK
  default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
",
        Account::DEFAULT.password
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_line_ends_are_escaped_as_haproxy_reads_them() {
        assert!(role_check().contains("\n  tcp-check send AUTH\\ redispw\\r\\n\n"));
    }
}
