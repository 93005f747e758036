//! One server of the cluster: its folder, its address, and the verbs that start, stop and hurt it. Kind: driver.

use super::{Account, files, site::Site};
use crate::{
    Context, Error, Result,
    wait::{eventually, tail},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A postmaster that was sent SIGKILL is gone at once, unless the machine is very busy.
const DEATH: Duration = Duration::from_secs(10);

/// One PostgreSQL server.
#[derive(Debug)]
pub struct Node {
    id: usize,
    site: Arc<Site>,
    addr: SocketAddr,
    netns: Option<String>,
    data: PathBuf,
    log: PathBuf,
}

impl Node {
    pub(super) fn new(id: usize, site: Arc<Site>, addr: SocketAddr, netns: Option<String>) -> Self {
        let (data, log) = (site.data(id), site.path(format!("n{id}.log")));
        Self { id, site, addr, netns, data, log }
    }

    /// repmgr's node id, from 1.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A connection string for libpq and tokio-postgres alike.
    pub fn conninfo(&self, who: Account) -> String {
        who.conninfo(self.addr.ip(), self.addr.port())
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The network namespace that it lives in, if it has one of its own.
    pub fn netns(&self) -> Option<&str> {
        self.netns.as_deref()
    }

    /// The postmaster's pid, if it is alive.
    pub fn pid(&self) -> Option<u32> {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid: u32 = file.lines().next()?.trim().parse().ok()?;
        // A postmaster's working folder is its data folder: an old file's pid may be somebody else's by now. A zombie
        // has no working folder at all.
        let home = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (home == self.data).then_some(pid)
    }

    /// SIGKILL to the postmaster, as the kernel's OOM killer would. Returns when it is gone.
    pub fn kill_9(&self) -> Result<()> {
        self.signal(self.running()?, Signal::KILL)?;
        eventually(DEATH, "the postmaster's death", || {
            self.pid().map_or(Ok(()), |pid| Err(format!("pid {pid}")))
        })
    }

    /// `pg_ctl start`: it comes up as whatever its folder says (after a failover: as a second primary).
    pub fn start(&self) -> Result<()> {
        self.bury()?;
        self.ctl(&["-w", "-t", "60", "-l", &self.log.to_string_lossy(), "start"])
            .map_err(|e| Error::new(format!("{e}\n{}", tail(&self.log))))
    }

    /// A killed postmaster stays a zombie until somebody reaps it, and PostgreSQL takes a zombie for a living server: it
    /// refuses to start beside it. Once nobody works in the folder any more, the lock file of the dead is removed.
    pub(super) fn bury(&self) -> Result<()> {
        let lock = self.data.join("postmaster.pid");
        if !lock.exists() || self.pid().is_some() {
            return Ok(());
        }
        eventually(DEATH, "the death of the postmaster's children", || match inhabitants(&self.data)? {
            0 => Ok(()),
            n => Err(format!("{n} are left")),
        })?;
        match fs::remove_file(&lock) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// `pg_ctl stop -m fast`: sessions are ended, the shutdown checkpoint is written.
    pub fn stop_fast(&self) -> Result<()> {
        self.ctl(&["-w", "-t", "60", "-m", "fast", "stop"])
    }

    /// `pg_ctl stop -m immediate`: no checkpoint, recovery at the next start.
    pub fn stop_immediate(&self) -> Result<()> {
        self.ctl(&["-w", "-t", "60", "-m", "immediate", "stop"])
    }

    /// SIGSTOP to the postmaster and all its children: a machine that hangs, but whose kernel still accepts.
    pub fn sigstop(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// SIGCONT to all of them.
    pub fn cont(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    /// Runs SQL as the superuser `repmgr`, from inside the node's own network, and returns psql's unaligned rows.
    pub fn sql(&self, database: &'static str, sql: &str) -> Result<String> {
        self.sql_as(Account { database, ..Account::REPMGR }, sql)
    }

    /// The same as another account; each `;` ends a statement of one implicit transaction.
    pub fn sql_as(&self, who: Account, sql: &str) -> Result<String> {
        let (host, port) = (self.addr.ip().to_string(), self.addr.port().to_string());
        let args =
            ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", &host, "-p", &port, "-U", who.user, "-d", who.database];
        let out = self.site.run("psql", self.netns(), args.into_iter().chain(["-c", sql]));
        Ok(out.context(format!("n{}", self.id))?.trim_end().into())
    }

    /// Writes what is the node's own and no clone may carry along.
    pub(super) fn configure(&self, max_connections: u32) -> Result<()> {
        let text = files::node(self.id, self.addr.ip(), self.addr.port(), max_connections);
        self.write("conf.node", &text)
    }

    /// Writes a file into the data folder.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        self.site.owner.write(&self.data.join(name), text)
    }

    /// Runs `repmgr` with this node's configuration.
    pub(super) fn repmgr<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let conf = ["-f".into(), self.repmgr_conf().to_string_lossy().into_owned()];
        self.site.run("repmgr", self.netns(), conf.into_iter().chain(args.into_iter().map(Into::into)))
    }

    /// This node's `repmgr.conf`.
    pub(super) fn repmgr_conf(&self) -> PathBuf {
        self.site.path(format!("repmgr{}.conf", self.id))
    }

    /// The cluster's folder.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// Was it shut down in order? What crashed must recover before anything may rewind it.
    pub(super) fn shut_down_cleanly(&self) -> Result<bool> {
        let control = self.site.run("pg_controldata", None, ["-D", &self.data.to_string_lossy()])?;
        Ok(control
            .lines()
            .any(|line| line.starts_with("Database cluster state:") && line.contains("shut down")))
    }

    /// Crash recovery without serving anybody (the single-user mode of postgres(1)).
    pub(super) fn recover_alone(&self) -> Result<()> {
        self.bury()?;
        let args = ["--single", "-F", "-D", &self.data.to_string_lossy(), "template1"].map(String::from);
        self.site.run("postgres", None, args).map(drop)
    }

    fn ctl(&self, args: &[&str]) -> Result<()> {
        let data = self.data.to_string_lossy();
        let args = ["-s", "-D", &data].into_iter().chain(args.iter().copied());
        self.site.run("pg_ctl", self.netns(), args).context(format!("n{}", self.id)).map(drop)
    }

    fn running(&self) -> Result<u32> {
        self.pid().ok_or_else(|| Error::new(format!("n{} isn't running", self.id)))
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        let postmaster = self.running()?;
        self.signal(postmaster, signal)?;
        children(postmaster)?.into_iter().try_for_each(|pid| self.signal(pid, signal))
    }

    fn signal(&self, pid: u32, signal: Signal) -> Result<()> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::new(format!("n{}: no such pid", self.id)))?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(std::io::Error::from(e).into()),
        }
    }
}

/// How many living processes have `folder` as their working folder.
fn inhabitants(folder: &Path) -> std::result::Result<usize, String> {
    let entries = fs::read_dir("/proc").map_err(|e| e.to_string())?;
    let lives_there =
        |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
    Ok(entries.filter_map(std::result::Result::ok).filter(lives_there).count())
}

/// The pids whose parent is `parent`.
fn children(parent: u32) -> Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|pid| parent_of(*pid) == Some(parent)).collect())
}

/// The fourth field of `/proc/PID/stat`, counted from behind the name, which may hold anything (proc(5)).
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_parent() {
        let me = std::process::id();
        let parent = parent_of(me).unwrap();
        assert!(children(parent).unwrap().contains(&me));
    }
}
