//! `stack up` as a person uses it: nothing outlives it, however it ends, and it starts over what it left. Kind: driver.

use integration::{
    Result, place,
    process::{Process, Spec},
    wait::eventually,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const UP: Duration = Duration::from_secs(120);

#[test]
fn nothing_outlives_it_and_a_dirty_folder_is_no_obstacle() -> Result<()> {
    let data = place::target()?.join("stack-test-up");
    let mut first = up(&data)?;
    let left = postmasters(&data);
    assert_eq!(left.len(), 3);
    first.kill_9();
    all_gone(&left)?;

    let mut second = up(&data)?;
    let left = postmasters(&data);
    assert_eq!(second.stop(Duration::from_secs(60))?, Some(0));
    all_gone(&left)?;
    Ok(fs::remove_dir_all(data)?)
}

/// Starts it and waits for its last word.
fn up(data: &Path) -> Result<Process> {
    fs::create_dir_all(data)?;
    let log = data.join("up.log");
    let _ = fs::remove_file(&log);
    let args = ["up", "--without", "pg-router", "--data", &data.to_string_lossy()].map(String::from);
    let process = Process::spawn(&Spec::new(env!("CARGO_BIN_EXE_stack")).args(args).log(&log))?;
    eventually(UP, "`stack up`", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.contains("Ctrl-C stops everything") && text.contains("n1 is primary") {
            Ok(())
        } else {
            Err(text)
        }
    })?;
    Ok(process)
}

fn postmasters(data: &Path) -> Vec<PathBuf> {
    let pid = |id: usize| {
        let file = fs::read_to_string(data.join(format!("up/n{id}/postmaster.pid"))).ok()?;
        Some(PathBuf::from(format!("/proc/{}/cwd", file.lines().next()?)))
    };
    (1..=3).filter_map(pid).collect()
}

/// A zombie that its parent hasn't reaped yet has no working folder.
fn all_gone(processes: &[PathBuf]) -> Result<()> {
    eventually(Duration::from_secs(20), "the servers' end", || {
        match processes.iter().find(|cwd| fs::read_link(cwd).is_ok()) {
            Some(cwd) => Err(format!("{} is alive", cwd.display())),
            None => Ok(()),
        }
    })
}
