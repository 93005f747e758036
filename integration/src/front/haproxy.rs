//! HAProxy in HTTP mode, one request per worker of the application at a time, as its users have it. It serves no files.
//! Kind: driver.

use std::{
    fmt::Write,
    io::{Read, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use super::{Application, Front};
use crate::{
    Context, Error, Result,
    measure::ProcessSet,
    peers::{Home, Program, Subject, strings},
    process::free_port,
};

/// A running HAProxy.
pub struct HaproxyHttp {
    program: Program,
    socket: PathBuf,
    upstreams: Vec<SocketAddr>,
}

impl HaproxyHttp {
    /// Starts it.
    pub fn start(front: &Front) -> Result<Self> {
        let home = Home::ours("haproxy")?;
        let port = front.port.unwrap_or_else(free_port);
        let socket = home.path().join("admin.sock");
        if let Some(keys) = &front.tls {
            let read = |name: &str| std::fs::read_to_string(keys.join(name)).context(name);
            home.file("server.pem", &(read("server.crt")? + &read("server.key")?))?;
        }
        let conf = home.file("haproxy.cfg", &config(front, home.path(), port))?;
        let argv = strings(["/usr/sbin/haproxy", "-db", "-f", &conf]);
        let program = Program::start(super::HAPROXY, port, home, argv)?;
        Ok(Self { program, socket, upstreams: front.upstreams.clone() })
    }

    /// Says something to its runtime API.
    fn tell(&self, command: &str) -> Result<()> {
        let mut stream = UnixStream::connect(&self.socket).context(self.socket.display())?;
        writeln!(stream, "{command}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.trim().is_empty() { Ok(()) } else { Err(Error::new(format!("HAProxy said {answer:?}"))) }
    }
}

impl Subject for HaproxyHttp {
    fn name(&self) -> &'static str {
        super::HAPROXY
    }
    fn addr(&self) -> SocketAddr {
        self.program.addr()
    }
    fn processes(&self) -> ProcessSet {
        self.program.processes()
    }
    fn drain(&mut self, replica: SocketAddr, out: bool) -> Result<()> {
        let number = self.upstreams.iter().position(|addr| *addr == replica).unwrap_or_default();
        let state = if out { "drain" } else { "ready" };
        self.tell(&format!("set server application/s{number} state {state}"))
    }
}

/// As http-lb looks at Pretix: workers that are busy for seconds are not dead.
const CHECK: &str = "  option httpchk GET /healthcheck/
  http-check send hdr Host localhost
  timeout check 5s
";

/// What its users can tell it besides: requests are taken from slow clients before a worker is (as far as one buffer
/// goes), what may be repeated is, and who is turned away hears when to come again.
const CARE: &str = "  option http-buffer-request
  retry-on conn-failure empty-response
  http-request disable-l7-retry if METH_POST !{ req.hdr(X-Idempotency-Key) -m found }
  http-after-response set-header Retry-After 5 if { status 503 }
";

fn config(front: &Front, home: &Path, port: u16) -> String {
    let (home, threads) = (home.display(), front.workers);
    let tls = if front.tls.is_some() {
        format!(" ssl crt {home}/server.pem alpn h2,http/1.1")
    } else {
        String::new()
    };
    let (queue, check) = match front.application {
        Application::Plain => ("1m", ""),
        Application::Orders => ("5s", ""),
        Application::Pretix => ("15s", CHECK),
    };
    let (reuse, care) = match front.application {
        // Nothing but traffic is measured, and nothing is lost by a connection that is closed just then.
        Application::Plain => ("always", ""),
        Application::Orders | Application::Pretix => ("safe", CARE),
    };
    let mut text = format!(
        "global
  maxconn 9000
  nbthread {threads}
  stats socket {home}/admin.sock mode 600 level admin
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 60s
  timeout http-request 10s
  timeout queue {queue}
  option forwardfor
  option redispatch 1
  retries 3
frontend web
  bind 127.0.0.1:{port}{tls}
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  default_backend application
backend application
  balance leastconn
  http-reuse {reuse}
{care}{check}{}",
        priorities(front.application)
    );
    for (number, addr) in front.upstreams.iter().enumerate() {
        let slots = front.slots.map_or_else(String::new, |slots| format!(" maxconn {slots}"));
        let check = if check.is_empty() { "" } else { " check inter 2s fall 3 rise 1" };
        let _ = writeln!(text, "  server s{number} {addr}{slots}{check}");
    }
    text
}

/// Who queues first, where orders matter more.
fn priorities(application: Application) -> &'static str {
    match application {
        Application::Plain => "",
        Application::Orders => "  http-request set-priority-class int(-1) if { path_beg /checkout }\n",
        Application::Pretix => "  http-request set-priority-class int(-1) if { path_sub /checkout/ }\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_its_maxconn() {
        let front = Front {
            slots: Some(2),
            application: Application::Orders,
            ..Front::before(vec![([127, 0, 0, 1], 9).into()])
        };
        let text = config(&front, Path::new("/h"), 80);
        assert!(text.ends_with("  server s0 127.0.0.1:9 maxconn 2\n"), "{text}");
        assert!(text.contains("set-priority-class") && !text.contains("httpchk"));
        assert!(text.contains("http-buffer-request") && text.contains("http-reuse safe"), "{text}");
    }
}
