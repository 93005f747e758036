//! One running program of Redis, server or Sentinel, and the verbs that start, stop and hurt it. Kind: driver.

use super::{Account, Client};
use crate::{
    Error, Result, place,
    process::{Process, Spec},
    wait::{eventually, tail},
};
use rustix::process::Signal;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Both programs answer within milliseconds, unless the machine is very busy.
const START: Duration = Duration::from_secs(15);
const STOP: Duration = Duration::from_secs(10);

/// What it is and where it lives.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name in errors: `r1`, `s2`.
    pub name: String,
    /// `redis-server` or `redis-sentinel`.
    pub program: &'static str,
    /// Its folder, with its configuration and its log.
    pub dir: PathBuf,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it listens for TLS.
    pub tls: Option<SocketAddr>,
    /// The network namespace that it lives in, if it has one of its own.
    pub netns: Option<String>,
    /// Who may look at it; none: anybody.
    pub who: Option<Account>,
}

/// The program. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Writes its configuration; it does not run yet.
    pub(super) fn lay_out(plan: Plan, configuration: &str) -> Result<Self> {
        std::fs::create_dir_all(&plan.dir)?;
        let server = Self { plan, process: Mutex::new(None) };
        place::secret(&server.configuration(), configuration)?;
        Ok(server)
    }

    /// Starts it as whatever its file says: after a failover an old master comes up as a second one. Returns when it
    /// answers.
    pub fn start(&self) -> Result<()> {
        let Plan { program, netns, .. } = &self.plan;
        let spec = Spec::new(*program).args([self.configuration().to_string_lossy()]).log(self.log());
        *self.process() = Some(Process::spawn(&Spec { netns: netns.clone(), ..spec })?);
        eventually(START, &format!("{} to answer", self.plan.name), || {
            let pong = self.client().and_then(|mut client| client.call(&["PING"]));
            pong.map(drop).map_err(|e| format!("{e}\n{}", tail(&self.log())))
        })
    }

    /// SIGTERM, and SIGKILL if that does not help.
    pub fn stop(&self) -> Result<()> {
        let process = self.process().take();
        process.map_or(Ok(()), |mut process| process.stop(STOP).map(drop))
    }

    /// SIGKILL, as the kernel's OOM killer would. Returns when it is gone.
    pub fn kill_9(&self) -> Result<()> {
        self.process().take().ok_or_else(|| self.not_running())?.kill_9();
        Ok(())
    }

    /// SIGSTOP: connections stay, nobody answers.
    pub fn sigstop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on where it was, and knows nothing.
    pub fn cont(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Its pid, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_mut().and_then(|process| process.alive().then(|| process.pid()))
    }

    /// Its name: `r1`, `s2`.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.plan.addr
    }

    /// Where it listens for TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.plan.tls
    }

    /// Who may look at it; none: anybody.
    pub fn who(&self) -> Option<Account> {
        self.plan.who
    }

    /// The program's log.
    pub fn log(&self) -> PathBuf {
        self.plan.dir.join("log")
    }

    /// A connection to it, logged in.
    pub fn client(&self) -> Result<Client> {
        match self.plan.who {
            Some(who) => Client::login(self.plan.addr, who),
            None => Client::connect(self.plan.addr),
        }
    }

    /// One command on a connection of its own.
    pub fn call(&self, arguments: &[&str]) -> Result<super::Value> {
        self.client()?.call(arguments)
    }

    fn configuration(&self) -> PathBuf {
        self.plan.dir.join("conf")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.process().as_mut().ok_or_else(|| self.not_running())?.signal(signal)
    }

    fn not_running(&self) -> Error {
        Error::new(format!("{} isn't running", self.plan.name))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
