//! TLS towards those whom we call. Kind: driver.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, crypto::CryptoProvider, sign::SingleCertAndKey};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{
    files::{self, Credentials, Identity},
    verify::Verify,
};
use crate::{
    error::{Error, Result, Side},
    net::Stream,
};

/// What [`ClientTls`] needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsConfig {
    /// How much of the server's certificate is believed.
    pub verify: Verify,
    /// Who we are, for servers that ask (mTLS).
    pub identity: Option<Identity>,
    /// The name to ask for and to verify instead of the host that is called, where several share a certificate.
    pub server_name: Option<String>,
    /// The protocols that we speak inside (ALPN, RFC 7301), the preferred one first.
    pub alpn: Vec<Vec<u8>>,
}

/// Begins TLS, with the CA and the certificate that the files held when they were last read.
#[derive(Debug)]
pub struct ClientTls {
    config: ClientTlsConfig,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    material: Material,
    rustls: Arc<ClientConfig>,
}

/// What the files held.
#[derive(Debug, PartialEq)]
struct Material {
    ca: Option<Vec<CertificateDer<'static>>>,
    credentials: Option<Credentials>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Config`, naming the file: it can't be read, isn't PEM, or the key isn't the certificate's; or the server name
    /// is none.
    pub fn new(config: ClientTlsConfig) -> Result<Self> {
        let provider = super::provider();
        if let Some(name) = &config.server_name {
            server_name(name).map_err(Error::config)?;
        }
        let current = config.build(&provider, config.read()?)?;
        Ok(Self { config, provider, current: ArcSwap::from_pointee(current) })
    }

    /// Reads the files again. If they hold anything new it is used from the next handshake on, and the answer is
    /// true; connections that stand go on with the old.
    ///
    /// # Errors
    /// As [`Self::new`]; then what was used before stays in use.
    pub fn reload(&self) -> Result<bool> {
        let material = self.config.read()?;
        if material == self.current.load().material {
            return Ok(false);
        }
        self.current.store(Arc::new(self.config.build(&self.provider, material)?));
        Ok(true)
    }

    /// Takes the connection to `host` through the handshake. `unread` is what was read beyond the server's consent to
    /// TLS: it must be empty, see the module.
    ///
    /// # Errors
    /// Upstream: `Protocol`, `Denied` (the server's certificate isn't good enough, or ours isn't for it), `Timeout`,
    /// or what the socket says. A server that refuses our certificate may say so only when we first read (TLS 1.3).
    pub async fn connect(
        &self,
        stream: Stream,
        host: &str,
        unread: &[u8],
        deadline: Instant,
    ) -> Result<Stream> {
        super::nothing_before(unread, Side::Upstream)?;
        let name = server_name(self.config.server_name.as_deref().unwrap_or(host)).map_err(Error::config)?;
        let connector = TlsConnector::from(self.current.load().rustls.clone());
        super::shake(connector.connect(name, stream), Side::Upstream, deadline).await
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| format!("{host:?} is neither a DNS name nor an IP address, so TLS can't ask for it"))
}

impl ClientTlsConfig {
    fn read(&self) -> Result<Material> {
        let ca = self.verify.ca().map(|ca| files::read_certificates(ca)).transpose()?;
        let credentials = self.identity.as_ref().map(Identity::read).transpose()?;
        Ok(Material { ca, credentials })
    }

    fn build(&self, provider: &Arc<CryptoProvider>, material: Material) -> Result<Current> {
        let roots = match (self.verify.ca(), &material.ca) {
            (Some(path), Some(ca)) => Some(files::trust(path, ca)?),
            _ => None,
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(Error::config)?
            .dangerous() // because of `require`, which is what libpq's users know
            .with_custom_certificate_verifier(self.verify.verifier(roots, provider));
        let mut rustls = match (&self.identity, &material.credentials) {
            (Some(identity), Some(read)) => {
                let certified = identity.certify(read, provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            _ => builder.with_no_client_auth(),
        };
        rustls.alpn_protocols.clone_from(&self.alpn);
        Ok(Current { material, rustls: Arc::new(rustls) })
    }
}
