//! The TLS server against somebody else's client: `openssl s_client`. Kind: driver.

#![allow(clippy::unwrap_used, reason = "all of it is test, and what fails is told with its line")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use proxy_core::tls::{ClientAuth, Identity, ServerTls, ServerTlsConfig, Version};
use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A server with certificates for these names, which says hello and closes.
struct Server {
    dir: TempDir,
    addr: SocketAddr,
    tls: Arc<ServerTls>,
}

impl Server {
    fn start(names: &[&str], oldest: Version) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identities = names.iter().map(|name| issue(dir.path(), name)).collect();
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = ServerTlsConfig { identities, client_auth: ClientAuth::Off, alpn, oldest };
        let tls = Arc::new(ServerTls::new(config).unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, shared) = (listener.local_addr().unwrap(), tls.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(greet(listener, shared));
        });
        Self { dir, addr, tls }
    }

    /// A new certificate for `name`, in use at once.
    fn renew(&self, name: &str) {
        issue(self.dir.path(), name);
        assert!(self.tls.reload().unwrap(), "it is new");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What s_client prints when called so.
    fn seen(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-connect", &self.addr.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

async fn greet(listener: std::net::TcpListener, tls: Arc<ServerTls>) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        if let Ok(mut stream) = tls.accept(stream.into(), &[], deadline).await {
            stream.write_all(b"hello\n").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    }
}

fn issue(dir: &Path, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let [certificate, key_file] =
        [".pem", ".key"].map(|end| dir.join(format!("{}{end}", name.replace('*', "any"))));
    fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    Identity { certificate, key: key_file }
}

#[track_caller]
fn check(seen: &str, expected: &str) {
    assert!(seen.contains(expected), "{expected:?} is not in {seen}");
}

#[test]
fn each_name_has_its_certificate() {
    let server = Server::start(&["shop.example", "*.shop.example", "other.example"], Version::Tls12);
    for (asked, shown) in [
        ("shop.example", "shop.example"),
        ("a.shop.example", "*.shop.example"),
        ("OTHER.example", "other.example"),
        ("stranger.example", "shop.example"),
    ] {
        check(&server.seen(&["-servername", asked]), &format!("subject=CN = {shown}\n"));
    }
    check(&server.seen(&["-noservername"]), "subject=CN = shop.example\n");
}

#[test]
fn a_session_is_taken_up_again_after_a_reload_in_both_versions() {
    let server = Server::start(&["shop.example", "other.example"], Version::Tls12);
    let session = server.path("session");
    let session = session.to_str().unwrap();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let same = ["-servername", "shop.example", flag];
        check(&server.seen(&[&same[..], &["-sess_out", session]].concat()), &format!("New, {version}"));
        server.renew("other.example");
        check(&server.seen(&[&same[..], &["-sess_in", session]].concat()), &format!("Reused, {version}"));
        let other = ["-servername", "other.example", flag, "-sess_in", session];
        check(&server.seen(&other), &format!("New, {version}"));
    }
}

#[test]
fn versions_older_than_the_oldest_are_refused() {
    let (both, new) = (Server::start(&["a"], Version::Tls12), Server::start(&["a"], Version::Tls13));
    check(&both.seen(&["-tls1_2"]), "Protocol  : TLSv1.2");
    check(&both.seen(&[]), "New, TLSv1.3");
    check(&both.seen(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]), "Cipher is (NONE)");
    check(&new.seen(&["-tls1_2"]), "Cipher is (NONE)");
}

#[test]
fn the_protocol_inside_is_agreed_on() {
    let server = Server::start(&["a"], Version::Tls12);
    check(&server.seen(&["-alpn", "http/1.1,h2"]), "ALPN protocol: h2");
    check(&server.seen(&["-alpn", "http/1.1"]), "ALPN protocol: http/1.1");
    check(&server.seen(&["-alpn", "spdy/3"]), "no peer certificate available");
    check(&server.seen(&[]), "No ALPN negotiated");
}
