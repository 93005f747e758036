//! TLS towards those who call us. Kind: driver.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring::Ticketer},
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{
    files::{self, Credentials, Identity},
    names::Certificates,
};
use crate::{
    error::{Error, Kind, Result, Side},
    net::Stream,
};

/// Whether callers show certificates of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They aren't asked.
    Off,
    /// They are asked; one who shows a certificate must show one signed by a CA of this file.
    Optional(PathBuf),
    /// Nobody comes in without a certificate signed by a CA of this file.
    Required(PathBuf),
}

impl ClientAuth {
    fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional(ca) | Self::Required(ca) => Some(ca),
        }
    }
}

/// What [`ServerTls`] needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsConfig {
    /// Who we are: by the names in the certificates, the first for callers who name nobody that we know.
    pub identities: Vec<Identity>,
    /// Who may call.
    pub client_auth: ClientAuth,
    /// The protocols that we speak inside (ALPN, RFC 7301), the preferred one first; none: callers aren't asked.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version of TLS that we speak.
    pub oldest: Version,
}

/// A version of TLS. Older ones are broken (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// RFC 5246; with forward secrecy and authenticated encryption only.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

impl Version {
    /// This version and all that are newer.
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::Tls12 => &ALL,
            Self::Tls13 => &ALL[..1],
        }
    }
}

/// Accepts TLS, with the certificate that the files held when they were last read.
#[derive(Debug)]
pub struct ServerTls {
    config: ServerTlsConfig,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    material: Material,
    tickets: Arc<dyn ProducesTickets>,
    rustls: Arc<ServerConfig>,
}

/// What the files held.
#[derive(Debug, PartialEq)]
struct Material {
    credentials: Vec<Credentials>,
    client_ca: Vec<CertificateDer<'static>>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Config`, naming the file: it can't be read, isn't PEM, or the key isn't the certificate's.
    pub fn new(config: ServerTlsConfig) -> Result<Self> {
        let provider = super::provider();
        let material = config.read()?;
        let current = config.build(&provider, material, new_tickets()?)?;
        Ok(Self { config, provider, current: ArcSwap::from_pointee(current) })
    }

    /// Reads the files again. If they hold anything new it is used from the next handshake on, and the answer is
    /// true; connections that stand go on with the old.
    ///
    /// # Errors
    /// As [`Self::new`]; then what was used before stays in use.
    pub fn reload(&self) -> Result<bool> {
        let material = self.config.read()?;
        let old = self.current.load();
        if material == old.material {
            return Ok(false);
        }
        let tickets = surviving_tickets(&old, &material)?;
        self.current.store(Arc::new(self.config.build(&self.provider, material, tickets)?));
        Ok(true)
    }

    /// Takes a caller through the handshake. `unread` is what the caller's side of the code has read beyond the
    /// request for TLS: it must be empty, see the module.
    ///
    /// # Errors
    /// Downstream: `Protocol`, `Denied` (a certificate is missing or not good enough), `Timeout`, or what the socket
    /// says.
    pub async fn accept(&self, stream: Stream, unread: &[u8], deadline: Instant) -> Result<Stream> {
        super::nothing_before(unread, Side::Downstream)?;
        let acceptor = TlsAcceptor::from(self.current.load().rustls.clone());
        super::shake(acceptor.accept(stream), Side::Downstream, deadline).await
    }
}

fn new_tickets() -> Result<Arc<dyn ProducesTickets>> {
    Ticketer::new().map_err(|error| Error::internal(Kind::Io, error).context("making session ticket keys"))
}

/// The tickets of before, so that a renewed certificate costs no resumption. But a ticket carries the identity that
/// its client once proved, and a resumption doesn't look at it again: with other CAs for clients, all must prove
/// themselves anew.
fn surviving_tickets(old: &Current, new: &Material) -> Result<Arc<dyn ProducesTickets>> {
    if old.material.client_ca == new.client_ca { Ok(old.tickets.clone()) } else { new_tickets() }
}

impl ServerTlsConfig {
    fn read(&self) -> Result<Material> {
        let client_ca = self.client_auth.ca().map(|ca| files::read_certificates(ca)).transpose()?;
        let credentials = self.identities.iter().map(Identity::read).collect::<Result<_>>()?;
        Ok(Material { credentials, client_ca: client_ca.unwrap_or_default() })
    }

    fn build(
        &self,
        provider: &Arc<CryptoProvider>,
        material: Material,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Current> {
        let mut rustls = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.oldest.and_newer())
            .map_err(Error::config)?
            .with_client_cert_verifier(self.client_verifier(provider, &material.client_ca)?)
            .with_cert_resolver(Arc::new(self.certificates(&material.credentials, provider)?));
        rustls.alpn_protocols.clone_from(&self.alpn);
        // Tickets keep the sessions with the clients; a cache of our own would only cost memory.
        rustls.session_storage = Arc::new(NoServerSessionStorage {});
        rustls.ticketer = tickets.clone();
        Ok(Current { material, tickets, rustls: Arc::new(rustls) })
    }

    fn certificates(&self, credentials: &[Credentials], provider: &CryptoProvider) -> Result<Certificates> {
        let pairs = self.identities.iter().zip(credentials);
        let certified = pairs.map(|(identity, read)| identity.certify(read, provider));
        Certificates::new(certified.collect::<Result<_>>()?)
    }

    fn client_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        ca: &[CertificateDer<'static>],
    ) -> Result<Arc<dyn ClientCertVerifier>> {
        let build = |path: &PathBuf, optional: bool| {
            let roots: RootCertStore = files::trust(path, ca)?;
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let builder = if optional { builder.allow_unauthenticated() } else { builder };
            builder.build().map_err(Error::config)
        };
        match &self.client_auth {
            ClientAuth::Off => Ok(WebPkiClientVerifier::no_client_auth()),
            ClientAuth::Optional(path) => build(path, true),
            ClientAuth::Required(path) => build(path, false),
        }
    }
}
