//! The head of a request as a replica sees it, and of its answer as the client does. Kind: pure.
//!
//! What a proxy says about the client is written anew, never added to: Pretix takes the first address of
//! `X-Forwarded-For`, and gunicorn reads `X_Forwarded_For` as the same name. What belongs to one connection only stays
//! there (RFC 9110 7.6.1). Lines are copied as they are, without an allocation for each.

use proxy_core::decimal::put_decimal;

use crate::config::Algorithm;
use crate::wire::{Name, RequestHead, ResponseHead};

use super::ids::{self, RequestId};
use super::origin::Origin;
use super::redirect::{Upgrade, rewritten};
use super::route::Route;
use super::rules::{Scene, scheme, write_ip};

/// How a request goes on.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Its route.
    pub route: &'a Route,
    /// Its path in normal form.
    pub path: &'a [u8],
    /// Who asks.
    pub origin: &'a Origin,
    /// Its id.
    pub id: &'a RequestId,
    /// The field that carries the id, lower case.
    pub id_field: &'a [u8],
    /// The number by which a new trace calls us; `None`: traces are not ours.
    pub span: Option<u64>,
    /// The `Host` that the replica sees; the client's own if absent.
    pub host: Option<&'a [u8]>,
    /// Its body.
    pub body: Body,
    /// What becomes of the connection to the replica.
    pub connection: Connection<'a>,
}

/// How the body is sent to the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none, and none was announced.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks, because nobody knows yet.
    Chunked,
}

/// What the replica is told about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection<'a> {
    /// Another request may follow: nothing needs to be said.
    Keep,
    /// This is the only request.
    Close,
    /// It shall become this protocol.
    Upgrade(&'a [u8]),
}

/// Writes the whole head for the replica, with the empty line behind it.
pub fn forward_head(out: &mut Vec<u8>, head: &RequestHead, about: &About<'_>) {
    out.reserve(head.target().len() + 512);
    write_line(out, head, about);
    line(out, b"host", about.host.unwrap_or_else(|| head.host()));
    let rules = &about.route.request_rules;
    for field in head.entries() {
        let ours = is_ours(field.known, field.name) || field.name == about.id_field;
        if !(ours || head.nominates(field.name) || rules.drops(field.name)) {
            out.extend_from_slice(field.line);
        }
    }
    write_trace(out, head, about);
    write_client(out, head, about);
    rules.write(out, &Scene { head, origin: about.origin, id: about.id });
    write_body(out, about.body);
    match about.connection {
        Connection::Keep => {}
        Connection::Close => out.extend_from_slice(b"connection: close\r\n"),
        Connection::Upgrade(protocol) => {
            out.extend_from_slice(b"connection: upgrade\r\n");
            line(out, b"upgrade", protocol);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, head: &RequestHead, about: &About<'_>) {
    out.extend_from_slice(head.method_text());
    out.push(b' ');
    match &about.route.rewrite {
        None => out.extend_from_slice(head.target()),
        Some(with) => out.extend_from_slice(&rewritten(head, about.path, &about.route.prefix, with)),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Whether a field of the client's is left out, because we write it, because it is about its connection only, or because
/// it would be believed to come from a proxy.
fn is_ours(known: Name, name: &[u8]) -> bool {
    match known {
        Name::Other => is_suspicious(name),
        Name::Host
        | Name::ContentLength
        | Name::Expect // answered here (RFC 9110 10.1.1)
        | Name::Forwarded
        | Name::Proxy // httpoxy: CVE-2016-5385
        | Name::RemoteUser
        | Name::Traceparent
        | Name::Tracestate
        | Name::XAccelBuffering
        | Name::XAccelCharset
        | Name::XAccelExpires
        | Name::XAccelLimitRate
        | Name::XAccelRedirect
        | Name::XForwardedFor
        | Name::XForwardedHost
        | Name::XForwardedPort
        | Name::XForwardedPrefix
        | Name::XForwardedProto
        | Name::XForwardedServer
        | Name::XForwardedSsl
        | Name::XRealIp
        | Name::XRequestId => true,
        other => other.is_hop_by_hop(),
    }
}

/// A name with an underscore is the same variable to WSGI as one with a hyphen, so that it slips past whoever looks for
/// the latter; `SCRIPT_NAME` moves gunicorn's root.
fn is_suspicious(name: &[u8]) -> bool {
    let families: [&[u8]; 4] = [b"x-forwarded-", b"x-accel-", b"remote-", b"x-original-"];
    memchr::memchr(b'_', name).is_some()
        || families.iter().any(|family| name.starts_with(family))
        || matches!(name, b"script-name" | b"path-info" | b"x-rewrite-url" | b"x-client-ip")
}

/// Continues the trace of a proxy that we trust, state and all; begins one for others.
fn write_trace(out: &mut Vec<u8>, head: &RequestHead, about: &About<'_>) {
    if let Some(trace) = ids::continued(head, about.origin.trusted) {
        line(out, b"traceparent", trace);
        head.all(Name::Tracestate).for_each(|state| line(out, b"tracestate", state));
    } else if let Some(span) = about.span {
        line(out, b"traceparent", &ids::begin(about.id.number(), span));
    }
}

fn write_client(out: &mut Vec<u8>, head: &RequestHead, about: &About<'_>) {
    out.extend_from_slice(b"x-forwarded-for: ");
    let start = out.len();
    write_ip(out, about.origin);
    let end = out.len();
    out.extend_from_slice(b"\r\nx-real-ip: ");
    out.extend_from_within(start..end);
    out.extend_from_slice(b"\r\nx-forwarded-proto: ");
    out.extend_from_slice(scheme(about.origin));
    out.extend_from_slice(b"\r\nx-forwarded-host: ");
    out.extend_from_slice(head.host());
    out.extend_from_slice(b"\r\nx-forwarded-port: ");
    put_decimal(out, u64::from(about.origin.port));
    out.extend_from_slice(b"\r\n");
    line(out, about.id_field, about.id.as_bytes());
}

fn write_body(out: &mut Vec<u8>, body: Body) {
    match body {
        Body::None => {}
        Body::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            put_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Body::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

/// How an answer goes back.
#[derive(Debug, Clone, Copy)]
pub struct Back<'a> {
    /// The request.
    pub head: &'a RequestHead,
    /// Its route.
    pub route: &'a Route,
    /// Who asked.
    pub origin: &'a Origin,
    /// The request's id.
    pub id: &'a RequestId,
    /// The field that carries it.
    pub id_field: &'a [u8],
    /// The way to https.
    pub https: &'a Upgrade,
    /// How the body is sent.
    pub coding: Coding,
}

/// What was decided about the coding of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Coding {
    /// It is passed on as it is.
    #[default]
    AsItIs,
    /// It is passed on as it is, but another client would have got it compressed.
    Varies,
    /// It is compressed here.
    With(Algorithm),
}

/// What was found on the way through the fields of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// There was a Date, and it was passed on.
    pub dated: bool,
}

/// Writes the fields of a replica's answer for the client, but those that frame it.
pub fn answer_fields(out: &mut Vec<u8>, answer: &ResponseHead, back: &Back<'_>) -> Passed {
    let mut passed = Passed::default();
    let rules = &back.route.response_rules;
    let compressed = matches!(back.coding, Coding::With(_));
    for field in answer.entries() {
        match field.known {
            Name::ContentLength
            | Name::Server
            | Name::XAccelBuffering
            | Name::XAccelCharset
            | Name::XAccelExpires
            | Name::XAccelLimitRate
            | Name::XAccelRedirect
            | Name::XRequestId => {}
            known if known.is_hop_by_hop() => {}
            _ if answer.nominates(field.name) || rules.drops(field.name) => {}
            Name::Date => {
                passed.dated = true;
                out.extend_from_slice(field.line);
            }
            Name::Etag if compressed => weaken(out, field.value),
            Name::AcceptRanges if compressed => {}
            Name::Other if field.name == back.id_field => {}
            _ => out.extend_from_slice(field.line),
        }
    }
    write_coding(out, answer, back.coding);
    added_fields(out, back);
    passed
}

/// What every answer carries, also one of ours: its id, what https demands, and the route's own fields.
pub fn added_fields(out: &mut Vec<u8>, back: &Back<'_>) {
    line(out, back.id_field, back.id.as_bytes());
    if let Some(hsts) = back.https.hsts.as_deref().filter(|_| back.origin.https) {
        line(out, b"strict-transport-security", hsts);
    }
    back.route.response_rules.write(out, &Scene { head: back.head, origin: back.origin, id: back.id });
}

/// The bytes are no longer the same, only what they mean (RFC 9110 8.8.1).
fn weaken(out: &mut Vec<u8>, etag: &[u8]) {
    match etag.starts_with(b"W/") {
        true => line(out, b"etag", etag),
        false => {
            out.extend_from_slice(b"etag: W/");
            out.extend_from_slice(etag);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_coding(out: &mut Vec<u8>, answer: &ResponseHead, coding: Coding) {
    if let Coding::With(algorithm) = coding {
        line(out, b"content-encoding", algorithm.name().as_bytes());
    }
    if coding != Coding::AsItIs && !varies(answer) {
        out.extend_from_slice(b"vary: accept-encoding\r\n");
    }
}

/// Whether the answer says already that it depends on `Accept-Encoding`.
fn varies(answer: &ResponseHead) -> bool {
    let names = |list: &[u8]| {
        let mut words = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        words.any(|word| word == b"*" || word.eq_ignore_ascii_case(b"accept-encoding"))
    };
    answer.all(Name::Vary).any(names)
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
