//! TLS by rustls (ring), both ways. Certificates, keys and CAs come from PEM files and are swapped while running: a
//! reload is for the handshakes to come, never for the connections that stand, and files that can't be used change
//! nothing. Nothing that arrived before the handshake is ever taken for encrypted. Kind: driver.

mod client;
mod files;
mod names;
mod server;
mod settings;
mod verify;

use std::{io, sync::Arc};

use rustls::crypto::CryptoProvider;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsStream;

pub use self::{
    client::{ClientTls, ClientTlsConfig},
    files::Identity,
    server::{ClientAuth, ServerTls, ServerTlsConfig, Version},
    settings::{CertificateSettings, ClientTlsSettings, HostsTlsSettings, ServerTlsSettings},
    verify::{Mode, Verify},
};
use crate::{
    error::{Error, Kind, Result, Side},
    net::Stream,
};

/// The cryptography of both directions, given explicitly: a process-wide default would be a global.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Runs one handshake, not beyond the deadline.
async fn shake<S>(
    handshake: impl Future<Output = io::Result<S>>,
    side: Side,
    deadline: Instant,
) -> Result<Stream>
where
    TlsStream<Stream>: From<S>,
{
    let outcome = timeout_at(deadline, handshake).await.unwrap_or_else(|_| Err(too_late()));
    match outcome {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
        Err(error) => Err(Error::new(side, kind_of(&error), error).context("TLS handshake")),
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "not done in time")
}

/// A certificate that isn't good enough, ours or theirs, is a denial; anything else that TLS says breaks the protocol.
fn kind_of(error: &io::Error) -> Kind {
    use rustls::{AlertDescription as Alert, Error as Tls};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented) => Kind::Denied,
        Some(Tls::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA)) => {
            Kind::Denied
        }
        Some(_) => Kind::Protocol,
        None => error.kind().into(),
    }
}

/// Refuses to begin while bytes lie unread in the caller's buffer: they came in the clear, from whoever is in the
/// middle, and would be served as if they had been encrypted (CVE-2021-23214 and CVE-2021-23222 in PostgreSQL).
fn nothing_before(unread: &[u8], side: Side) -> Result<()> {
    if unread.is_empty() {
        return Ok(());
    }
    let text = format!("{} bytes came in the clear before it", unread.len());
    Err(Error::new(side, Kind::Protocol, text).context("TLS handshake"))
}

#[cfg(test)]
mod tests;
