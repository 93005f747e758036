//! The life of a process, from its flags to its exit: the same for all three binaries. Included by path in the tests of
//! each, which says with what its own starts (`ENOUGH`) and whether it is then ready (`READY`). Kind: driver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use super::{ENOUGH, READY};

const NAME: &str = env!("CARGO_PKG_NAME");
const BINARY: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// Runs the binary to its end: it exits with this code, and says this.
#[track_caller]
pub(crate) fn check(arguments: &[&str], code: i32, part: &str) {
    let output = Command::new(BINARY).args(arguments).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(part), "no {part:?} in {said}");
}

/// A started process that is ended with the test, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is what most tests want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts the binary and reads from its log where the admin endpoint listens.
    fn start(more: &[&str]) -> (Self, String) {
        let variables = NAME.replace('-', "_").to_uppercase();
        let child = Command::new(BINARY)
            .args(["--admin", "127.0.0.1:0"])
            .args(more)
            .env(format!("{variables}_LOG__FORMAT"), "json")
            .env(format!("{variables}_LISTENERS"), "[{ listen = '127.0.0.1:0' }]")
            .envs(ENOUGH)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut running = Self(child);
        let address = running.find("\"address\":\"");
        (running, address)
    }

    /// Reads the log until this field; gives its value.
    fn find(&mut self, field: &str) -> String {
        let log = self.0.stderr.as_mut().expect("it is piped");
        let mut seen = String::new();
        let mut byte = [0];
        while log.read(&mut byte).expect("the log can be read") == 1 {
            seen.push(char::from(byte[0]));
            if let Some((_, value)) = seen.split_once(field)
                && let Some((value, _)) = value.split_once('"')
            {
                return value.to_owned();
            }
        }
        panic!("no {field} in {seen}");
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    fn code(&mut self) -> Option<i32> {
        self.0.wait().expect("it ends").code()
    }
}

fn ask(address: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin endpoint listens");
    write!(stream, "{line} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn wrong_usage_and_wrong_configuration_exit_with_2() {
    check(&["--chekc"], 2, "--check");
    check(&["--config", "/nonexistent"], 2, "can't read the configuration /nonexistent");
    check(&["--admin", "127.0.0.1"], 2, "--admin");
}

#[test]
fn it_starts_answers_drains_and_stops() {
    let (mut running, address) = Running::start(&[]);
    assert!(ask(&address, "GET /livez").starts_with("HTTP/1.1 200 "));
    let info = format!("{}_build_info{{version=", NAME.replace('-', "_"));
    assert!(ask(&address, "GET /metrics").contains(&info));
    assert!(ask(&address, "POST /drain").starts_with("HTTP/1.1 202 "));
    assert_eq!(running.code(), Some(0));
}

#[test]
fn sigterm_drains() {
    let (mut running, _) = Running::start(&[]);
    running.find("\"message\":\"started");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
}

#[test]
fn sighup_loads_the_configuration_again_and_keeps_the_old_one_when_it_is_wrong() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let path = file.path().to_str().expect("temporary paths are UTF-8").to_owned();
    let (mut running, address) = Running::start(&["--config", &path]);
    running.find("\"message\":\"started");
    running.signal(Signal::HUP);
    running.find("\"message\":\"configuration loaded");
    file.write_all(b"[drain]\ntimeuot = \"1s\"\n").expect("it can be written");
    running.signal(Signal::HUP);
    running.find("did you mean `timeout`?");
    assert!(ask(&address, "GET /livez").starts_with("HTTP/1.1 200 "));
    assert!(ask(&address, "GET /readyz").starts_with(READY));
}
