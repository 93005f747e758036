//! gunicorn with sync workers around one of our small applications. Kind: driver.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::{
    Error, Result, http,
    process::{Process, free_port},
    python,
    wait::{eventually, tail},
};

/// Python starts in a second, on a busy machine in several.
const UP: Duration = Duration::from_secs(40);
const STOP: Duration = Duration::from_secs(40);

/// A running gunicorn.
#[derive(Debug)]
pub struct Gunicorn {
    process: Process,
    addr: SocketAddr,
}

impl Gunicorn {
    /// Starts `integration/clients/APP.py` with this many workers, and waits until it answers.
    pub fn start(app: &str, workers: usize, dir: &Path, env: &[(&str, String)]) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::start_at(addr, app, workers, dir, env)
    }

    /// The same on a port that was somebody else's.
    pub fn start_at(
        addr: SocketAddr,
        app: &str,
        workers: usize,
        dir: &Path,
        env: &[(&str, String)],
    ) -> Result<Self> {
        let log = dir.join(format!("gunicorn-{}.log", addr.port()));
        let hooks = python::folder().join("gunicorn_hooks.py").to_string_lossy().into_owned();
        let spec = python::python()?
            .args(["-m", "gunicorn", &format!("{app}:application"), "--config", &hooks])
            .args(["--bind", &addr.to_string(), "--workers", &workers.to_string()])
            .log(&log);
        let spec = env.iter().fold(spec, |spec, (key, value)| spec.env(key, value.as_str()));
        let mut process = Process::spawn(&spec)?;
        let up = eventually(UP, &format!("gunicorn on {addr}"), || match http::get(addr, "/") {
            Ok(_) => Ok(true),
            Err(_) if !process.alive() => Ok(false),
            Err(e) => Err(e.to_string()),
        })?;
        if up { Ok(Self { process, addr }) } else { Err(Error::new(tail(&log)).context("gunicorn")) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The pid of its arbiter, whose children its workers are.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// As an orchestrator stops it.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop(STOP).map(drop)
    }

    /// SIGKILL to it and all its workers.
    pub fn kill_9(mut self) {
        self.process.kill_9();
    }
}
