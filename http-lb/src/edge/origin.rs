//! Who a client is, behind the proxies that we trust. Kind: pure.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::{Name, RequestHead, forwarded_for};

/// Whose words are believed.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    proxies: Vec<IpNet>,
    unix: bool,
}

/// How a connection came in: what its peer can't lie about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its peer, also as the PROXY protocol told; `None`: by a unix socket.
    pub peer: Option<IpAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The port that was called.
    pub port: u16,
}

/// Who asks, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client.
    pub ip: IpAddr,
    /// Whether the client speaks https, be it to a proxy before us.
    pub https: bool,
    /// The port that the client called.
    pub port: u16,
    /// Whether a proxy that we trust passed the request on, so that its ids and traces are believed.
    pub trusted: bool,
}

impl Trust {
    /// Believes proxies of these networks, and those who come by a unix socket if `unix`.
    pub fn new(proxies: Vec<IpNet>, unix: bool) -> Self {
        Self { proxies, unix }
    }

    /// Who is behind a request.
    #[inline]
    pub fn origin(&self, head: &RequestHead, arrival: &Arrival) -> Origin {
        let ip = arrival.peer.map_or(IpAddr::from([127, 0, 0, 1]), |ip| ip.to_canonical());
        let trusted = match arrival.peer {
            Some(_) => self.trusts(ip),
            None => self.unix,
        };
        let seen = Origin { ip, https: arrival.tls, port: arrival.port, trusted };
        if trusted { self.behind(head, seen) } else { seen }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&ip))
    }

    fn behind(&self, head: &RequestHead, seen: Origin) -> Origin {
        // The peer itself is trusted, be it that a unix socket has no address to look up.
        let trusts = |ip: IpAddr| ip == seen.ip || self.trusts(ip);
        let ip = forwarded_for::client(seen.ip, head.all(Name::XForwardedFor), trusts);
        let proto = head.all(Name::XForwardedProto).next_back().map(last);
        let https = match proto {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => true,
            Some(proto) if proto.eq_ignore_ascii_case(b"http") => false,
            _ => seen.https,
        };
        let port = head.known(Name::XForwardedPort).and_then(number);
        let usual = if https { 443 } else { 80 };
        let port = port.unwrap_or(if https == seen.https { seen.port } else { usual });
        Origin { ip, https, port, ..seen }
    }
}

/// The last word of a list.
fn last(list: &[u8]) -> &[u8] {
    list.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
