//! Where clients are sent instead, and what replicas are asked for instead. Kind: pure.
//!
//! A target comes from the configuration; of the request only the path is in it, and the host where the configuration
//! names those that are ours.

use crate::config::{HostPattern, Https};
use crate::wire::RequestHead;

use super::origin::Origin;

/// The address of a redirect, with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Plain(Box<[u8]>),
    Uri,
    Rest,
    Host,
}

const VARIABLES: [(&str, Part); 3] = [("{uri}", Part::Uri), ("{rest}", Part::Rest), ("{host}", Part::Host)];

impl Target {
    /// Reads `https://shop.example.org{uri}`.
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let next = VARIABLES.iter().filter_map(|(word, part)| Some((rest.find(word)?, word, part)));
            let Some((at, word, part)) = next.min_by_key(|(at, ..)| *at) else {
                parts.push(Part::Plain(rest.as_bytes().into()));
                break;
            };
            if at > 0 {
                parts.push(Part::Plain(rest.as_bytes()[..at].into()));
            }
            parts.push(part.clone());
            rest = &rest[at + word.len()..];
        }
        Self(parts.into())
    }

    /// The address for a request; `prefix` is the route's.
    pub fn of(&self, head: &RequestHead, prefix: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        for part in &self.0 {
            match part {
                Part::Plain(text) => out.extend_from_slice(text),
                Part::Uri => append_path(&mut out, head.target()),
                Part::Rest => append_rest(&mut out, head.target(), prefix),
                Part::Host => out.extend_from_slice(head.host_name()),
            }
        }
        out
    }
}

/// `//evil.example` at the beginning of a Location would be another host (RFC 3986 4.2).
fn append_path(out: &mut Vec<u8>, target: &[u8]) {
    let slashes = target.iter().take_while(|byte| **byte == b'/').count();
    let skip = if out.is_empty() { slashes.saturating_sub(1) } else { 0 };
    out.extend_from_slice(&target[skip..]);
}

/// What follows the prefix as it was sent; all of it where the prefix is spelled in another way.
fn append_rest(out: &mut Vec<u8>, target: &[u8], prefix: &[u8]) {
    let rest = target.strip_prefix(prefix).unwrap_or(target);
    let rest = if out.last() == Some(&b'/') { rest.strip_prefix(b"/").unwrap_or(rest) } else { rest };
    if out.is_empty() { append_path(out, rest) } else { out.extend_from_slice(rest) }
}

/// The way from http to https.
#[derive(Debug, Clone, Default)]
pub struct Upgrade {
    hosts: Vec<HostPattern>,
    port: u16,
    /// The redirect's status.
    pub status: u16,
    /// `Strict-Transport-Security`, for those who came by https.
    pub hsts: Option<Box<[u8]>>,
    redirect: bool,
}

/// What becomes of a request that came in plain.
#[derive(Debug, PartialEq, Eq)]
pub enum Plain {
    /// It is served.
    Fine,
    /// It is sent to this address.
    Elsewhere(Vec<u8>),
    /// Its host is none of ours (RFC 9110 15.5.20).
    Stranger,
}

impl Upgrade {
    /// As configured.
    pub fn new(https: &Https) -> Self {
        let hsts = https.hsts.map(|age| format!("max-age={}", age.as_secs()).into_bytes().into());
        Self {
            hosts: https.hosts.clone(),
            port: https.port,
            status: https.status,
            hsts,
            redirect: https.redirect,
        }
    }

    /// What becomes of this request.
    pub fn of(&self, head: &RequestHead, origin: &Origin) -> Plain {
        if !self.redirect || origin.https {
            return Plain::Fine;
        }
        let host = std::str::from_utf8(head.host_name()).unwrap_or_default();
        if !self.hosts.iter().any(|known| known.matches(host)) {
            return Plain::Stranger;
        }
        let mut out = format!("https://{host}").into_bytes();
        if self.port != 443 {
            out.extend_from_slice(format!(":{}", self.port).as_bytes());
        }
        append_path(&mut out, head.target());
        Plain::Elsewhere(out)
    }
}

/// What a replica is asked for where `with` takes the place of the route's prefix. The prefix was found on the normalised
/// path; where the path as sent spells it in another way, the normalised rest is sent, escaped where it must be.
pub fn rewritten(head: &RequestHead, path: &[u8], prefix: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.target().len() + with.len());
    out.extend_from_slice(with);
    let (rest, decoded) = match head.path().strip_prefix(prefix) {
        Some(rest) => (rest, false),
        None => (path.strip_prefix(prefix).unwrap_or(path), true),
    };
    let rest = if with.ends_with(b"/") { rest.strip_prefix(b"/").unwrap_or(rest) } else { rest };
    if !(rest.is_empty() || rest.starts_with(b"/") || with.ends_with(b"/")) {
        out.push(b'/');
    }
    if decoded {
        escape(&mut out, rest)
    } else {
        out.extend_from_slice(rest)
    }
    if let Some(query) = head.query() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out
}

/// Escapes what may not stand in a path (RFC 3986 3.3).
fn escape(out: &mut Vec<u8>, path: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests;
