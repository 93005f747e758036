//! Changes to header fields, with a few things about the request in their values. Kind: pure.

use std::io::Write;
use std::net::IpAddr;

use proxy_core::decimal::put_ipv4;

use crate::config::HeaderRules;
use crate::wire::RequestHead;

use super::ids::RequestId;
use super::origin::Origin;

/// What values may name.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The request.
    pub head: &'a RequestHead,
    /// Who asks.
    pub origin: &'a Origin,
    /// Its id.
    pub id: &'a RequestId,
}

/// Changes, in this order: remove, set, add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Names (lower case) of which nothing of the message's own is left: removed and set.
    gone: Box<[Box<[u8]>]>,
    written: Box<[(Box<[u8]>, Text)]>,
}

/// A value with variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Text(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Plain(Box<[u8]>),
    Client,
    Host,
    Scheme,
    RequestId,
    Method,
}

const VARIABLES: [(&str, Part); 5] = [
    ("{client}", Part::Client),
    ("{host}", Part::Host),
    ("{scheme}", Part::Scheme),
    ("{request_id}", Part::RequestId),
    ("{method}", Part::Method),
];

impl Rules {
    /// As configured; the configuration has checked names and values.
    pub fn new(rules: &HeaderRules) -> Self {
        let name = |name: &String| name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let gone = rules.remove.iter().chain(rules.set.keys()).map(name).collect();
        let pair = |(key, value): (&String, &String)| (name(key), Text::new(value));
        Self { gone, written: rules.set.iter().chain(&rules.add).map(pair).collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.written.is_empty()
    }

    /// Whether a field of this name (lower case) is left out.
    #[inline]
    pub fn drops(&self, name: &[u8]) -> bool {
        self.gone.iter().any(|gone| **gone == *name)
    }

    /// Writes what is set and added.
    pub fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        for (name, text) in &self.written {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            text.write(out, scene);
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Text {
    fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let variable = VARIABLES.iter().find(|(word, _)| rest.starts_with(word));
            if let Some((word, part)) = variable {
                push_plain(&mut parts, &mut plain);
                parts.push(part.clone());
                rest = &rest[word.len()..];
            } else {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        push_plain(&mut parts, &mut plain);
        Self(parts.into())
    }

    /// None of the variables can hold a line break: the head was read strictly.
    fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        for part in &self.0 {
            match part {
                Part::Plain(text) => out.extend_from_slice(text),
                Part::Client => write_ip(out, scene.origin),
                Part::Host => out.extend_from_slice(scene.head.host()),
                Part::Scheme => out.extend_from_slice(scheme(scene.origin)),
                Part::RequestId => out.extend_from_slice(scene.id.as_bytes()),
                Part::Method => out.extend_from_slice(scene.head.method_text()),
            }
        }
    }
}

fn push_plain(parts: &mut Vec<Part>, plain: &mut String) {
    if !plain.is_empty() {
        parts.push(Part::Plain(std::mem::take(plain).into_bytes().into()));
    }
}

/// `http` or `https`.
pub(super) fn scheme(origin: &Origin) -> &'static [u8] {
    if origin.https { b"https" } else { b"http" }
}

/// Most addresses are of four bytes, and are written without the machinery of `fmt`.
pub(super) fn write_ip(out: &mut Vec<u8>, origin: &Origin) {
    match origin.ip {
        IpAddr::V4(ip) => put_ipv4(out, ip),
        IpAddr::V6(ip) => write!(out, "{ip}").expect("a vector takes all that is written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for ip in ["192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::1"] {
            let origin = Origin { ip: ip.parse().unwrap(), https: false, port: 80, trusted: false };
            let mut out = Vec::new();
            write_ip(&mut out, &origin);
            assert_eq!(out, ip.as_bytes());
        }
    }
}
