//! Certificates and keys in PEM files (RFC 7468), with errors that name the file and what is wrong with it.
//! Kind: driver.

use std::path::{Path, PathBuf};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::error::{Error, Result};

/// Who we are: a certificate chain, ours first, and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file with the chain.
    pub certificate: PathBuf,
    /// The file with the key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

/// What the files of an [`Identity`] hold. Its `Debug` shows no key.
#[derive(Debug, PartialEq)]
pub(super) struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn read(&self) -> Result<Credentials> {
        let chain = read_certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unusable(&self.key, &error, "private key without a passphrase"))?;
        Ok(Credentials { chain, key })
    }

    /// Makes the credentials ready for use, if the key is that of the certificate.
    pub(super) fn certify(&self, read: &Credentials, provider: &CryptoProvider) -> Result<CertifiedKey> {
        let certified = CertifiedKey::from_der(read.chain.clone(), read.key.clone_key(), provider);
        certified.map_err(|error| self.mismatch(error))
    }

    fn mismatch(&self, error: rustls::Error) -> Error {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let doing = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("the private key {key} isn't the one of the certificate {certificate}")
            }
            _ => format!("certificate {certificate} with private key {key}"),
        };
        Error::config(error).context(doing)
    }
}

/// All certificates of a file, in their order; at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = |error| unusable(path, &error, "certificate");
    let certificates: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(unusable)?.collect();
    match certificates.map_err(unusable)? {
        none if none.is_empty() => Err(unusable(pem::Error::NoItemsFound)),
        some => Ok(some),
    }
}

/// The certificates of a file as authorities to trust.
pub(super) fn trust(path: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|error| Error::config(error).context(format!("the CA file {}", path.display())))?;
    }
    Ok(roots)
}

fn unusable(path: &Path, error: &pem::Error, wanted: &str) -> Error {
    let path = path.display();
    Error::config(match error {
        pem::Error::Io(error) => format!("can't read {path}: {error}"),
        pem::Error::NoItemsFound => format!("{path} holds no {wanted} in PEM form"),
        other => format!("{path} isn't PEM: {other}"),
    })
}
