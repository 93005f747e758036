//! TLS handshakes, one after the other: a connection, a handshake, one request, the end. Kind: driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::http_tools::Payers;
use crate::error::{Error, Result};
use crate::report::Sample;

const PATIENCE: Duration = Duration::from_secs(5);

/// Does it for `window`, and counts what was not resumed although it was to be, or the other way round, as an error.
pub(super) fn measure(
    addr: SocketAddr,
    ca: &Path,
    resumed: bool,
    window: Duration,
    payers: &Payers,
) -> Result<Sample> {
    let config = config(ca, resumed)?;
    once(addr, &config)?; // the first one can't be resumed
    let (before, start) = ((payers.subject.cpu_time(), payers.upstream.cpu_time()), Instant::now());
    let (mut done, mut errors) = (0.0, 0.0);
    while start.elapsed() < window {
        let kind = once(addr, &config)?;
        done += 1.0;
        errors += f64::from(u8::from((kind == HandshakeKind::Resumed) != resumed));
    }
    let elapsed = start.elapsed();
    let subject = payers.subject.cpu_time().since(before.0);
    let all = subject + payers.upstream.cpu_time().since(before.1);
    let per_op = |spent: Duration| spent.as_secs_f64() * 1e6 / f64::max(done, 1.0);
    Ok(Sample {
        ops_per_s: done / elapsed.as_secs_f64(),
        cpu_us_per_op: per_op(subject),
        all_cpu_us_per_op: per_op(all),
        rss_kib: payers.subject.resident_kib() as f64,
        errors,
        ..Sample::default()
    })
}

fn config(ca: &Path, resumed: bool) -> Result<Arc<ClientConfig>> {
    let wrong = |e: &dyn std::fmt::Display| Error::new(format!("{}: {e}", ca.display()));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = if resumed { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Reading to the end is what brings the tickets of TLS 1.3 in.
fn once(addr: SocketAddr, config: &Arc<ClientConfig>) -> Result<HandshakeKind> {
    let socket = TcpStream::connect_timeout(&addr, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let session = ClientConnection::new(config.clone(), ServerName::from(addr.ip()))
        .map_err(|e| Error::new(e.to_string()))?;
    let mut stream = StreamOwned::new(session, socket);
    write!(stream, "GET /demo/conf/ HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            // A peer that closes without a word has said all that was asked for.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
            read => answer.extend_from_slice(&piece[..read?]),
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(Error::new(format!("an answer of {} bytes that is no 200", answer.len())));
    }
    stream.conn.handshake_kind().ok_or_else(|| Error::new("an answer without a handshake"))
}
