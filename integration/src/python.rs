//! Python: environments that are made once and kept beside the templates, and the clients in one of them: psycopg2,
//! psycopg 3, Django, Celery, requests. Kind: driver.

use crate::{
    Context, Result, debian,
    place::{self, Owner},
    process::Spec,
    progress::say,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

/// What an environment needs of Debian.
const DEBIAN: &[&str] = &["python3-venv"];

/// Packages from the index in a folder of their own, made once and kept.
#[derive(Debug)]
pub struct Environment {
    /// The folder's name; another list of packages gets another one.
    pub folder: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// What is installed into it.
    pub packages: &'static [&'static str],
}

/// Clients of our routers, in Python.
const CLIENTS: Environment = Environment {
    folder: "python-4",
    purpose: "Python clients",
    packages: &[
        "psycopg2-binary>=2.9,<3",
        "psycopg[binary]>=3.2,<4",
        "django>=5.2,<5.3",
        "redis>=7,<8",
        "django-redis>=6,<7",
        "celery>=5.6,<5.7",
        "packaging", // kombu's transport imports it and does not say so
        "requests>=2.32,<3",
        "websockets>=15,<16",
        "wsproto>=1.2,<2",
        "gunicorn>=23,<28",
    ],
};

/// A slow package index is still one.
const PIP: Duration = Duration::from_secs(600);

/// Longer than any script of ours, on a busy machine.
const SCRIPT: Duration = Duration::from_secs(120);

/// Runs `integration/clients/NAME.py` with `args`; its failure is an error that shows what it printed.
pub fn run(name: &str, args: &[&str]) -> Result<String> {
    let script = folder().join(name).with_extension("py").to_string_lossy().into_owned();
    python()?.args([script]).args(args.iter().copied()).output(SCRIPT).context(name)
}

/// The clients' Python; what it imports is looked for beside our scripts, too.
pub fn python() -> Result<Spec> {
    Ok(CLIENTS.python()?.env("PYTHONPATH", folder().to_string_lossy()))
}

/// Where our scripts are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

impl Environment {
    /// Its Python.
    pub fn python(&self) -> Result<Spec> {
        let python = self.ready()?.join("bin/python").to_string_lossy().into_owned();
        Ok(Spec::new(python).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONFAULTHANDLER", "1"))
    }

    /// Its folder; makes it the first time.
    pub fn ready(&self) -> Result<PathBuf> {
        static MAKING: Mutex<()> = Mutex::new(());
        let _alone = MAKING.lock();
        let dir = place::data(None, &Owner::ourselves())?.join(self.folder);
        if !dir.join("complete").exists() {
            say(format_args!("installing {} from the Python package index, once", self.purpose));
            self.make(&dir)?;
        }
        Ok(dir)
    }

    /// A mark is written last: half an environment is made anew. It can't be made elsewhere and moved here, as the
    /// paths in it are absolute.
    fn make(&self, dir: &Path) -> Result<()> {
        debian::ensure(DEBIAN)?;
        let folder = dir.to_string_lossy().into_owned();
        Spec::new("/usr/bin/python3").args(["-m", "venv", "--clear", &folder]).output(PIP)?;
        let python = format!("{folder}/bin/python");
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        Spec::new(python).args(install).args(self.packages.iter().copied()).output(PIP)?;
        fs::write(dir.join("complete"), "").context(dir.display())
    }
}
