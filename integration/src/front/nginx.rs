//! NGINX, as Pretix's image configures it, and tuned where that costs it nothing. Kind: driver.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use super::{Application, Front};
use crate::{
    Result,
    measure::ProcessSet,
    peers::{Home, Program, Subject, strings},
    process::free_port,
};

/// A running NGINX.
pub struct Nginx {
    program: Program,
    conf: PathBuf,
    front: Front,
}

impl Nginx {
    /// Starts it.
    pub fn start(front: &Front) -> Result<Self> {
        let home = Home::ours("nginx")?;
        let port = front.port.unwrap_or_else(free_port);
        let front = Front { port: Some(port), ..front.clone() };
        let conf = home.file("nginx.conf", &config(&front, home.path(), &[]))?;
        let prefix = home.path().display().to_string();
        let argv =
            strings(["/usr/sbin/nginx", "-p", &prefix, "-c", &conf, "-e", "stderr", "-g", "daemon off;"]);
        let program = Program::start(super::NGINX, port, home, argv)?;
        Ok(Self { program, conf: conf.into(), front })
    }

    /// Takes these replicas out of service, or back in: a new configuration and a reload, NGINX's only way.
    pub fn without(&mut self, down: &[SocketAddr]) -> Result<()> {
        let home = self.conf.parent().unwrap_or(Path::new("/"));
        std::fs::write(&self.conf, config(&self.front, home, down))?;
        self.program.signal(Signal::HUP)
    }
}

impl Subject for Nginx {
    fn name(&self) -> &'static str {
        super::NGINX
    }
    fn addr(&self) -> SocketAddr {
        self.program.addr()
    }
    fn processes(&self) -> ProcessSet {
        self.program.processes()
    }
    fn reload(&mut self) -> Result<()> {
        self.without(&[])
    }
    fn drain(&mut self, replica: SocketAddr, out: bool) -> Result<()> {
        let down = [replica];
        self.without(if out { &down } else { &[] })
    }
}

/// <https://github.com/pretix/pretix/blob/main/deployment/docker/nginx.conf>, with kept upstream connections and cached
/// descriptors of files.
fn config(front: &Front, home: &Path, down: &[SocketAddr]) -> String {
    let (home, workers) = (home.display(), front.workers);
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {home}/{name};\n"))
        .collect();
    format!(
        "{user}worker_processes {workers};
pid {home}/pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
{temporary}  access_log off;
  sendfile on; tcp_nopush on; tcp_nodelay on; server_tokens off;
  open_file_cache max=4096 inactive=60s;
  keepalive_timeout 75s; keepalive_requests 1000000000;
  client_max_body_size 100m;
{}{}}}
",
        upstream(front, down),
        server(front)
    )
}

fn upstream(front: &Front, down: &[SocketAddr]) -> String {
    if front.upstreams.is_empty() {
        return String::new();
    }
    let mut text = String::from("  upstream application {\n    least_conn;\n");
    for addr in &front.upstreams {
        // One that is down for good would be no upstream at all where it is the only one.
        let word = if down.contains(addr) { " down" } else { "" };
        let patience =
            if front.upstreams.len() > 1 { " max_fails=2 fail_timeout=5s" } else { " max_fails=0" };
        let _ = writeln!(text, "    server {addr}{patience}{word};");
    }
    text + "    keepalive 1024; keepalive_requests 1000000000;\n  }\n"
}

fn server(front: &Front) -> String {
    let port = front.port.unwrap_or_default();
    let tls = front.tls.as_ref().map(|keys| {
        let keys = keys.display();
        format!(
            "    ssl_certificate {keys}/server.crt; ssl_certificate_key {keys}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:16m; ssl_session_tickets on;\n"
        )
    });
    let words = if tls.is_some() { " ssl http2" } else { "" };
    let mut text =
        format!("  server {{\n    listen 127.0.0.1:{port} backlog=4096{words};\n{}", tls.unwrap_or_default());
    if !front.upstreams.is_empty() {
        text.push_str(
            "    location / {
      proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }\n",
        );
    }
    for files in &front.files {
        let (prefix, root) = (files.prefix, files.root.display());
        let _ = writeln!(text, "    location {prefix} {{ alias {root}/; expires 365d; }}");
    }
    if front.application == Application::Pretix {
        text.push_str(
            "    gzip on; gzip_comp_level 6; gzip_vary on; gzip_min_length 1000;
    gzip_types text/css application/javascript text/javascript application/json image/svg+xml;
    add_header Referrer-Policy same-origin; add_header X-Content-Type-Options nosniff;
    location ^~ /media/cachedfiles { return 404; }
    location ^~ /media/invoices { return 404; }\n",
        );
    }
    text + "  }\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::Files;

    #[test]
    fn only_what_is_asked_for_is_configured() {
        let addr: SocketAddr = ([127, 0, 0, 1], 8101).into();
        let plain = config(&Front::before(vec![addr]), Path::new("/h"), &[]);
        assert!(
            plain.contains("server 127.0.0.1:8101 max_fails=0;")
                && !plain.contains("ssl")
                && !plain.contains("alias")
        );
        let files = vec![Files { prefix: "/static/", root: "/s".into() }];
        let other: SocketAddr = ([127, 0, 0, 1], 8102).into();
        let front = Front { files, tls: Some("/t".into()), ..Front::before(vec![addr, other]) };
        let text = config(&front, Path::new("/h"), &[other]);
        assert!(text.contains("location /static/ { alias /s/;") && text.contains(" ssl http2;"));
        assert!(text.contains("server 127.0.0.1:8102 max_fails=2 fail_timeout=5s down;"));
    }
}
