//! Pretix, the ticket shop that all of this is for: from the Python package index, on PostgreSQL and Redis, as a few
//! gunicorn replicas and a Celery worker. What stands before them serves [`Pretix::statics`] too. Kind: driver.

mod dump;
mod files;
mod replica;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Context, Error, Result,
    pg::Node,
    place,
    process::{Process, Spec, free_port},
    progress::say,
    python::Environment,
    wait::{eventually, tail},
};
use files::Site;

pub use dump::Seed;
pub use replica::Replica;

/// Workers per replica, and so what it serves at a time.
pub const WORKERS: usize = 2;

/// The shop's page.
pub const SHOP: &str = "/demo/conf/";

const PRETIX: Environment = Environment {
    folder: "pretix-1",
    purpose: "Pretix and gunicorn (about 600 MB)",
    packages: &["pretix==2026.8.0", "gunicorn>=23,<28"],
};

/// Celery imports all of Pretix, on a busy machine.
const UP: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder: configuration, data, logs.
    pub dir: PathBuf,
    /// PostgreSQL, or who stands before it.
    pub database: SocketAddr,
    /// Redis, or who stands before it.
    pub redis: SocketAddr,
    /// Where browsers find the shop.
    pub public: SocketAddr,
    /// How many replicas.
    pub replicas: usize,
    /// The port of the first one, if the others follow it; none: free ones.
    pub base_port: Option<u16>,
}

/// A running shop. Dropping it stops everything.
#[derive(Debug)]
pub struct Pretix {
    replicas: Vec<Replica>,
    celery: Process,
    dir: PathBuf,
    seed: Seed,
}

impl Pretix {
    /// Installs what is missing and fills the shop's empty database: what takes long takes it before anything runs.
    pub fn prepare(primary: &Node) -> Result<()> {
        PRETIX.ready()?;
        let dump = dump::ensure()?;
        say("restoring Pretix's database");
        dump.restore(primary)
    }

    /// Starts replicas and worker side by side, and waits for all.
    pub fn start(options: &Options) -> Result<Self> {
        let dir = &options.dir;
        fs::create_dir_all(dir.join("data/media")).context(dir.display())?;
        let url = format!("http://{}", options.public);
        let (database, redis) = (options.database, Some(options.redis));
        let site = Site { data: &dir.join("data"), url: &url, database, redis };
        let config = dir.join("pretix.cfg");
        place::secret(&config, &files::config(&site))?;
        say(format_args!(
            "starting Pretix: {} replicas with {WORKERS} workers each, and Celery",
            options.replicas
        ));
        let python = program(&config)?.env("STACK_WITNESS", dir.join("begun").to_string_lossy());
        let celery =
            ["-m", "celery", "-A", "pretix.celery_app", "worker", "--loglevel", "INFO", "--concurrency", "1"];
        let celery = Process::spawn(&python.clone().args(celery).log(dir.join("celery.log")))?;
        let replicas = (0..options.replicas).map(|i| {
            let port = options.base_port.map_or_else(free_port, |base| base + u16::try_from(i).unwrap_or(0));
            Replica::new(python.clone(), dir, (Ipv4Addr::LOCALHOST, port).into(), WORKERS)
        });
        let seed = dump::ensure()?.seed()?;
        let mut pretix = Self { replicas: replicas.collect(), celery, dir: dir.clone(), seed };
        pretix.replicas.iter_mut().try_for_each(Replica::start)?;
        pretix.replicas.iter_mut().try_for_each(Replica::ready)?;
        pretix.working()?;
        Ok(pretix)
    }

    /// Its replicas.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// The replica with this number, from 0.
    pub fn replica(&mut self, number: usize) -> &mut Replica {
        &mut self.replicas[number]
    }

    /// Where the replicas listen.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(Replica::addr).collect()
    }

    /// What is for sale.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Uploaded files, of which parts are public.
    pub fn media(&self) -> PathBuf {
        self.dir.join("data/media")
    }

    /// The marks of the requests that a worker has begun.
    pub fn begun(&self) -> Result<Vec<String>> {
        let file = self.dir.join("begun");
        let text = fs::read_to_string(&file).context(file.display())?;
        Ok(text.lines().map(String::from).collect())
    }

    /// Its static files, which gunicorn does not serve. The wheel ships them built.
    pub fn statics() -> Result<PathBuf> {
        let library = PRETIX.ready()?.join("lib");
        let pythons = fs::read_dir(&library).context(library.display())?.flatten();
        let found = pythons
            .map(|python| python.path().join("site-packages/pretix/static.dist"))
            .find(|folder| folder.is_dir());
        found.ok_or_else(|| Error::new(format!("no static files of Pretix in {}", library.display())))
    }

    /// Stops everything; requests are answered first.
    pub fn stop(mut self) -> Result<()> {
        self.replicas.iter_mut().try_for_each(Replica::stop)?;
        self.celery.stop(STOP).map(drop)
    }

    /// Orders are placed by the worker: without it a checkout never ends.
    fn working(&mut self) -> Result<()> {
        let (log, celery) = (self.dir.join("celery.log"), &mut self.celery);
        eventually(UP, "Pretix's Celery worker", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            match text.contains(" ready.") || !celery.alive() {
                true => Ok(text.contains(" ready.")),
                false => Err(tail(&log)),
            }
        })
        .and_then(|ready| if ready { Ok(()) } else { Err(Error::new(format!("it ended\n{}", tail(&log)))) })
    }
}

/// Pretix's Python with its settings.
fn program(config: &Path) -> Result<Spec> {
    let python = PRETIX.python()?;
    Ok(python
        .env("PRETIX_CONFIG_FILE", config.to_string_lossy())
        .env("DJANGO_SETTINGS_MODULE", "pretix.settings")
        .env("C_FORCE_ROOT", "1"))
}
