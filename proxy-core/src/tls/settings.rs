//! TLS as a configuration has it: one flat table per direction, joined here into what can't contradict itself.
//! Kind: pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ClientAuth, ClientTlsConfig, Identity, Mode, ServerTlsConfig, Verify, Version};
use crate::error::{Error, Result};

/// TLS towards those who call us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsSettings {
    /// The PEM file with our certificate, followed by those between it and its CA.
    pub certificate: PathBuf,
    /// The PEM file with its private key.
    pub key: PathBuf,
    /// The PEM file with the CAs of our clients' certificates; without it clients aren't asked for any.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Lets in clients without a certificate, too, although there is a `client_ca`.
    #[serde(default)]
    pub client_certificate_optional: bool,
}

impl ServerTlsSettings {
    /// The files that they name.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().cloned()
    }

    /// Joins the settings; the protocols to agree on are the binary's business.
    ///
    /// # Errors
    /// `Config`, with the remedy: a certificate is optional that nobody asks for.
    pub fn config(&self, alpn: &[&[u8]]) -> Result<ServerTlsConfig> {
        let identities = vec![Identity { certificate: self.certificate.clone(), key: self.key.clone() }];
        let client_auth = client_auth(self.client_ca.clone(), self.client_certificate_optional)?;
        Ok(ServerTlsConfig { identities, client_auth, alpn: owned(alpn), oldest: Version::default() })
    }
}

fn client_auth(ca: Option<PathBuf>, optional: bool) -> Result<ClientAuth> {
    match (ca, optional) {
        (Some(ca), false) => Ok(ClientAuth::Required(ca)),
        (Some(ca), true) => Ok(ClientAuth::Optional(ca)),
        (None, false) => Ok(ClientAuth::Off),
        (None, true) => {
            let text =
                "client_certificate_optional has no effect without a client_ca; add one or leave it out";
            Err(Error::config(text))
        }
    }
}

/// TLS towards those who call us, where we are several hosts with a certificate for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsTlsSettings {
    /// Our certificates. Callers see one that holds the name that they ask for, by itself or by a wildcard; those
    /// who ask for none of these names see the first.
    pub certificates: Vec<CertificateSettings>,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3`.
    #[serde(default)]
    pub min_version: Version,
    /// The PEM file with the CAs of our clients' certificates; without it clients aren't asked for any.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Lets in clients without a certificate, too, although there is a `client_ca`.
    #[serde(default)]
    pub client_certificate_optional: bool,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// The PEM file with the certificate, followed by those between it and its CA.
    pub certificate: PathBuf,
    /// The PEM file with its private key.
    pub key: PathBuf,
}

impl HostsTlsSettings {
    /// The files that they name.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let pairs = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        pairs.chain(&self.client_ca).cloned()
    }

    /// Joins the settings; the protocols to agree on are the binary's business.
    ///
    /// # Errors
    /// `Config`, with the remedy: a certificate is optional that nobody asks for.
    pub fn config(&self, alpn: &[&[u8]]) -> Result<ServerTlsConfig> {
        let identity = |pair: &CertificateSettings| Identity {
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
        };
        let identities = self.certificates.iter().map(identity).collect();
        let client_auth = client_auth(self.client_ca.clone(), self.client_certificate_optional)?;
        Ok(ServerTlsConfig { identities, client_auth, alpn: owned(alpn), oldest: self.min_version })
    }
}

/// TLS towards those whom we call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsSettings {
    /// How much of the server's certificate is believed.
    pub mode: Mode,
    /// The PEM file with the CAs that sign the servers' certificates.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The PEM file with our own certificate, for servers that ask for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The PEM file with its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The name to verify instead of the host that is called.
    #[serde(default)]
    pub server_name: Option<String>,
}

impl ClientTlsSettings {
    /// The files that they name.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        [&self.certificate, &self.key, &self.ca].into_iter().flatten().cloned()
    }

    /// Joins the settings; the protocols to agree on are the binary's business.
    ///
    /// # Errors
    /// `Config`, with the remedy: mode and CA contradict each other, or only one of certificate and key is given.
    pub fn config(&self, alpn: &[&[u8]]) -> Result<ClientTlsConfig> {
        let identity = match (self.certificate.clone(), self.key.clone()) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            _ => return Err(Error::config("a certificate and its key go together; give both or neither")),
        };
        let verify = Verify::new(self.mode, self.ca.clone())?;
        Ok(ClientTlsConfig { verify, identity, server_name: self.server_name.clone(), alpn: owned(alpn) })
    }
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(toml: &str) -> Result<ClientAuth, String> {
        let settings = toml::from_str::<ServerTlsSettings>(&format!("certificate = 'c'\nkey = 'k'\n{toml}"));
        let config = settings.unwrap().config(&[b"postgresql"]);
        config.map(|config| config.client_auth).map_err(|error| error.to_string())
    }

    fn client(toml: &str) -> Result<ClientTlsConfig, String> {
        toml::from_str::<ClientTlsSettings>(toml).unwrap().config(&[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_ca_asks_for_certificates() {
        assert_eq!(server(""), Ok(ClientAuth::Off));
        assert_eq!(server("client_ca = 'ca'"), Ok(ClientAuth::Required("ca".into())));
        let optional = "client_certificate_optional = true";
        assert_eq!(server(&format!("client_ca = 'ca'\n{optional}")), Ok(ClientAuth::Optional("ca".into())));
        assert!(server(optional).unwrap_err().contains("no effect without a client_ca"));
    }

    #[test]
    fn several_hosts_have_a_certificate_each() {
        let toml = "min_version = '1.3'
            certificates = [{ certificate = 'a', key = 'b' }, { certificate = 'c', key = 'd' }]";
        let settings = toml::from_str::<HostsTlsSettings>(toml).unwrap();
        assert_eq!(settings.files().map(|file| file.display().to_string()).collect::<String>(), "abcd");
        let config = settings.config(&[b"h2", b"http/1.1"]).unwrap();
        assert_eq!((config.identities.len(), config.oldest, config.alpn.len()), (2, Version::Tls13, 2));
        assert!(toml::from_str::<HostsTlsSettings>("certificates = []\nmin_version = '1.1'").is_err());
    }

    #[test]
    fn a_certificate_and_its_key_go_together() {
        let both = client("mode = 'require'\ncertificate = 'c'\nkey = 'k'").unwrap();
        assert_eq!(both.identity, Some(Identity { certificate: "c".into(), key: "k".into() }));
        assert_eq!(client("mode = 'require'").unwrap().identity, None);
        assert!(client("mode = 'require'\nkey = 'k'").unwrap_err().contains("give both or neither"));
        assert!(client("mode = 'verify-full'").unwrap_err().contains("need a CA file"));
    }
}
