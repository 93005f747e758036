//! What the parts of the suite stand on: an application on gunicorn that tells what it understood, http-lb in front of it,
//! plain and encrypted, with a folder of files, and NGINX in the same place. Kind: driver.

use std::cell::Cell;
use std::fmt::Write;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::error::{Context, Error, Result};
use crate::front::{Front, Nginx};
use crate::gunicorn::Gunicorn;
use crate::place::{self, Owner};
use crate::process::free_port;
use crate::python;
use crate::router::{HttpLbOptions, Router};

/// A request as the application saw it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) length: u64,
    pub(super) fields: std::collections::BTreeMap<String, String>,
}

/// A running `clients/http_witness.py`.
pub(super) struct Application {
    gunicorn: Gunicorn,
    dir: PathBuf,
    /// How much of what it saw was told.
    told: Cell<u64>,
}

/// What http-lb adds must not take a request over gunicorn's own limits: http-lb's are looked at here.
const LIMITS: &str =
    "--limit-request-line 0 --limit-request-fields 200 --limit-request-field_size 0 --timeout 120";

impl Application {
    /// On so many synchronous workers, with its files in `dir`.
    pub(super) fn start(dir: &Path, workers: usize) -> Result<Self> {
        let seen = dir.join("seen").to_string_lossy().into_owned();
        let env = [("ECHO_SEEN", seen), ("GUNICORN_CMD_ARGS", LIMITS.into())];
        let gunicorn = Gunicorn::start("http_witness", workers, dir, &env)?;
        let application = Self { gunicorn, dir: dir.into(), told: Cell::new(0) };
        application.seen()?;
        Ok(application)
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.gunicorn.addr()
    }

    pub(super) fn pid(&self) -> u32 {
        self.gunicorn.pid()
    }

    /// What it has seen since it was asked last.
    pub(super) fn seen(&self) -> Result<Vec<Seen>> {
        let seen = self.dir.join("seen");
        let mut file = fs::File::open(&seen).context(seen.display())?;
        file.seek(SeekFrom::Start(self.told.get()))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.told.set(self.told.get() + whole as u64);
        let lines = text[..whole].lines();
        lines.map(|line| serde_json::from_str(line).map_err(|e| Error::new(format!("{e}: {line}")))).collect()
    }

    /// How often gunicorn itself could not make sense of what it was sent.
    pub(super) fn misunderstood(&self) -> usize {
        let log = self.dir.join(format!("gunicorn-{}.log", self.addr().port()));
        fs::read_to_string(log).unwrap_or_default().matches("Invalid request").count()
    }
}

/// What differs between the parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// gunicorn's workers, and http-lb's slots.
    pub(super) workers: usize,
    /// TOML behind all of http-lb's configuration.
    pub(super) extra: String,
}

/// See the module. The field order is the order in which they go.
pub(super) struct Stage {
    pub(super) router: Router,
    pub(super) application: Application,
    pub(super) tls: SocketAddr,
    front: Front,
    dir: TempDir,
}

/// Files that may be had, and some that may not, with what is in them.
pub(super) const PAGE: &str = "a page that may be read";
pub(super) const SECRET: &str = "what nobody may read";

impl Stage {
    /// Starts all but NGINX.
    pub(super) fn start(binary: &Path, wishes: &Wishes) -> Result<Self> {
        let root = place::data(None, &Owner::ourselves())?;
        let dir = tempfile::Builder::new().prefix("http-").tempdir_in(&root).context(root.display())?;
        Authority::create()?.serve(dir.path())?;
        lay_out(dir.path())?;
        let workers = wishes.workers.max(1);
        let application = Application::start(dir.path(), workers)?;
        let front = Front { slots: Some(workers), ..Front::before(vec![application.addr()]) };
        let tls = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let options = HttpLbOptions {
            dir: Some(dir.path().join("http-lb")),
            extra: extra(dir.path(), tls) + &wishes.extra,
            ..HttpLbOptions::new(binary)
        };
        let router = Router::start(&front, &options)?;
        Ok(Self { router, application, tls, front, dir })
    }

    /// NGINX before the same application.
    pub(super) fn nginx(&self) -> Result<Nginx> {
        Nginx::start(&self.front)
    }

    /// Where `ca.crt` and the like are.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A figure of http-lb's `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
    pub(super) fn memory(&self, figure: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.router.pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Error::new(format!("no {figure} in {text}")))
    }

    /// Connections of clients: the `active` ones, or the `total` since the start.
    pub(super) fn connections(&self, which: &str) -> Result<f64> {
        self.router.metric(&format!("http_lb_sessions_{which}"))
    }

    /// Forgets how much memory http-lb once had, so that its peak is of what follows (proc(5), `clear_refs`).
    pub(super) fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.router.pid());
        fs::write(&path, "5").context(path)
    }
}

/// The encrypted listener and the folders.
fn extra(dir: &Path, tls: SocketAddr) -> String {
    let dir = dir.display();
    let mut text = String::new();
    let _ = write!(
        text,
        r#"[[listeners]]
listen = "{tls}"
tls = true
[[tls.certificates]]
certificate = "{dir}/server.crt"
key = "{dir}/server.key"
[[files]]
prefix = "/static/"
root = "{dir}/static"
[[files]]
prefix = "/media/"
root = "{dir}/media"
kind = "media"
deny = ["cachedfiles", "invoices"]
"#
    );
    text
}

fn lay_out(dir: &Path) -> Result<()> {
    let write = |path: &str, text: &str| -> Result<()> {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir)).context(path.display())?;
        fs::write(&path, text).context(path.display())
    };
    write("secret.txt", SECRET)?;
    for page in ["static/page.txt", "static/sub/page.txt", "media/page.txt", "media/pub/page.txt"] {
        write(page, PAGE)?;
    }
    for secret in ["static/.hidden", "static/.git/config", "media/cachedfiles/a.txt", "media/invoices/a.txt"]
    {
        write(secret, SECRET)?;
    }
    write("static/large.bin", &"x".repeat(8 << 20))?;
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, dir.join(at)).context(at);
    link("../secret.txt", "static/link.txt")?;
    link("../secret.txt", "media/link.txt")?;
    link("/etc", "media/etc")
}

/// Where a script of ours is.
pub(super) fn script(name: &str) -> String {
    python::folder().join(name).with_extension("py").to_string_lossy().into_owned()
}
