//! Headers for those behind us. Kind: pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::parse::V2_SIGNATURE;
use crate::net::Peer;

/// The version to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The header that says: this connection is `source`'s, who called `destination`. A unix socket at either end has no
/// address to tell, and the header says so.
pub fn header(version: Version, source: Peer, destination: Peer) -> Vec<u8> {
    let ends =
        source.addr().zip(destination.addr()).map(|(source, destination)| Ends::of(source, destination));
    match version {
        Version::V1 => v1(ends),
        Version::V2 => v2(ends),
    }
}

/// Two ends of one family: a header can't mix them, so a mixed pair is told as IPv6, the IPv4 end being mapped.
enum Ends {
    Inet { ips: [Ipv4Addr; 2], ports: [u16; 2] },
    Inet6 { ips: [Ipv6Addr; 2], ports: [u16; 2] },
}

impl Ends {
    fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        let ports = [source.port(), destination.port()];
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::Inet { ips: [source, destination], ports },
            (source, destination) => Self::Inet6 { ips: [source, destination].map(as_ipv6), ports },
        }
    }
}

fn as_ipv6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn v1(ends: Option<Ends>) -> Vec<u8> {
    let line = match ends {
        Some(Ends::Inet { ips: [from, to], ports: [near, far] }) => {
            format!("PROXY TCP4 {from} {to} {near} {far}\r\n")
        }
        Some(Ends::Inet6 { ips: [from, to], ports: [near, far] }) => {
            format!("PROXY TCP6 {from} {to} {near} {far}\r\n")
        }
        None => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}

fn v2(ends: Option<Ends>) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    header.push(0x21); // version 2, command PROXY
    match ends {
        Some(Ends::Inet { ips, ports }) => {
            header.extend([0x11, 0, 12]); // TCP over IPv4, and the length of what follows
            header.extend(ips.iter().flat_map(Ipv4Addr::octets));
            header.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        }
        Some(Ends::Inet6 { ips, ports }) => {
            header.extend([0x21, 0, 36]); // TCP over IPv6, and the length of what follows
            header.extend(ips.iter().flat_map(Ipv6Addr::octets));
            header.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        }
        None => header.extend([0x00, 0, 0]), // unspecified, and nothing follows
    }
    header
}
