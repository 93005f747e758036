//! Which certificate is shown to whom: by the name that a caller asks for (SNI, RFC 6066 section 3) and the names in
//! the certificates (RFC 9525 section 6.3). Kind: pure.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use webpki::EndEntityCert;

use crate::error::{Error, Result};

/// Our certificates by the names in them. Several may hold one name, as those with keys of different kinds do: the
/// first whose key the caller understands is shown. Callers who name nobody, or nobody that we know, see the first of
/// all: whether they come in is for the protocol inside to say, which knows the host.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// What holds a name, as places in `all`. Wildcards stand here from the dot on (`.example.com`), where no host does.
    by_name: HashMap<Box<str>, Vec<usize>>,
}

impl Certificates {
    /// Reads the names in the certificates.
    ///
    /// # Errors
    /// `Config`: there is no certificate, or its names can't be read.
    pub(super) fn new(certified: Vec<CertifiedKey>) -> Result<Self> {
        if certified.is_empty() {
            return Err(Error::config("TLS needs a certificate; give one"));
        }
        let mut by_name = HashMap::<Box<str>, Vec<usize>>::new();
        for (place, certified) in certified.iter().enumerate() {
            for name in names(certified)? {
                by_name.entry(name).or_default().push(place);
            }
        }
        Ok(Self { all: certified.into_iter().map(Arc::new).collect(), by_name })
    }

    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let holders = name.and_then(|name| self.holders(name));
        let understood = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        let picked = match holders {
            Some(holders) => holders.iter().map(|place| &self.all[*place]).find(understood),
            None => self.all.iter().find(understood),
        };
        picked.cloned()
    }

    /// The certificates that hold `name`: those with the name itself, or else with `*` for its first label only.
    fn holders(&self, name: &str) -> Option<&Vec<usize>> {
        let wildcard = || self.by_name.get(&name[name.find('.')?..]);
        self.by_name.get(name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes())
    }
}

/// The DNS names in a certificate, in lower case, as rustls shows those that callers ask for.
fn names(certified: &CertifiedKey) -> Result<Vec<Box<str>>> {
    let certificate = certified.end_entity_cert().map_err(Error::config)?;
    let parsed = EndEntityCert::try_from(certificate).map_err(Error::config)?;
    let key = |name: &str| name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase().into_boxed_str();
    Ok(parsed.valid_dns_names().map(key).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const ED25519: SignatureScheme = SignatureScheme::ED25519;

    fn certified(names: &[&str], algorithm: &'static SignatureAlgorithm) -> CertifiedKey {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        CertifiedKey::from_der(vec![certificate.der().clone()], key, &super::super::provider()).unwrap()
    }

    /// Three shops: the place of the certificate that a caller sees.
    #[track_caller]
    fn check(name: Option<&str>, schemes: &[SignatureScheme], expected: Option<usize>) {
        let certificates = Certificates::new(vec![
            certified(&["shop.example", "127.0.0.1"], &PKCS_ECDSA_P256_SHA256),
            certified(&["*.shop.example", "other.example"], &PKCS_ECDSA_P256_SHA256),
            certified(&["vip.shop.example", "Shop.Example"], &PKCS_ED25519),
        ]);
        let certificates = certificates.unwrap();
        let place = |certified: Arc<CertifiedKey>| {
            certificates.all.iter().position(|ours| Arc::ptr_eq(ours, &certified)).unwrap()
        };
        assert_eq!(certificates.pick(name, schemes).map(place), expected, "{name:?} {schemes:?}");
    }

    #[test]
    fn a_name_itself_wins_over_a_wildcard_and_a_wildcard_over_the_first() {
        let all = &[ECDSA, ED25519];
        check(Some("shop.example"), all, Some(0));
        check(Some("a.shop.example"), all, Some(1));
        check(Some("vip.shop.example"), all, Some(2));
        check(Some("other.example"), all, Some(1));
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        check(Some("a.b.shop.example"), &[ECDSA], Some(0));
        check(Some("example"), &[ECDSA], Some(0));
    }

    #[test]
    fn who_names_nobody_that_we_know_sees_the_first() {
        check(None, &[ECDSA, ED25519], Some(0));
        check(Some("stranger.example"), &[ECDSA, ED25519], Some(0));
    }

    #[test]
    fn among_certificates_of_one_name_the_caller_gets_one_that_it_understands() {
        check(Some("shop.example"), &[ED25519], Some(2));
        check(Some("other.example"), &[ED25519], None);
    }

    #[test]
    fn without_a_certificate_there_is_no_tls() {
        assert!(Certificates::new(Vec::new()).unwrap_err().to_string().contains("needs a certificate"));
    }
}
