//! The last broom: a shell that waits at the end of a pipe and runs its script when we are done, or dead. The kernel
//! closes the pipe whatever way we die, SIGKILL included, so what a daemonising tool left behind (`pg_ctl` servers,
//! network namespaces) goes by this one way, which every normal end tests as well. Kind: driver.

use crate::{Context, Result};
use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
};

/// Runs its script when dropped, or when this process ends in any way.
#[derive(Debug)]
pub struct Sweeper {
    shell: Child,
}

impl Sweeper {
    /// Keeps `script` ready. It finds `keep` set to `keep` when a panic is under way and the evidence is wanted.
    pub fn arm(script: &str) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", &format!("trap '' INT TERM HUP; keep=; read -r keep\n{script}")])
            .stdin(Stdio::piped())
            .process_group(0) // a Ctrl-C at the terminal is for us, not for the broom
            .spawn()
            .context("start the sweeper")?;
        Ok(Self { shell })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(if thread::panicking() { b"keep\n" } else { b"\n" });
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_run_when_drop_returns() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("swept");
        let sweeper = Sweeper::arm(&format!("touch {}", mark.display())).unwrap();
        assert!(!mark.exists());
        drop(sweeper);
        assert!(mark.exists());
    }
}
