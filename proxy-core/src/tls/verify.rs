//! How much of a server's certificate is believed, in libpq's words (PostgreSQL docs, 34.19 "SSL Support", sslmode).
//! Kind: pure.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The mode as it is written in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Encrypt, to whomever: no protection against somebody in the middle.
    Require,
    /// The certificate is signed by our CA, for whatever name.
    VerifyCa,
    /// The certificate is signed by our CA and for the host that we call: as a subject alternative name; the common
    /// name, which libpq falls back to, has no say (RFC 9525 section 6.3).
    VerifyFull,
}

/// What is verified, with what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing but that the server has the key of the certificate that it shows: eavesdroppers are locked out,
    /// somebody in the middle isn't.
    Nothing,
    /// The chain up to a CA of this file.
    Chain(PathBuf),
    /// The chain up to a CA of this file, and the name of the host.
    ChainAndName(PathBuf),
}

impl Verify {
    /// Joins a mode and a CA file. No CA of the system stands in for a missing one: those of the public web have no
    /// say in who a database is.
    ///
    /// # Errors
    /// `Config`, with the remedy: a mode that needs a CA file has none, or one that ignores it is given one.
    pub fn new(mode: Mode, ca: Option<PathBuf>) -> Result<Self> {
        match (mode, ca) {
            (Mode::Require, None) => Ok(Self::Nothing),
            (Mode::VerifyCa, Some(ca)) => Ok(Self::Chain(ca)),
            (Mode::VerifyFull, Some(ca)) => Ok(Self::ChainAndName(ca)),
            (Mode::Require, Some(ca)) => Err(Error::config(format!(
                "with require the CA file {} has no effect; choose verify-ca or verify-full, or leave it out",
                ca.display()
            ))),
            (Mode::VerifyCa | Mode::VerifyFull, None) => Err(Error::config(
                "verify-ca and verify-full need a CA file; give one, or choose require and accept any certificate",
            )),
        }
    }

    /// The CA file, where the mode has one.
    pub(super) fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Nothing => None,
            Self::Chain(ca) | Self::ChainAndName(ca) => Some(ca),
        }
    }

    /// The verifier over the authorities that the CA file holds.
    pub(super) fn verifier(&self, roots: Option<RootCertStore>, provider: &CryptoProvider) -> Arc<Verifier> {
        let name = matches!(self, Self::ChainAndName(_));
        Arc::new(Verifier { roots, name, algorithms: provider.signature_verification_algorithms })
    }
}

/// Verifies what the mode says. That the server holds the key of its certificate is verified in each mode.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Option<RootCertStore>,
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
            if self.name {
                verify_server_name(&certificate, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: &str, ca: Option<&str>, expected: Result<Verify, &str>) {
        let mode = serde_json::from_value(mode.into()).unwrap();
        match (Verify::new(mode, ca.map(Into::into)), expected) {
            (Ok(verify), expected) => assert_eq!(Ok(verify), expected),
            (Err(error), Ok(expected)) => panic!("{error} instead of {expected:?}"),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
        }
    }

    #[test]
    fn a_mode_has_the_ca_file_that_it_needs_and_no_other() {
        check("require", None, Ok(Verify::Nothing));
        check("verify-ca", Some("ca.pem"), Ok(Verify::Chain("ca.pem".into())));
        check("verify-full", Some("ca.pem"), Ok(Verify::ChainAndName("ca.pem".into())));
        check("verify-ca", None, Err("give one"));
        check("verify-full", None, Err("give one"));
        check("require", Some("ca.pem"), Err("ca.pem has no effect"));
    }
}
