//! Which addresses the Sentinels may name, and under which we reach them. Kind: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use proxy_core::net::Addr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An address as Sentinels write it: host and port apart, an IPv6 address without brackets.
pub(super) fn address(host: &str, port: &str) -> Option<Addr> {
    let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let addr: Addr = text.parse().ok()?;
    (!matches!(addr, Addr::Tcp { port: 0, .. })).then_some(addr)
}

/// A network, an IP address, a host name, or a domain (`.example.com`) that Sentinels may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// All addresses of a network.
    Net(IpNet),
    /// One host name.
    Host(String),
    /// Every host name that ends like this, the dot included.
    Domain(String),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a network (10.0.0.0/8), an IP address, a host name nor a domain (.example.com)")]
pub struct NoPattern(String);

impl FromStr for Pattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        if let Ok(net) = text.parse() {
            return Ok(Self::Net(net));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Net(ip.into()));
        }
        let name = text.strip_prefix('.').unwrap_or(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(NoPattern(text.to_owned()));
        }
        let text = text.to_ascii_lowercase();
        Ok(if text.starts_with('.') { Self::Domain(text) } else { Self::Host(text) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Host(name) | Self::Domain(name) => f.write_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The addresses that Sentinels may name; an empty list allows all.
///
/// Sentinels believe whoever publishes to `__sentinel__:hello` (Redis' documentation of Sentinel says so), so that
/// they can be made to name any address; this list is the fence around what we then believe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AllowList(Vec<Pattern>);

impl From<Vec<Pattern>> for AllowList {
    fn from(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }
}

impl AllowList {
    /// Whether this address may be named. A host name that no pattern names may still be allowed by what it resolves to:
    /// see [`AllowList::allows_ip`].
    pub fn allows(&self, addr: &Addr) -> bool {
        if self.0.is_empty() {
            return true;
        }
        match addr {
            Addr::Unix(_) => false,
            Addr::Tcp { host, .. } => match host.parse() {
                Ok(ip) => self.allows_ip(ip),
                Err(_) => self.names(host) || self.has_nets(),
            },
        }
    }

    /// Whether a host may be reached at this IP address: the last word where a name stands in between.
    pub fn allows_peer(&self, host: &str, ip: IpAddr) -> bool {
        self.0.is_empty() || self.names(host) || self.allows_ip(ip)
    }

    fn allows_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|pattern| matches!(pattern, Pattern::Net(net) if net.contains(&ip)))
    }

    fn has_nets(&self) -> bool {
        self.0.iter().any(|pattern| matches!(pattern, Pattern::Net(_)))
    }

    fn names(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.0.iter().any(|pattern| match pattern {
            Pattern::Net(_) => false,
            Pattern::Host(name) => *name == host,
            Pattern::Domain(domain) => host.ends_with(domain.as_str()),
        })
    }
}

/// Under which address we reach what the Sentinels call by another: networks behind NAT, containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AddressMap(BTreeMap<String, Addr>);

impl FromIterator<(Addr, Addr)> for AddressMap {
    fn from_iter<I: IntoIterator<Item = (Addr, Addr)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(named, reached)| (named.to_string(), reached)).collect())
    }
}

impl AddressMap {
    /// Where we reach this address.
    pub fn reach(&self, named: Addr) -> Addr {
        self.0.get(&named.to_string()).cloned().unwrap_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str]) -> AllowList {
        AllowList(patterns.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[track_caller]
    fn check(patterns: &[&str], addr: &str, allowed: bool) {
        assert_eq!(list(patterns).allows(&addr.parse().unwrap()), allowed, "{patterns:?} {addr}");
    }

    #[test]
    fn networks_addresses_names_and_domains_allow() {
        check(&[], "10.0.0.1:6379", true);
        check(&["10.0.0.0/8"], "10.9.9.9:6379", true);
        check(&["10.0.0.0/8"], "11.0.0.1:6379", false);
        check(&["::1"], "[::1]:6379", true);
        check(&["redis-1"], "Redis-1:6379", true);
        check(&["redis-1"], "redis-2:6379", false);
        check(&[".redis.svc"], "a.redis.svc:6379", true);
        check(&[".redis.svc"], "redis.svc:6379", false);
        check(&["redis-1"], "10.0.0.1:6379", false);
        check(&["10.0.0.0/8"], "/run/redis.sock", false);
    }

    #[test]
    fn a_name_is_judged_by_what_it_resolves_to() {
        let list = list(&["10.0.0.0/8"]);
        assert!(list.allows(&"redis-1:6379".parse().unwrap()), "it may yet resolve well");
        assert!(list.allows_peer("redis-1", [10, 1, 1, 1].into()));
        assert!(!list.allows_peer("redis-1", [127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_pattern_says_so() {
        for text in ["", ".", "a b", "10.0.0.0/99"] {
            assert!(text.parse::<Pattern>().unwrap_err().to_string().contains("network"), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<Pattern>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_mapped_address_is_reached_elsewhere() {
        let pair = |text: &str| text.parse::<Addr>().unwrap();
        let map: AddressMap = [(pair("10.0.0.5:6379"), pair("redis-1.example:6379"))].into_iter().collect();
        assert_eq!(map.reach(pair("10.0.0.5:6379")), pair("redis-1.example:6379"));
        assert_eq!(map.reach(pair("10.0.0.6:6379")), pair("10.0.0.6:6379"));
    }
}
