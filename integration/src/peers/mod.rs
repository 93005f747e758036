//! What can stand between a client and PostgreSQL or Redis: nothing, our router, or a program that it replaces.
//!
//! A bench and a drill see only a [`Subject`]. The peers are Debian's packages with configuration files of our own, run
//! in the foreground as children, in folders of their own. Kind: driver.

mod haproxy;
mod haproxy_redis;
mod home;
mod pgbouncer;
mod pgpool;
mod twemproxy;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{Context, Error, Result};
use crate::http;
use crate::measure::ProcessSet;
use crate::pg::{Account, Cluster};
use crate::process::{Process, Spec};
use crate::router::Router;
use crate::wait::eventually;
pub(crate) use home::Home;

pub use haproxy::Haproxy;
pub use haproxy_redis::HaproxyRedis;
pub use pgbouncer::{Pgbouncer, PoolMode};
pub use pgpool::Pgpool;
pub use twemproxy::Twemproxy;

/// The Debian packages of the peers before PostgreSQL.
pub const PACKAGES: &[&str] = &["haproxy", "pgbouncer", "pgpool2"];
/// The same for those before Redis.
pub const REDIS_PACKAGES: &[&str] = &["haproxy", "nutcracker"];

const UP_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Something that takes clients of PostgreSQL or of Redis. Dropping it stops it.
pub trait Subject {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// Where clients connect.
    fn addr(&self) -> SocketAddr;
    /// Its own processes; none if there is nothing between client and server.
    fn processes(&self) -> ProcessSet;
    /// A counter of its own, by the name that our router gives it; 0 where it has none.
    fn counter(&self, _name: &str) -> f64 {
        0.0
    }
    /// Its admin endpoint, if it is a router of ours.
    fn admin(&self) -> Option<SocketAddr> {
        None
    }
    /// Has it read its configuration anew, where it can.
    fn reload(&mut self) -> Result<()> {
        Err(Error::new(format!("{} is not reloaded", self.name())))
    }
    /// Takes a server behind it out of service for new requests, or puts it back, where it can.
    fn drain(&mut self, _replica: SocketAddr, _out: bool) -> Result<()> {
        Err(Error::new(format!("{} drains nobody", self.name())))
    }
    /// A connection string of PostgreSQL through it, for the benches' and drills' account.
    fn conninfo(&self) -> String {
        Account::BENCH.conninfo(self.addr().ip(), self.addr().port())
    }
}

/// No proxy at all: the client speaks to the primary.
pub struct Direct(SocketAddr);

impl Direct {
    /// To the server at this address.
    pub fn to(primary: SocketAddr) -> Self {
        Self(primary)
    }
}

impl Subject for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }
    fn addr(&self) -> SocketAddr {
        self.0
    }
    fn processes(&self) -> ProcessSet {
        ProcessSet::default()
    }
}

impl Subject for Router {
    fn name(&self) -> &'static str {
        Self::name(self)
    }
    fn addr(&self) -> SocketAddr {
        Self::addr(self)
    }
    fn processes(&self) -> ProcessSet {
        ProcessSet::of([self.pid()])
    }
    fn counter(&self, name: &str) -> f64 {
        self.metric(name).unwrap_or_default()
    }
    fn admin(&self) -> Option<SocketAddr> {
        Some(Self::admin(self))
    }
    fn reload(&mut self) -> Result<()> {
        self.signal(Signal::HUP)
    }
    /// By http-lb's admin endpoint; the other two have nobody to drain.
    fn drain(&mut self, replica: SocketAddr, out: bool) -> Result<()> {
        let state = if out { "drain" } else { "ready" };
        let path = format!("/replica?replica={replica}&state={state}");
        match http::ask(Self::admin(self), "POST", &path, None, STOP_TIMEOUT)? {
            (200, _) => Ok(()),
            (status, body) => Err(Error::new(format!("{path}: {status} {body}"))),
        }
    }
}

/// The postmasters of a cluster and all that they forked.
pub fn server_processes(cluster: &Cluster) -> ProcessSet {
    ProcessSet::of(cluster.nodes().iter().filter_map(|node| node.pid()))
}

/// A peer's running program and its folder.
pub(crate) struct Program {
    name: &'static str,
    addr: SocketAddr,
    process: Process,
    /// Removed when the program has ended: fields are dropped in this order.
    _home: Home,
}

impl Program {
    /// Starts it in its folder and waits until its port answers.
    pub(crate) fn start(name: &'static str, port: u16, home: Home, argv: Vec<String>) -> Result<Self> {
        let log = home.path().join("log");
        let spec = Spec { argv, log: log.clone(), user: home.user(), ..Spec::default() };
        let process = Process::spawn(&spec).context(name)?;
        let mut program = Self { name, addr: SocketAddr::from(([127, 0, 0, 1], port)), process, _home: home };
        program.wait_until_up(&log)?;
        Ok(program)
    }

    fn wait_until_up(&mut self, log: &Path) -> Result<()> {
        let Self { name, addr, process, .. } = self;
        eventually(UP_TIMEOUT, &format!("{name} answers on {addr}"), || {
            let ended = !process.alive();
            std::net::TcpStream::connect(*addr).map(drop).map_err(|e| match ended {
                true => format!("it ended; its log: {}", std::fs::read_to_string(log).unwrap_or_default()),
                false => e.to_string(),
            })
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    pub(crate) fn processes(&self) -> ProcessSet {
        ProcessSet::of([self.process.pid()])
    }
}

impl Drop for Program {
    /// By its own shutdown first: a Pgpool-II that is killed leaves its semaphores behind.
    fn drop(&mut self) {
        if let Err(e) = self.process.stop(STOP_TIMEOUT) {
            crate::progress::say(format_args!("{} did not stop: {e}", self.name));
        }
    }
}

pub(crate) fn strings<const N: usize>(argv: [&str; N]) -> Vec<String> {
    argv.map(String::from).to_vec()
}

/// Implements [`Subject`] for a peer that is nothing but its [`Program`].
macro_rules! subject {
    ($peer:ident) => {
        impl $crate::peers::Subject for $peer {
            fn name(&self) -> &'static str {
                self.0.name
            }
            fn addr(&self) -> std::net::SocketAddr {
                self.0.addr
            }
            fn processes(&self) -> $crate::measure::ProcessSet {
                self.0.processes()
            }
        }
    };
}
use subject;
