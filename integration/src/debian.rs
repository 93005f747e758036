//! The Debian packages that the stack needs: installs what is missing when it may, without starting Debian's own
//! services or making its default cluster, and puts back whatever it touched for that. Kind: driver.

use crate::{Context, Error, Result, process::Spec, progress::say};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What the PostgreSQL part needs.
pub const PG: &[&str] = &["postgresql-15", "postgresql-15-repmgr", "repmgr", "openssh-server"];

/// What the Redis part needs.
pub const REDIS: &[&str] = &["redis-server", "redis-sentinel", "redis-tools"];

/// What the HTTP part needs.
pub const HTTP: &[&str] = &["python3-venv", "curl"];

/// What compiling http-lb needs beside Rust and a linker: pingora brings zlib-ng and zstd as C.
pub const BUILD: &[&str] = &["cmake", "make", "gcc"];

/// A slow mirror is still a mirror.
const APT: Duration = Duration::from_secs(900);

/// Asked by `invoke-rc.d` before a package starts its service; 101 forbids it
/// (<https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const NO_SERVICES: &str = "#!/bin/sh\nexit 101\n";

/// Read by `postgresql-15`'s installation (pg_createcluster(1)).
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";
const NO_CLUSTER: &str = "create_main_cluster = false\n";

/// Installs what is missing of `packages` when root and apt allow it; otherwise the error is the one line to run.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(Error::usage(format!(
            "packages are missing; run this, then try again:\n{}",
            line(&missing)
        )));
    }
    install(&missing)
}

/// Is it unpacked and configured?
pub fn installed(package: &str) -> bool {
    Spec::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Abbrev}", package])
        .output(Duration::from_secs(30))
        .is_ok_and(|status| status.starts_with("ii"))
}

fn line(missing: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", missing.join(" "))
}

fn install(missing: &[&str]) -> Result<()> {
    say(format_args!("installing {}", missing.join(" ")));
    let _services =
        if Path::new(POLICY).exists() { None } else { Some(Borrowed::write(POLICY, NO_SERVICES, 0o755)?) };
    apt(&["update", "-qq"])?;
    let _cluster =
        if missing.iter().any(|p| p.starts_with("postgresql")) { Some(no_cluster()?) } else { None };
    let mut command = vec!["install", "-y", "-qq", "--no-install-recommends"];
    command.extend(missing);
    apt(&command)
}

/// The file belongs to `postgresql-common`, which has to be there first, or its installation would ask about it.
fn no_cluster() -> Result<Borrowed> {
    if !installed("postgresql-common") {
        apt(&["install", "-y", "-qq", "--no-install-recommends", "postgresql-common"])?;
    }
    Borrowed::write(CREATE_CLUSTER, NO_CLUSTER, 0o644)
}

fn apt(args: &[&str]) -> Result<()> {
    Spec::new("apt-get")
        .args(args.iter().copied())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output(APT)
        .map(drop)
}

/// A system file with other content for a while; dropping it puts the old state back.
struct Borrowed {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Borrowed {
    fn write(path: &str, text: &str, mode: u32) -> Result<Self> {
        let borrowed = Self { path: path.into(), before: fs::read(path).ok() };
        fs::write(path, text).context(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).context(path)?;
        Ok(borrowed)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let _ = match &self.before {
            Some(text) => fs::write(&self.path, text),
            None => fs::remove_file(&self.path),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_borrowed_file_gets_its_text_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("conf");
        fs::write(&path, "mine").unwrap();
        let borrowed = Borrowed::write(path.to_str().unwrap(), "theirs", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        drop(borrowed);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_borrowed_place_is_empty_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("conf");
        drop(Borrowed::write(path.to_str().unwrap(), "theirs", 0o755).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn the_line_names_every_missing_package() {
        assert!(line(&["a", "b"]).ends_with(" a b"));
    }
}
