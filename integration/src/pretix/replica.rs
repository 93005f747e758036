//! One replica: a gunicorn with sync workers, each of which serves one request at a time and closes its connection
//! after it, as Pretix's own image has them. Kind: driver.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Result, http,
    process::{Process, Spec},
    wait::{eventually, tail},
};

/// Importing Pretix takes seconds of CPU per worker.
const UP: Duration = Duration::from_secs(120);
/// Longer than gunicorn's own patience with its workers.
const STOP: Duration = Duration::from_secs(40);

/// A replica's place, and its program while it runs.
#[derive(Debug)]
pub struct Replica {
    addr: SocketAddr,
    spec: Spec,
    log: PathBuf,
    process: Option<Process>,
}

impl Replica {
    /// Lays it out; `python` is told everything but what to run.
    pub(super) fn new(python: Spec, dir: &Path, addr: SocketAddr, workers: usize) -> Self {
        let log = dir.join(format!("gunicorn-{}.log", addr.port()));
        let hooks = crate::python::folder().join("gunicorn_hooks.py").to_string_lossy().into_owned();
        let spec = python
            .args(["-m", "gunicorn", "pretix.wsgi", "--config", &hooks, "--bind", &addr.to_string()])
            .args([
                "--workers",
                &workers.to_string(),
                "--max-requests",
                "1200",
                "--max-requests-jitter",
                "50",
            ])
            .log(&log);
        Self { addr, spec, log, process: None }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it says.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its pid, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Starts it; see [`Self::ready`].
    pub fn start(&mut self) -> Result<()> {
        self.process = Some(Process::spawn(&self.spec)?);
        Ok(())
    }

    /// Waits until it serves.
    pub fn ready(&mut self) -> Result<()> {
        let Self { addr, log, process, .. } = self;
        let up = eventually(UP, &format!("Pretix on {addr}"), || {
            if !process.as_mut().is_some_and(Process::alive) {
                return Ok(false);
            }
            match http::get(*addr, "/healthcheck/") {
                Ok((200, _)) => Ok(true),
                Ok((status, _)) => Err(status.to_string()),
                Err(e) => Err(e.to_string()),
            }
        });
        match up {
            Ok(true) => Ok(()),
            Ok(false) => Err(crate::Error::new(format!("it ended\n{}", tail(log))).context(*addr)),
            Err(e) => Err(e),
        }
    }

    /// As an orchestrator stops it: SIGTERM, its requests are answered, it ends.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop(STOP).map(drop))
    }

    /// SIGKILL to it and all its workers.
    pub fn kill_9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill_9();
        }
    }
}
