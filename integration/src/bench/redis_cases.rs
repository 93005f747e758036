//! The cases of the Redis bench. Kind: pure.

use super::plan;
use crate::open_loop::Verb;

/// redis-router as it is by default, and in its other mode.
pub(super) const ROUTER: &str = "redis-router";
pub(super) const PASSTHROUGH: &str = "redis-router-passthrough";

/// One row of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) verb: Verb,
    pub(super) clients: usize,
    pub(super) pipeline: usize,
    pub(super) size: usize,
    pub(super) tls: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Throughput and CPU when asked as fast as it answers, latency under a fixed load.
    Full,
    /// Latency under that load alone, for longer.
    Fixed,
    /// Latency of small values, asked for as fast as they come.
    Alone,
    /// The same beside one reader of values of 10 MiB.
    BesideBig,
    /// Memory, with connections that have nothing to say.
    Idle,
}

/// The size where none is named.
const SIZE: usize = 16;

const GET: Case =
    Case { kind: Kind::Full, verb: Verb::Get, clients: 50, pipeline: 1, size: SIZE, tls: false };
const SET: Case = Case { verb: Verb::Set, ..GET };

impl Case {
    pub(super) fn all() -> Vec<Self> {
        vec![
            Self { clients: 1, ..GET },
            Self { clients: 16, ..GET },
            GET,
            Self { clients: 500, ..GET },
            Self { clients: 5000, ..GET },
            Self { pipeline: 16, ..GET },
            Self { clients: 500, pipeline: 16, ..GET },
            Self { size: 1024, ..GET },
            Self { size: 4096, ..GET },
            Self { size: 65536, ..GET },
            Self { tls: true, ..GET },
            Self { clients: 1, ..SET },
            SET,
            Self { clients: 500, ..SET },
            Self { pipeline: 16, ..SET },
            Self { size: 4096, ..SET },
            Self { size: 65536, ..SET },
            Self { clients: 500, size: 4096, ..SET },
            Self { tls: true, ..SET },
            Self { kind: Kind::Fixed, clients: 500, ..GET },
            Self { kind: Kind::Alone, ..GET },
            Self { kind: Kind::BesideBig, ..GET },
            Self { kind: Kind::Idle, clients: 0, ..GET },
            Self { kind: Kind::Idle, clients: 5000, ..GET },
        ]
    }
}

impl plan::Case for Case {
    fn name(&self) -> String {
        let verb = if self.verb == Verb::Get { "get" } else { "set" };
        let clients = self.clients;
        match self.kind {
            Kind::Idle => return format!("idle-{clients}"),
            Kind::Fixed => return format!("{verb}-{clients}-fixed"),
            Kind::Alone => return format!("{verb}-{clients}-alone"),
            Kind::BesideBig => return format!("{verb}-{clients}-beside-10m"),
            Kind::Full => {}
        }
        let pipeline = if self.pipeline == 1 { String::new() } else { format!("-p{}", self.pipeline) };
        let size = match self.size {
            SIZE => String::new(),
            size if size % 1024 == 0 => format!("-{}k", size / 1024),
            size => format!("-{size}"),
        };
        format!("{verb}-{clients}{pipeline}{size}{}", if self.tls { "-tls" } else { "" })
    }

    /// twemproxy does not encrypt, and where nothing stands in between nothing has memory.
    fn suits(&self, subject: &str) -> bool {
        match subject {
            "twemproxy" => !self.tls,
            "direct" => self.kind != Kind::Idle,
            _ => true,
        }
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
        for name in ["get-1", "get-50", "get-50-p16", "set-500-4k", "get-50-tls", "get-50-64k", "idle-5000"] {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn who_can_not_take_part_sits_out() {
        let tls = Case { tls: true, ..GET };
        assert!(!tls.suits("twemproxy") && tls.suits("haproxy"));
        assert!(GET.suits("direct") && !Case { kind: Kind::Idle, ..GET }.suits("direct"));
    }
}
