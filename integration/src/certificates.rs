//! Certificates for one machine: an authority, made anew for each use, and what it signs. Kind: driver.

use crate::{Context, Error, Result, place};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{fs, path::Path};

/// Who signs.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn create() -> Result<Self> {
        let key = KeyPair::generate().map_err(refused)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        // An issuer and a subject of one name would look like a certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, "the stack's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).map_err(refused)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Writes `ca.crt`, `server.crt` and `server.key` into `dir`, for a server on loopback.
    pub fn serve(&self, dir: &Path) -> Result<()> {
        let key = KeyPair::generate().map_err(refused)?;
        let names = ["127.0.0.1", "localhost"].map(String::from);
        let params = CertificateParams::new(names).map_err(refused)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?.pem();
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).context(name);
        write("ca.crt", &self.certificate)?;
        write("server.crt", &certificate)?;
        place::secret(&dir.join("server.key"), &key.serialize_pem())
    }
}

fn refused(e: rcgen::Error) -> Error {
    Error::new(format!("a certificate: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_a_chain_and_a_key() {
        let dir = tempfile::tempdir().unwrap();
        Authority::create().unwrap().serve(dir.path()).unwrap();
        for (file, head) in
            [("ca.crt", "BEGIN CERT"), ("server.crt", "BEGIN CERT"), ("server.key", "BEGIN PRIVATE")]
        {
            assert!(fs::read_to_string(dir.path().join(file)).unwrap().contains(head), "{file}");
        }
    }
}
