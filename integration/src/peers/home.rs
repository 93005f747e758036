//! A peer's folder, and the user who may write there. Kind: driver.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tempfile::TempDir;

use crate::error::{Context, Error, Result};

/// A temporary folder that belongs to the user that a peer runs as.
pub(super) struct Home(TempDir);

impl Home {
    pub(super) fn new(name: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("stack-{name}-"))
            .tempdir()
            .context("a peer's folder")?;
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        give_away(dir.path())?;
        Ok(Self(dir))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that its user alone may read, and gives its path.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path().join(name);
        std::fs::write(&path, text).context(path.display())?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        give_away(&path)?;
        Ok(path.display().to_string())
    }
}

/// PgBouncer and Pgpool-II refuse to run as root; whoever else starts them runs them as himself.
pub(super) fn server_user() -> Option<String> {
    rustix::process::geteuid().is_root().then(|| "postgres".to_string())
}

fn give_away(path: &Path) -> Result<()> {
    let Some(user) = server_user() else { return Ok(()) };
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let (uid, gid) = passwd
        .lines()
        .find_map(|line| ids_of(line, &user))
        .ok_or_else(|| Error::new(format!("there is no system user {user}")))?;
    chown(path, Some(uid), Some(gid)).context(path.display())
}

/// User and group id in a line of passwd(5), if it is this user's.
fn ids_of(line: &str, user: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
    if name == user { Some((uid.parse().ok()?, gid.parse().ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, user: &str, expected: Option<(u32, u32)>) {
        assert_eq!(ids_of(line, user), expected);
    }

    #[test]
    fn a_passwd_line_gives_the_ids_of_its_user_only() {
        let line = "postgres:x:105:113:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        check(line, "postgres", Some((105, 113)));
        check(line, "post", None);
        check("postgres:x:", "postgres", None);
    }
}
