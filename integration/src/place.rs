//! Where files go, whose they are, and how a secret is written. Kind: driver.

use crate::{Context, Error, Result, process::Spec};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

/// The system user who runs the servers: PostgreSQL refuses root, so root hands them to `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user to become; none: as we are.
    pub user: Option<String>,
    ids: Option<(u32, u32)>,
}

impl Owner {
    /// `postgres` for root, ourselves for anyone else.
    pub fn of_servers() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::ourselves());
        }
        let ids = (id("-u", "postgres")?, id("-g", "postgres")?);
        Ok(Self { user: Some("postgres".into()), ids: Some(ids) })
    }

    /// Whoever we are: Redis and Python don't mind.
    pub fn ourselves() -> Self {
        Self { user: None, ids: None }
    }

    /// The name of that user.
    pub fn name(&self) -> Result<String> {
        match &self.user {
            Some(user) => Ok(user.clone()),
            None => Ok(Spec::new("id").args(["-un"]).output(Duration::from_secs(5))?.trim().into()),
        }
    }

    /// Makes `path` theirs.
    pub fn take(&self, path: &Path) -> Result<()> {
        match self.ids {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)).context(path.display()),
            None => Ok(()),
        }
    }

    /// Makes the folder and its parents; the folder itself is theirs, closed to others.
    pub fn make_dir(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path).context(path.display())?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).context(path.display())?;
        self.take(path)
    }

    /// Writes a file that they alone can read.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        secret(path, text)?;
        self.take(path)
    }

    /// Could they work in this folder? It must exist.
    fn can_enter(&self, dir: &Path) -> bool {
        let test = Spec { user: self.user.clone(), ..Spec::new("test").args(["-x", &dir.to_string_lossy()]) };
        test.output(Duration::from_secs(5)).is_ok()
    }
}

fn id(flag: &str, user: &str) -> Result<u32> {
    let text = Spec::new("id").args([flag, user]).output(Duration::from_secs(5))?;
    text.trim().parse().map_err(|_| Error::new(format!("`id {flag} {user}` said {text:?}")))
}

/// Writes a file that only its owner can read; an old one of another mode doesn't lend its mode to it.
pub fn secret(path: &Path, text: &str) -> Result<()> {
    let _ = fs::remove_file(path);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).context(path.display())?;
    file.write_all(text.as_bytes()).context(path.display())
}

/// Cargo's target folder: the one above this program that carries Cargo's mark.
pub fn target() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let marked = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    marked.map(Into::into).ok_or_else(|| Error::new(format!("{} isn't in a target folder", exe.display())))
}

/// `cargo VERB` on this workspace, into the target folder that this program came from.
pub fn cargo(verb: &str) -> Result<Spec> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let target = target()?;
    Ok(Spec::new(cargo).args([verb, "--manifest-path", manifest, "--target-dir", &target.to_string_lossy()]))
}

/// The folder for everything that the stack writes: `target/stack`, or one in `/var/tmp` where the servers' user
/// can't enter that. An explicit `wish` is taken or refused, never replaced.
pub fn data(wish: Option<&Path>, owner: &Owner) -> Result<PathBuf> {
    if let Some(dir) = wish {
        return usable(&std::path::absolute(dir)?, owner);
    }
    let fallback = PathBuf::from(format!("/var/tmp/turnstile-stack-{}", rustix::process::geteuid().as_raw()));
    target()
        .and_then(|target| usable(&target.join("stack"), owner))
        .or_else(|_| usable(&ours(fallback)?, owner))
}

/// A folder below `root` of this process and this moment.
pub fn fresh(root: &Path) -> PathBuf {
    root.join("run").join(format!("{}-{:06x}", std::process::id(), fastrand::u32(..0x100_0000)))
}

/// Anyone may make any folder in `/var/tmp`: one that isn't ours is a trap.
fn ours(dir: PathBuf) -> Result<PathBuf> {
    let us = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(&dir) {
        Ok(meta) if !meta.is_dir() || meta.uid() != us => {
            Err(Error::usage(format!("{} belongs to somebody else; say --data DIR", dir.display())))
        }
        _ => Ok(dir),
    }
}

fn usable(dir: &Path, owner: &Owner) -> Result<PathBuf> {
    // The path goes into configuration files and shell lines of other programs, each with quoting of its own.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !dir.to_string_lossy().chars().all(plain) {
        return Err(Error::usage(format!("--data {}: only letters, digits and /._-+ please", dir.display())));
    }
    fs::create_dir_all(dir).context(dir.display())?;
    if owner.can_enter(dir) {
        return Ok(dir.into());
    }
    Err(Error::usage(format!("--data {}: user {} can't enter it", dir.display(), owner.name()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "old and open").unwrap();
        secret(&path, "new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_folder_with_a_quote_in_its_name_is_refused() {
        let owner = Owner::ourselves();
        assert_eq!(usable(Path::new("/tmp/it's"), &owner).unwrap_err().code(), 2);
    }

    #[test]
    fn this_test_lives_in_a_target_folder() {
        assert!(target().unwrap().join("CACHEDIR.TAG").exists());
    }
}
