//! The configuration files of Redis and of Sentinel. Kind: pure.

use super::{Account, sentinel::MASTER};
use std::{fmt::Write, net::SocketAddr, path::Path, time::Duration};

/// Where a server keeps its key pair, and the authority's certificate.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    /// The port for TLS, beside the plain one.
    pub port: u16,
    /// The folder that holds `server.crt`, `server.key` and `ca.crt`.
    pub folder: &'a Path,
}

/// What Sentinel waits for.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// `down-after-milliseconds`
    pub down_after: Duration,
    /// `failover-timeout`
    pub failover_timeout: Duration,
}

/// Drills are to repeat: the defaults are 30 s and 180 s.
impl Default for Timings {
    fn default() -> Self {
        Self { down_after: Duration::from_secs(1), failover_timeout: Duration::from_secs(5) }
    }
}

/// `redis.conf` of a server. Nothing is saved: after a crash a server returns empty, as a cache does.
pub fn redis(dir: &Path, addr: SocketAddr, master: Option<SocketAddr>, tls: Option<Tls<'_>>) -> String {
    let (default, app) = (Account::DEFAULT.password, Account::APP);
    let mut text = format!(
        "{}save \"\"
appendonly no
requirepass {default}
masterauth {default}
user {} on >{} ~* &* +@all
maxclients 8000
repl-diskless-sync-delay 0
repl-timeout 5
repl-ping-replica-period 1
latency-tracking no
",
        common(dir, addr, tls),
        app.user,
        app.password,
    );
    if let Some(master) = master {
        let _ = writeln!(text, "replicaof {} {}", master.ip(), master.port());
    }
    text
}

/// What a Sentinel watches, and how.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// The first master.
    pub master: SocketAddr,
    /// How many Sentinels must agree that it is down.
    pub quorum: usize,
    /// What they wait for.
    pub timings: Timings,
    /// What clients, and the other Sentinels, prove.
    pub who: Option<Account>,
}

/// `sentinel.conf`. Sentinel writes it anew while it runs.
pub fn sentinel(dir: &Path, addr: SocketAddr, watch: &Watch, tls: Option<Tls<'_>>) -> String {
    let Watch { master, quorum, timings: Timings { down_after, failover_timeout }, who } = watch;
    let password = who.map(|who| format!("requirepass {}\n", who.password)).unwrap_or_default();
    format!(
        "{}sentinel monitor {MASTER} {} {} {quorum}
sentinel auth-pass {MASTER} {}
sentinel down-after-milliseconds {MASTER} {}
sentinel failover-timeout {MASTER} {}
sentinel parallel-syncs {MASTER} 1
{password}",
        common(dir, addr, tls),
        master.ip(),
        master.port(),
        Account::DEFAULT.password,
        down_after.as_millis(),
        failover_timeout.as_millis(),
    )
}

fn common(dir: &Path, addr: SocketAddr, tls: Option<Tls<'_>>) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    let mut text =
        format!("bind {ip}\nport {port}\ndir {}\ndaemonize no\nprotected-mode no\n", dir.display());
    if let Some(Tls { port, folder }) = tls {
        let folder = folder.display();
        let _ = write!(
            text,
            "tls-port {port}
tls-cert-file {folder}/server.crt
tls-key-file {folder}/server.key
tls-ca-cert-file {folder}/ca.crt
tls-auth-clients no
"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn only_replicas_have_a_master_and_only_those_asked_speak_tls() {
        let dir = Path::new("/d");
        let tls = Tls { port: 3, folder: Path::new("/t") };
        let (master, replica) =
            (redis(dir, addr(1), None, None), redis(dir, addr(2), Some(addr(1)), Some(tls)));
        assert!(!master.contains("replicaof") && !master.contains("tls"));
        assert!(replica.contains("\nreplicaof 127.0.0.1 1\n") && replica.contains("\ntls-port 3\n"));
    }

    #[test]
    fn sentinel_gets_its_times_in_milliseconds() {
        let watch = Watch { master: addr(1), quorum: 2, timings: Timings::default(), who: None };
        let text = sentinel(Path::new("/d"), addr(9), &watch, None);
        assert!(
            text.contains("monitor mymaster 127.0.0.1 1 2\n")
                && text.contains("milliseconds mymaster 1000\n")
        );
    }
}
