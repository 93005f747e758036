//! What stands before HTTP servers: http-lb, or one of the programs that it replaces, each told the same in its own
//! words. Kind: driver.

mod haproxy;
mod nginx;
mod pingora;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    peers::Subject,
    pretix::{self, Pretix},
    router::{self, HttpLbOptions, Router},
};

pub use haproxy::HaproxyHttp;
pub use nginx::Nginx;
pub use pingora::{PingoraProxy, build as build_pingora};

/// NGINX, which the reference deployment has.
pub const NGINX: &str = "nginx";
/// HAProxy in HTTP mode.
pub const HAPROXY: &str = "haproxy";
/// pingora's own proxy, as it comes: an example beside http-lb's source.
pub const PINGORA: &str = "pingora-proxy";

/// What the peers need of Debian.
pub const PACKAGES: &[&str] = &["nginx-light", "haproxy"];

/// Whether this front serves files by itself.
pub fn serves_files(subject: &str) -> bool {
    !matches!(subject, HAPROXY | PINGORA)
}

/// What is asked of whoever stands in front.
#[derive(Debug, Clone)]
pub struct Front {
    /// Threads or processes that carry traffic.
    pub workers: usize,
    /// Where it listens; none: a free port.
    pub port: Option<u16>,
    /// Its folder, kept; none: a temporary one.
    pub dir: Option<PathBuf>,
    /// The application's replicas.
    pub upstreams: Vec<SocketAddr>,
    /// How many requests a replica serves at a time; none: whatever comes is sent.
    pub slots: Option<usize>,
    /// Folders that it serves itself.
    pub files: Vec<Files>,
    /// The folder with `server.crt` and `server.key`, if clients encrypt. They may then speak HTTP/2.
    pub tls: Option<PathBuf>,
    /// What the application is.
    pub application: Application,
}

/// A folder of static files.
#[derive(Debug, Clone)]
pub struct Files {
    /// Paths that begin so, with a slash at both ends.
    pub prefix: &'static str,
    /// Where they are.
    pub root: PathBuf,
}

/// What the application is, as far as a front has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// A server of which nothing is known, and which is not checked: benches measure traffic alone.
    Plain,
    /// Any application with orders that matter more than browsing: what begins with `/checkout` comes first.
    Orders,
    /// Pretix.
    Pretix,
}

impl Front {
    /// Before these servers, one worker, nothing else.
    pub fn before(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            workers: 1,
            port: None,
            dir: None,
            upstreams,
            slots: None,
            files: Vec::new(),
            tls: None,
            application: Application::Plain,
        }
    }

    /// Before a shop: its replicas have a worker for each request, static and uploaded files are served from their
    /// folders.
    pub fn of_shop(shop: &Pretix) -> Result<Self> {
        let statics = Files { prefix: "/static/", root: Pretix::statics()? };
        let media = Files { prefix: "/media/", root: shop.media() };
        Ok(Self {
            slots: Some(pretix::WORKERS),
            files: vec![statics, media],
            application: Application::Pretix,
            ..Self::before(shop.addrs())
        })
    }

    /// Starts whoever has this name; `binary` is that of our own, or of pingora's proxy, which we build.
    pub fn start(&self, name: &str, binary: &Path) -> Result<Box<dyn Subject>> {
        Ok(match name {
            router::HTTP => Box::new(Router::start(self, &self.options(binary))?),
            NGINX => Box::new(Nginx::start(self)?),
            HAPROXY => Box::new(HaproxyHttp::start(self)?),
            PINGORA => Box::new(PingoraProxy::start(self, binary)?),
            _ => return Err(Error::new(format!("nobody called {name} serves HTTP here"))),
        })
    }

    fn options(&self, binary: &Path) -> HttpLbOptions {
        HttpLbOptions {
            workers: self.workers,
            port: self.port,
            dir: self.dir.clone(),
            ..HttpLbOptions::new(binary)
        }
    }
}
