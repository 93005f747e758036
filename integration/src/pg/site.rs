//! Where a cluster lives and how its programs are run: as the servers' user, with their secrets, in a node's network.
//! Kind: driver.

use crate::{Context, Result, place::Owner, process::Spec};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Debian's place for the programs of PostgreSQL 15.
pub const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Longer than any single step of a healthy cluster, repmgr's switchover (11 s) included.
const PATIENCE: Duration = Duration::from_secs(90);

/// The folder of one cluster and who owns it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Holds `n1`, `n2`, … and everything beside them.
    pub dir: PathBuf,
    /// Who runs the servers.
    pub owner: Owner,
}

impl Site {
    /// Makes the folder.
    pub fn create(dir: &Path, owner: &Owner) -> Result<Self> {
        owner.make_dir(dir)?;
        Ok(Self { dir: dir.into(), owner: owner.clone() })
    }

    /// The folder as text.
    pub fn folder(&self) -> String {
        self.dir.to_string_lossy().into_owned()
    }

    /// The path of `name` in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// The same as text.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The data folder of a node.
    pub fn data(&self, id: usize) -> PathBuf {
        self.path(format!("n{id}"))
    }

    /// Writes a file that the servers' user alone can read.
    pub fn write(&self, path: impl AsRef<Path>, text: &str) -> Result<()> {
        self.owner.write(&self.path(path), text)
    }

    /// How `program` of PostgreSQL or repmgr is run here, inside `netns` if there is one.
    pub fn program(&self, program: &str, netns: Option<&str>) -> Spec {
        let spec = Spec::new(program)
            .env("PATH", format!("{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
            .env("HOME", self.folder())
            .env("PGPASSFILE", self.text("pgpass"))
            .env("PGCONNECT_TIMEOUT", "3")
            .env("LC_ALL", "C.UTF-8");
        Spec { user: self.owner.user.clone(), netns: netns.map(Into::into), ..spec }
    }

    /// Runs a program to its end.
    pub fn run<S: Into<String>>(
        &self,
        program: &str,
        netns: Option<&str>,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        self.program(program, netns).args(args).output(PATIENCE).context(program)
    }
}
