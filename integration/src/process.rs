//! Child processes that never outlive us: each gets a process group of its own, the group is killed on drop (also
//! while a panic unwinds), and the kernel kills the child if we are killed ourselves. Kind: driver.
//!
//! `setpriv` (util-linux, on every Debian) becomes the user and arms the parent-death signal, which needs no unsafe
//! code here and no process in between. That signal follows the *thread* that forked, so one thread that never ends
//! forks for all: a test's own thread would take the servers that it shares with other tests along.

use crate::{Context, Error, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{Read, Seek},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long a process without an end has for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What to run, as whom, where.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// Both output streams are appended to this file; empty: thrown away.
    pub log: PathBuf,
    /// The system user to become (root only).
    pub user: Option<String>,
    /// The network namespace to enter (root only).
    pub netns: Option<String>,
}

impl Spec {
    /// Runs `program`.
    pub fn new(program: impl Into<String>) -> Self {
        Self { argv: vec![program.into()], ..Self::default() }
    }

    /// With these arguments behind those that it has.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// With this variable.
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// With its output appended to `path`.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = path.into();
        self
    }

    /// Runs it to its end and returns what it printed; a failure or a timeout is an error that shows the output. Who
    /// has no end in time gets a SIGABRT first, for last words: Python's are where each thread stands
    /// (`PYTHONFAULTHANDLER`).
    pub fn output(&self, timeout: Duration) -> Result<String> {
        // A file, not a pipe: a server started by the command may hold its output open for ever.
        let mut capture = tempfile::tempfile()?;
        let mut process = Process { child: self.fork(&capture)? };
        let status = process.wait(timeout)?;
        if status.is_none() {
            process.signal(Signal::ABORT)?;
            process.wait(LAST_WORDS)?;
        }
        let mut text = String::new();
        capture.rewind()?;
        capture.read_to_string(&mut text)?;
        match status {
            Some(status) if status.success() => Ok(text),
            Some(status) => Err(self.failed(&status.to_string(), &text)),
            None => Err(self.failed(&format!("no end after {} s", timeout.as_secs()), &text)),
        }
    }

    fn failed(&self, how: &str, output: &str) -> Error {
        Error::new(format!("`{}`: {how}\n{}", self.argv.join(" "), output.trim_end()))
    }

    fn fork(&self, output: &File) -> Result<Child> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        fork(command).context(format!("start `{}`", self.argv.join(" ")))
    }

    fn command(&self) -> Command {
        let argv = self.wrapped();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).process_group(0).env_remove("PGPASSWORD");
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    fn wrapped(&self) -> Vec<String> {
        let mut argv: Vec<String> = Vec::new();
        if let Some(netns) = &self.netns {
            argv.extend(["ip", "netns", "exec", netns].map(Into::into));
        }
        argv.push("setpriv".into());
        if let Some(user) = &self.user {
            argv.extend(["--reuid", user, "--regid", user, "--init-groups"].map(Into::into));
        }
        argv.extend(["--pdeathsig", "KILL"].map(Into::into));
        argv.extend(self.argv.iter().cloned());
        argv
    }
}

/// A running child in a process group of its own; dropping it kills the group.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it.
    pub fn spawn(spec: &Spec) -> Result<Self> {
        let output = if spec.log.as_os_str().is_empty() { Path::new("/dev/null") } else { &spec.log };
        let output = OpenOptions::new().create(true).append(true).open(output).context(output.display())?;
        Ok(Self { child: spec.fork(&output)? })
    }

    /// Starts it with its standard output on a pipe to us and its errors on our own.
    pub fn piped(spec: &Spec) -> Result<(Self, ChildStdout)> {
        let mut command = spec.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = fork(command).context(format!("start `{}`", spec.argv.join(" ")))?;
        let output = child.stdout.take().expect("it was piped a moment ago");
        Ok((Self { child }, output))
    }

    /// Its pid, also the id of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it not ended yet?
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, then SIGKILL to the group after `timeout`; the exit code, if it had one.
    pub fn stop(&mut self, timeout: Duration) -> Result<Option<i32>> {
        self.signal(Signal::TERM)?;
        let status = self.wait(timeout)?;
        self.kill_9();
        Ok(status.and_then(|s| s.code()))
    }

    /// Sends `signal` to the process alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.alive() {
            kill_process(self.id(), signal).map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    /// Waits for its end; none when it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() >= deadline => return Ok(None),
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// SIGKILL to the group, and reaps the child.
    pub fn kill_9(&mut self) {
        // An unreaped child keeps its pid, and a group with members its id. An empty group's is free for others, but
        // the kernel hands out millions before it comes round: ESRCH it is.
        let _ = kill_process_group(self.id(), Signal::KILL);
        let _ = self.child.wait();
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_9();
    }
}

type Job = (Command, mpsc::SyncSender<std::io::Result<Child>>);

/// Forks on the thread that never ends.
fn fork(command: Command) -> std::io::Result<Child> {
    static FORKER: OnceLock<mpsc::SyncSender<Job>> = OnceLock::new();
    let (reply, child) = mpsc::sync_channel(1);
    let forker = FORKER.get_or_init(|| {
        let (jobs, queue) = mpsc::sync_channel::<Job>(16);
        thread::Builder::new()
            .name("forker".into())
            .spawn(move || queue.iter().for_each(|(mut command, reply)| drop(reply.send(command.spawn()))))
            .expect("a process that can't start a thread can't test anything");
        jobs
    });
    forker.send((command, reply)).expect("the forker's queue lives as long as the static sender");
    child.recv().expect("the forker answers every job")
}

/// A loopback TCP port that was free a moment ago and that this process won't hand out twice. It lies below the
/// kernel's ephemeral range (32768), so that no outgoing connection takes it before its server binds it.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = fastrand::u16(15_000..32_000);
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Spec {
        Spec::new("sh").args(["-c", script])
    }

    fn gone(pid: u32) -> bool {
        crate::wait::eventually(SOON, "its end", || {
            match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => Err(stat),
                _ => Ok(()),
            }
        })
        .is_ok()
    }

    #[test]
    fn output_is_what_it_printed() {
        assert_eq!(sh("echo out; echo err >&2").output(SOON).unwrap(), "out\nerr\n");
    }

    #[test]
    fn a_failure_shows_the_output() {
        let e = sh("echo because; exit 3").output(SOON).unwrap_err().to_string();
        assert!(e.contains("because") && e.contains("3"), "{e}");
    }

    #[test]
    fn a_command_without_end_is_killed() {
        let e = sh("sleep 1000").output(Duration::from_millis(50)).unwrap_err().to_string();
        assert!(e.contains("no end after"), "{e}");
    }

    #[test]
    fn a_command_without_end_has_its_last_words() {
        let script = "trap 'echo stuck here; exit' ABRT; while :; do sleep 0.01; done";
        let e = sh(script).output(Duration::from_secs(1)).unwrap_err().to_string();
        assert!(e.contains("no end after") && e.contains("stuck here"), "{e}");
    }

    #[test]
    fn stop_gives_the_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut p =
            Process::spawn(&sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done").log(&log))
                .unwrap();
        crate::wait::eventually(SOON, "its trap", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.contains("ready") { Ok(()) } else { Err(text) }
        })
        .unwrap();
        assert_eq!(p.stop(SOON).unwrap(), Some(7));
    }

    #[test]
    fn a_dropped_process_takes_its_children_along() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let p = Process::spawn(&sh("sleep 1000 & echo $!; wait").log(&log)).unwrap();
        let grandchild: u32 = crate::wait::eventually(SOON, "its child", || {
            std::fs::read_to_string(&log).unwrap_or_default().trim().parse().map_err(|_| "nothing".into())
        })
        .unwrap();
        drop(p);
        assert!(gone(grandchild));
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let mut p = thread::spawn(|| Process::spawn(&sh("sleep 1000")).unwrap()).join().unwrap();
        assert!(p.wait(Duration::from_millis(100)).unwrap().is_none());
    }

    #[test]
    fn ports_are_handed_out_once() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
