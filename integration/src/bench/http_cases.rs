//! The cases of the HTTP bench. Kind: pure.

use super::plan;
use crate::front::{HAPROXY, NGINX, PINGORA};

/// One row of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) what: What,
    pub(super) tls: bool,
    pub(super) clients: usize,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Throughput and CPU when asked as fast as it answers, over HTTP/1.1 connections that are kept.
    Http1,
    /// The same over HTTP/2, one request at a time on each connection.
    Http2,
    /// Latency under a load that is the same for all.
    Fixed,
    /// A connection, a handshake and a request, one after the other.
    Handshakes {
        /// Whether the client brings what it got the last time.
        resumed: bool,
    },
    /// Memory, with connections that have been used once and have nothing to say.
    Idle,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// 60 bytes of the application, which keeps its connections.
    Get,
    /// The same with a form of 200 bytes.
    Post,
    /// The same of an application that closes each connection, as gunicorn's sync workers do.
    GetClose,
    /// The static file of this size.
    File(usize),
    /// A page's worth: one answer of the application, files of 1, 4 and 16 KiB.
    Page,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The sizes of the static files of all cases.
pub(super) const FILES: [usize; 6] = [KIB, 4 * KIB, 16 * KIB, 64 * KIB, MIB, 10 * MIB];

/// The name of the file of this size.
pub(super) fn file(size: usize) -> String {
    format!("{size}.css")
}

impl Case {
    pub(super) fn all() -> Vec<Self> {
        use Kind::{Fixed, Handshakes, Http1, Http2, Idle};
        let case = |name, kind, what, clients| Self { name, kind, what, tls: false, clients };
        let tls = |name, kind, what, clients| Self { name, kind, what, tls: true, clients };
        vec![
            case("proxy-get-64", Http1, What::Get, 64),
            case("proxy-post-64", Http1, What::Post, 64),
            case("proxy-get-close-64", Http1, What::GetClose, 64),
            case("proxy-get-4000", Http1, What::Get, 4000),
            case("static-1k-64", Http1, What::File(KIB), 64),
            case("static-4k-64", Http1, What::File(4 * KIB), 64),
            case("static-64k-64", Http1, What::File(64 * KIB), 64),
            case("static-1m-64", Http1, What::File(MIB), 64),
            case("static-10m-8", Http1, What::File(10 * MIB), 8),
            tls("tls-get-64", Http1, What::Get, 64),
            tls("tls-static-4k-64", Http1, What::File(4 * KIB), 64),
            tls("h2-get-64", Http2, What::Get, 64),
            tls("h2-static-64", Http2, What::File(4 * KIB), 64),
            tls("gateway-64", Http2, What::Page, 64),
            tls("handshakes-full", Handshakes { resumed: false }, What::Get, 1),
            tls("handshakes-resumed", Handshakes { resumed: true }, What::Get, 1),
            case("proxy-get-64-fixed", Fixed, What::Get, 64),
            case("static-4k-64-fixed", Fixed, What::File(4 * KIB), 64),
            case("idle-0", Idle, What::Get, 0),
            case("idle-5000", Idle, What::Get, 5000),
            tls("idle-tls-0", Idle, What::Get, 0),
            tls("idle-tls-5000", Idle, What::Get, 5000),
        ]
    }

    /// Who can serve it: HAProxy and pingora's proxy have no files.
    pub(super) fn has_files(self) -> bool {
        matches!(self.what, What::File(_) | What::Page)
    }

    /// With whom the load of a fixed case is found: those whom we are compared with.
    pub(super) fn rivals(self) -> &'static [&'static str] {
        if self.has_files() { &[NGINX] } else { &[NGINX, HAPROXY] }
    }
}

impl What {
    /// The bytes of a body, on average of all paths at least: who has fewer has answered something else.
    pub(super) fn least(self) -> usize {
        match self {
            Self::Get | Self::Post | Self::GetClose => 60,
            Self::File(size) => size,
            // A run may end before each connection has asked for the bigger ones.
            Self::Page => 4 * KIB,
        }
    }

    /// The paths, asked for in turn.
    pub(super) fn paths(self) -> Vec<String> {
        let path = |size: usize| format!("/static/{}", file(size));
        match self {
            Self::Get | Self::Post | Self::GetClose => vec!["/demo/conf/".into()],
            Self::File(size) => vec![path(size)],
            Self::Page => vec!["/demo/conf/".into(), path(KIB), path(4 * KIB), path(16 * KIB)],
        }
    }
}

impl plan::Case for Case {
    fn name(&self) -> String {
        self.name.into()
    }

    fn suits(&self, subject: &str) -> bool {
        !self.has_files() || ![HAPROXY, PINGORA].contains(&subject)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::plan::Case as _;
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: HashSet<String> = Case::all().iter().map(Case::name).collect();
        assert_eq!(names.len(), Case::all().len());
    }

    #[test]
    fn who_has_no_files_sits_out() {
        let case = |name| Case::all().into_iter().find(|case| case.name == name).unwrap();
        assert!(!case("static-4k-64").suits(HAPROXY) && !case("gateway-64").suits(PINGORA));
        assert!(case("static-10m-8").suits(NGINX) && case("h2-get-64").suits(HAPROXY));
    }
}
