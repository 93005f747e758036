//! Addresses as an operator writes them: `db1:5432`, `[::1]:5432`, `/run/app.sock`, `unix:/run/app.sock`. A host name
//! stays a name here: it is resolved at each connect, so that a record that moves is followed. Kind: pure.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest path that fits `sun_path` together with its final NUL (unix(7)).
const MAX_UNIX_PATH: usize = 107;
/// The longest host name (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Where to connect to, or where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Addr {
    /// A host (a name or an IP address without brackets) and a port.
    Tcp {
        /// A DNS name or an IP address.
        host: String,
        /// The port; 0 lets the kernel choose one, when listening.
        port: u16,
    },
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

impl Addr {
    /// The host to show to TLS and in messages; a unix socket is always this machine.
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// The address without any name service: the IP address and port, where the host is an IP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { host, port } => Some(SocketAddr::new(host.parse().ok()?, *port)),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp { host: addr.ip().to_string(), port: addr.port() }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no address; its message says how one looks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: {reason} (write host:port, [ipv6]:port or unix:/path)")]
pub struct AddrError {
    text: String,
    reason: &'static str,
}

impl FromStr for Addr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let parsed = match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None if text.starts_with('/') => parse_unix(text),
            None => parse_tcp(text),
        };
        parsed.map_err(|reason| AddrError { text: text.to_owned(), reason })
    }
}

fn parse_unix(path: &str) -> Result<Addr, &'static str> {
    if !Path::new(path).is_absolute() {
        return Err("the path of a unix socket must be absolute");
    }
    if path.contains('\0') {
        return Err("the path of a unix socket can't contain a NUL");
    }
    if path.len() > MAX_UNIX_PATH {
        return Err("the path of a unix socket can have 107 bytes at most");
    }
    Ok(Addr::Unix(PathBuf::from(path)))
}

fn parse_tcp(text: &str) -> Result<Addr, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => parse_bracketed(inner)?,
        None => parse_host(host)?,
    };
    Ok(Addr::Tcp { host, port: parse_port(port)? })
}

fn parse_bracketed(host: &str) -> Result<String, &'static str> {
    match host.parse() {
        Ok(IpAddr::V6(ip)) => Ok(ip.to_string()),
        _ => Err("brackets hold an IPv6 address"),
    }
}

fn parse_host(host: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    match host {
        "" => Err("the host is missing"),
        _ if host.contains(':') => Err("an IPv6 address needs brackets"),
        _ if host.len() > MAX_HOST => Err("a host name has 253 bytes at most"),
        _ if !host.bytes().all(allowed) => Err("a host has letters, digits, '-', '_' and '.' only"),
        _ => Ok(host.to_owned()),
    }
}

fn parse_port(port: &str) -> Result<u16, &'static str> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port must be a number from 0 to 65535");
    }
    port.parse().map_err(|_| "the port must be a number from 0 to 65535")
}

impl<'de> Deserialize<'de> for Addr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Addr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16) {
        let addr: Addr = text.parse().unwrap();
        assert_eq!(addr, Addr::Tcp { host: host.into(), port });
        assert_eq!(addr.to_string().parse::<Addr>().unwrap(), addr, "what is printed can be read back");
    }

    #[track_caller]
    fn refuse(text: &str, reason: &str) {
        let error = text.parse::<Addr>().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn hosts_and_ports() {
        check("127.0.0.1:5432", "127.0.0.1", 5432);
        check("db1:5432", "db1", 5432);
        check("db_1.example.com:0", "db_1.example.com", 0);
        check("[::1]:6432", "::1", 6432);
        check("[0:0:0:0:0:0:0:1]:6432", "::1", 6432);
    }

    #[test]
    fn unix_paths_with_and_without_a_scheme() {
        for text in ["/run/x.sock", "unix:/run/x.sock"] {
            let addr: Addr = text.parse().unwrap();
            assert_eq!(addr, Addr::Unix("/run/x.sock".into()));
            assert_eq!(addr.to_string(), "unix:/run/x.sock");
            assert_eq!(addr.host(), "localhost");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        refuse("db1", "the port is missing");
        refuse(":5432", "the host is missing");
        refuse("::1:5432", "an IPv6 address needs brackets");
        refuse("[db1]:5432", "brackets hold an IPv6 address");
        refuse("db1:", "the port must be a number");
        refuse("db1:+5", "the port must be a number");
        refuse("db1:65536", "the port must be a number");
        refuse("a b:1", "letters, digits");
        refuse("unix:run/x", "must be absolute");
        refuse(&format!("/{}", "x".repeat(107)), "107 bytes");
    }

    #[test]
    fn an_ip_address_needs_no_name_service() {
        let socket_addr = |text: &str| text.parse::<Addr>().unwrap().socket_addr();
        assert_eq!(socket_addr("[::1]:1"), Some("[::1]:1".parse().unwrap()));
        assert_eq!(socket_addr("localhost:1"), None);
        assert_eq!(socket_addr("/x"), None);
    }

    #[test]
    fn serde_reads_and_writes_the_same_text() {
        let addr: Addr = serde_json::from_str("\"[::1]:5\"").unwrap();
        assert_eq!(serde_json::to_string(&addr).unwrap(), "\"[::1]:5\"");
        assert!(serde_json::from_str::<Addr>("\"nope\"").is_err());
    }
}
