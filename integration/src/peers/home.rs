//! A peer's folder, and the user who may write there. Kind: driver.

use std::path::Path;

use tempfile::TempDir;

use crate::error::{Context, Result};
use crate::place::Owner;

/// A temporary folder that belongs to the user that a peer runs as: PgBouncer and Pgpool-II refuse root, just as
/// PostgreSQL does.
pub(crate) struct Home {
    dir: TempDir,
    owner: Owner,
}

impl Home {
    /// The folder of a peer that refuses root.
    pub(crate) fn new(name: &str) -> Result<Self> {
        Self::of(name, Owner::of_servers()?)
    }

    /// The folder of a peer that runs as we do.
    pub(crate) fn ours(name: &str) -> Result<Self> {
        Self::of(name, Owner::ourselves())
    }

    fn of(name: &str, owner: Owner) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("stack-{name}-"))
            .tempdir()
            .context("a peer's folder")?;
        owner.make_dir(dir.path())?;
        Ok(Self { dir, owner })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.owner.user.clone()
    }

    /// Writes a file that its user alone may read, and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path().join(name);
        self.owner.write(&path, text)?;
        Ok(path.display().to_string())
    }
}
