//! Whose request a chain of proxies passes on: X-Forwarded-For, read from the right. Kind: pure.
//!
//! Each proxy writes behind what it was sent whom it was sent it by. So only what a proxy of ours wrote is true, and
//! that is what is furthest to the right: whoever reads from the left, as the application behind us does, believes the
//! client. The standard's own `Forwarded` (RFC 7239) is not read: none of the proxies that stand in front of us writes it
//! unasked, and two sources for one truth are a way to lie.

use std::net::{IpAddr, SocketAddr};

use super::text::trim;

/// How many proxies are gone through; more stand in front of nobody.
const HOPS: usize = 16;

/// The client's address: from the one that called us through the addresses in the fields' values, as long as what has
/// been found is a trusted proxy's. What is no address ends the way, for a proxy that doesn't say whom it speaks for
/// speaks for itself.
pub fn client<'a>(
    peer: IpAddr,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let elements = values.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    for element in elements.map(trim).filter(|element| !element.is_empty()).take(HOPS) {
        if !trusted(client) {
            return client;
        }
        match address(element) {
            Some(address) => client = address,
            None => return client,
        }
    }
    client
}

/// An address, with or without a port; some proxies write one.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trusts 10.0.0.0/8 and ::1.
    #[track_caller]
    fn check(peer: &str, values: &[&str], client: &str) {
        let trusted = |address| match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.is_loopback(),
        };
        let values_bytes = values.iter().map(|value| value.as_bytes());
        let found = super::client(peer.parse().unwrap(), values_bytes, trusted);
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer}, {values:?}");
    }

    #[test]
    fn a_stranger_speaks_for_itself() {
        check("203.0.113.9", &[], "203.0.113.9");
        check("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
        check("203.0.113.9", &["10.0.0.1"], "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_speaks_for_the_last_that_it_names() {
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["1.2.3.4, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1");
        check("10.0.0.1", &["1.2.3.4", "198.51.100.1", "10.0.0.2,10.0.0.3"], "198.51.100.1");
        check("::1", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn an_address_may_have_a_port_or_brackets_and_ipv4_one_form() {
        check("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1");
        check("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1");
    }

    #[test]
    fn what_is_no_address_ends_the_way() {
        for value in ["unknown", "1.2.3.4, unknown", "1.2.3.4, _x", "1.2.3.4, 1.2.3", "1.2.3.4, 1.2.3.4 5"] {
            check("10.0.0.1", &[value], "10.0.0.1");
        }
        check("10.0.0.1", &["198.51.100.1,,\t, "], "198.51.100.1");
        check("10.0.0.1", &["198.51.100.1", &["10.0.0.2"; 16].join(",")], "10.0.0.2");
    }
}
