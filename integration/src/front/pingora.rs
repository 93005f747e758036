//! pingora's `ProxyHttp` as it comes, built from the example beside http-lb's source. Kind: driver.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Front;
use crate::{
    Error, Result, debian,
    measure::ProcessSet,
    peers::{Home, Program, Subject},
    place,
    process::free_port,
    progress::say,
};

/// As long as a router's.
const BUILD: Duration = Duration::from_secs(1500);

/// A running pingora-proxy.
pub struct PingoraProxy(Program);

impl PingoraProxy {
    /// Starts it with one thread before the first upstream.
    pub fn start(front: &Front, binary: &Path) -> Result<Self> {
        let home = Home::ours("pingora-proxy")?;
        let port = front.port.unwrap_or_else(free_port);
        let upstream = front.upstreams.first().ok_or_else(|| Error::new("pingora-proxy serves no files"))?;
        let mut argv = vec![binary.display().to_string(), format!("127.0.0.1:{port}"), upstream.to_string()];
        if let Some(keys) = &front.tls {
            argv.extend(["server.crt", "server.key"].map(|name| keys.join(name).display().to_string()));
        }
        Program::start(super::PINGORA, port, home, argv).map(Self)
    }
}

impl Subject for PingoraProxy {
    fn name(&self) -> &'static str {
        super::PINGORA
    }
    fn addr(&self) -> SocketAddr {
        self.0.addr()
    }
    fn processes(&self) -> ProcessSet {
        self.0.processes()
    }
}

/// Builds it as what ships is built.
pub fn build() -> Result<PathBuf> {
    debian::ensure(debian::BUILD)?;
    say("building pingora's own proxy (release)");
    let example = ["--quiet", "--profile", "release", "-p", "http-lb", "--example", "pingora_proxy"];
    place::cargo("build")?.args(example).output(BUILD)?;
    Ok(place::target()?.join("release/examples/pingora_proxy"))
}
