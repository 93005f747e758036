//! A plain pingora-proxy with one upstream and one thread: what the benchmark compares http-lb with. Kind: wiring.
//!
//! `cargo run --release -p http-lb --example pingora_proxy -- 127.0.0.1:8080 127.0.0.1:8000`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{Error, HttpPeer, ProxyHttp, Session};
use pingora::proxy::http_proxy_service;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

type Fault = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Flags {
    /// Where clients connect.
    listen: SocketAddr,
    /// Whom we call.
    upstream: SocketAddr,
    /// The PEM file with the certificate: then clients speak TLS, and HTTP/2 if they like.
    #[arg(requires = "key")]
    cert: Option<PathBuf>,
    /// The PEM file with its key.
    key: Option<PathBuf>,
    /// Without TLS: HTTP/2 by prior knowledge, too.
    #[arg(long)]
    h2c: bool,
}

struct OneUpstream(HttpPeer);

#[async_trait::async_trait]
impl ProxyHttp for OneUpstream {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>, Box<Error>> {
        Ok(Box::new(self.0.clone()))
    }
}

fn main() -> Result<(), Fault> {
    let flags = Flags::parse();
    // One thread, as the others of the bench have one worker; a pool that holds a connection per client.
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let peer = HttpPeer::new(flags.upstream, false, String::new());
    let mut service = http_proxy_service(&server.configuration, OneUpstream(peer));
    let listen = flags.listen.to_string();
    match (&flags.cert, &flags.key) {
        (Some(cert), Some(key)) => {
            let mut tls = TlsSettings::intermediate(text(cert)?, text(key)?)?;
            tls.enable_h2();
            service.add_tls_with_settings(&listen, None, tls);
        }
        _ => {
            if flags.h2c {
                let mut options = HttpServerOptions::default();
                options.h2c = true;
                service.app_logic_mut().ok_or("the service has no application")?.server_options =
                    Some(options);
            }
            service.add_tcp(&listen);
        }
    }
    server.add_service(service);
    server.run_forever()
}

fn text(path: &std::path::Path) -> Result<&str, Fault> {
    path.to_str().ok_or_else(|| "a path is text in UTF-8".into())
}
