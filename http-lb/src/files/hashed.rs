//! Files that are named by their content, and so never change: what Django's manifests and names say. Kind: pure.
//!
//! Only those may be cached for ever. A name that merely looks like one (`name.<12 hex>.ext`) is believed when a manifest has
//! it or when the file's own MD5 begins like that, which is how `ManifestStaticFilesStorage` makes it.

use std::collections::HashSet;

use serde::Deserialize;

/// What Django's `collectstatic` leaves behind.
pub(super) const STATICFILES: &str = "staticfiles.json";
/// What django-compressor's `compress` leaves behind.
pub(super) const COMPRESSOR: &str = "CACHE/manifest.json";

/// How many hexadecimal digits of the hash Django and django-compressor put into a name.
const DIGITS: usize = 12;

/// A manifest says something else than it should.
#[derive(Debug, thiserror::Error)]
#[error("not a manifest: {0}")]
pub(super) struct NotAManifest(#[from] serde_json::Error);

/// The names that manifests vouch for, beneath the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hashed(HashSet<Vec<u8>>);

#[derive(Deserialize)]
struct StaticFiles {
    paths: std::collections::HashMap<String, String>,
}

impl Hashed {
    /// Adds what `staticfiles.json` names. A value that carries no hash is a file that changes under its name.
    pub(super) fn add_staticfiles(&mut self, json: &[u8]) -> Result<(), NotAManifest> {
        let manifest: StaticFiles = serde_json::from_slice(json)?;
        let hashed = manifest.paths.into_values().filter(|name| digits(name.as_bytes()).is_some());
        self.0.extend(hashed.map(String::into_bytes));
        Ok(())
    }

    /// Adds what `CACHE/manifest.json` names: its values are pieces of HTML that link the files.
    pub(super) fn add_compressor(&mut self, json: &[u8]) -> Result<(), NotAManifest> {
        let manifest: std::collections::HashMap<String, String> = serde_json::from_slice(json)?;
        for html in manifest.values() {
            let linked = html.match_indices("CACHE/").map(|(at, _)| &html[at..]);
            let names = linked.map(|rest| rest.split(['"', '\'', '?', ' ', '>']).next().unwrap_or_default());
            let hashed = names.filter(|name| digits(name.as_bytes()).is_some());
            self.0.extend(hashed.map(|name| name.as_bytes().to_vec()));
        }
        Ok(())
    }

    /// Whether a manifest has it.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.0.contains(path)
    }
}

/// The hash in `name.<12 hex>.ext` or `name.<12 hex>`, if there is one.
pub(super) fn digits(path: &[u8]) -> Option<&[u8]> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut parts = name.rsplit(|byte| *byte == b'.');
    let (last, before) = (parts.next()?, parts.next()?);
    if is_hash(last) {
        return Some(last);
    }
    // Something must stand before the hash: `.<hash>.js` would be a dotfile.
    (is_hash(before) && parts.next().is_some_and(|stem| !stem.is_empty())).then_some(before)
}

fn is_hash(part: &[u8]) -> bool {
    part.len() == DIGITS && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        assert_eq!(digits(path.as_bytes()), expected.map(str::as_bytes), "{path}");
    }

    #[test]
    fn twelve_hexadecimal_digits_before_the_extension_are_a_hash() {
        check("pdfjs/pdf.worker.13be3dfaa81d.js", Some("13be3dfaa81d"));
        check("LICENSE.175792518e4a", Some("175792518e4a"));
        check("a.b/app.js", None);
        check("app.13be3dfaa81.js", None);
        check("app.13BE3DFAA81D.js", None);
        check("app.13be3dfaa81g.js", None);
        check("app-13be3dfaa81d.js", None);
        check("13be3dfaa81d.js", None);
        check(".13be3dfaa81d.js", None);
        check("app.13be3dfaa81d.min.js", None);
        check("", None);
    }

    #[test]
    fn a_manifest_vouches_for_its_values_not_for_its_keys() {
        let mut hashed = Hashed::default();
        let json =
            br#"{"paths": {"a.js": "a.0123456789ab.js", "b.js": "b.js"}, "version": "1.1", "hash": "x"}"#;
        hashed.add_staticfiles(json).expect("it is a manifest");
        assert!(hashed.has(b"a.0123456789ab.js"));
        assert!(!hashed.has(b"a.js") && !hashed.has(b"b.js"));
    }

    #[test]
    fn compressed_bundles_are_found_in_the_html_that_links_them() {
        let mut hashed = Hashed::default();
        let json = br#"{"k": "<link href=\"/__compressor_url_placeholder__/CACHE/css/o.2dd1a9868fe3.css\"><script src='/s/CACHE/js/p.89fc5419e752.js'></script>"}"#;
        hashed.add_compressor(json).expect("it is a manifest");
        assert!(hashed.has(b"CACHE/css/o.2dd1a9868fe3.css") && hashed.has(b"CACHE/js/p.89fc5419e752.js"));
    }

    #[test]
    fn what_is_no_manifest_vouches_for_nothing() {
        for json in [&b""[..], b"[]", b"{\"paths\": 3}", b"{\"paths\": {\"a\": 3}}"] {
            assert!(Hashed::default().add_staticfiles(json).is_err());
        }
        assert!(Hashed::default().add_compressor(b"{\"a\": {}}").is_err());
    }
}
