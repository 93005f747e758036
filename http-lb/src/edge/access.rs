//! Who may come in: by network, and by name and password. Kind: pure.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

/// The longest name and password together, as they are sent.
const LONGEST: usize = 512;

/// Networks that may and may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
}

impl Addresses {
    /// The denied ones may not; of the others those that are allowed, or all if nobody is.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self { allow: allow.into(), deny: deny.into() }
    }

    /// Whether a client may come in.
    #[inline]
    pub fn admit(&self, ip: IpAddr) -> bool {
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

/// Names and how their passwords are verified.
pub type Users = HashMap<String, String>;

/// Reads a file of `htpasswd -B`: `name:$2y$…` in each line. Other hashes are refused: a stolen file would give away the
/// passwords.
///
/// # Errors
/// The number of the line and the remedy; never what stands there.
pub fn read_users(text: &str) -> Result<Users, String> {
    let mut users = Users::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or(format!("line {number}: expected name:hash"))?;
        let bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|kind| hash.starts_with(kind)) && hash.len() == 60;
        if !bcrypt {
            return Err(format!("line {number}: only bcrypt is taken; make it by htpasswd -B"));
        }
        if users.insert(name.to_owned(), hash.to_owned()).is_some() {
            return Err(format!("line {number}: {name:?} stands there twice"));
        }
    }
    Ok(users)
}

/// Name and password in `Authorization: Basic …` (RFC 7617).
pub fn credentials(field: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > LONGEST {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

    #[track_caller]
    fn check(allow: &[&str], deny: &[&str], ip: &str, expected: bool) {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let addresses = Addresses::new(&nets(allow), &nets(deny));
        assert_eq!(addresses.admit(ip.parse().unwrap()), expected, "{ip}");
    }

    #[test]
    fn deny_goes_before_allow() {
        check(&[], &[], "192.0.2.1", true);
        check(&["192.0.2.0/24"], &[], "192.0.2.1", true);
        check(&["192.0.2.0/24"], &[], "198.51.100.1", false);
        check(&["192.0.2.0/24"], &["192.0.2.1/32"], "192.0.2.1", false);
        check(&[], &["2001:db8::/32"], "2001:db8::1", false);
        check(&[], &["2001:db8::/32"], "192.0.2.1", true);
    }

    #[test]
    fn files_hold_bcrypt_and_nothing_else() {
        let users = read_users(&format!("# people\n\nann:{HASH}\nbob:{HASH}\n")).unwrap();
        assert_eq!(users.len(), 2);
        let refused = |text: &str| read_users(text).unwrap_err();
        assert!(refused("ann:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=").contains("htpasswd -B"));
        assert!(refused("ann:secret").contains("line 1") && !refused("ann:secret").contains("secret"));
        assert!(refused(&format!("ann:{HASH}\nann:{HASH}")).contains("twice"));
        assert!(refused("ann").contains("name:hash"));
    }

    #[test]
    fn credentials_are_decoded() {
        let read = |field: &str| credentials(field.as_bytes());
        assert_eq!(read("Basic YW5uOnBhOnNz"), Some(("ann".into(), "pa:ss".into())));
        assert_eq!(read("basic YW5uOg=="), Some(("ann".into(), String::new())));
        assert_eq!(read("Bearer YW5uOg=="), None);
        assert_eq!(read("Basic %%%"), None);
        assert_eq!(read("Basic"), None);
        assert_eq!(read(&format!("Basic {}", "A".repeat(600))), None);
    }
}
