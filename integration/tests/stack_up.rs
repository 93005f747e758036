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
    let left = servers(&data);
    assert_eq!(left.len(), 3 + 3 + 2, "PostgreSQL, Redis, Sentinels: {left:?}");
    first.kill_9();
    all_gone(&left)?;

    let mut second = up(&data)?;
    let left = servers(&data);
    assert_eq!(second.stop(Duration::from_secs(60))?, Some(0));
    all_gone(&left)?;
    Ok(fs::remove_dir_all(data)?)
}

/// Starts it and waits for its last word.
fn up(data: &Path) -> Result<Process> {
    fs::create_dir_all(data)?;
    let log = data.join("up.log");
    let _ = fs::remove_file(&log);
    let without = ["pg-router", "redis-router", "pretix"].into_iter().flat_map(|part| ["--without", part]);
    let args = ["up", "--sentinels", "2"].into_iter().chain(without).chain(["--data"]).map(String::from);
    let args = args.chain([data.to_string_lossy().into_owned()]);
    let process = Process::spawn(&Spec::new(env!("CARGO_BIN_EXE_stack")).args(args).log(&log))?;
    eventually(UP, "`stack up`", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let words = ["Ctrl-C stops everything", "n1 is primary", "r1 is master", "r2 is a replica"];
        if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
    })?;
    Ok(process)
}

/// Every process that works in the folder of a server.
fn servers(data: &Path) -> Vec<PathBuf> {
    let postmaster = |id: usize| {
        let file = fs::read_to_string(data.join(format!("up/n{id}/postmaster.pid"))).ok()?;
        Some(PathBuf::from(format!("/proc/{}/cwd", file.lines().next()?)))
    };
    let redis = data.join("up-redis");
    let processes =
        fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().join("cwd"));
    let of_redis = processes.filter(|cwd| fs::read_link(cwd).is_ok_and(|home| home.starts_with(&redis)));
    (1..=3).filter_map(postmaster).chain(of_redis).collect()
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
