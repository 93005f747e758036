//! What is different through the router, and meant to be. Each line is also in `docs/clients.md`. Kind: pure.

use super::plan::Resp;

/// A test that passes directly, and does not through the router, for a reason.
#[derive(Debug)]
pub(super) struct Difference {
    /// Of this suite.
    pub(super) suite: &'static str,
    /// In this version of the protocol; none: in both.
    pub(super) resp: Option<Resp>,
    /// How its name ends, or how it does before its parameters in brackets.
    pub(super) test: &'static str,
    /// Why that is meant.
    pub(super) why: &'static str,
    /// It is different each time, so that it is news if it is not.
    pub(super) steady: bool,
}

const PAUSE: &str = "CLIENT PAUSE would stop the clients of everybody: an operator says it to Redis itself";
const FOLLOW: &str = "whom Redis follows is for Sentinel to say: REPLICAOF, SYNC and PSYNC are refused";
const REDIRECT: &str =
    "CLIENT TRACKING redirects only to a client that has a connection of its own, as a subscriber has";

const DIFFERENCES: &[Difference] = &[
    redis_py("test_commands.py::TestRedisCommands::test_client_pause", PAUSE),
    redis_py("test_commands.py::TestRedisCommands::test_client_pause_all", PAUSE),
    redis_py("test_commands.py::TestRedisCommands::test_client_unpause", PAUSE),
    redis_py("test_commands.py::TestRedisCommands::test_replicaof", FOLLOW),
    redis_py("test_commands.py::TestRedisCommands::test_client_tracking", REDIRECT),
];

const fn redis_py(test: &'static str, why: &'static str) -> Difference {
    Difference { suite: "redis-py", resp: None, test, why, steady: true }
}

/// All of them.
pub(super) fn all() -> &'static [Difference] {
    DIFFERENCES
}

/// The one that explains this test, if there is one.
pub(super) fn of(suite: &str, resp: Resp, test: &str) -> Option<&'static Difference> {
    all().iter().find(|difference| difference.covers(suite, resp, test))
}

impl Difference {
    /// Whether it is about this suite in this version of the protocol.
    pub(super) fn concerns(&self, suite: &str, resp: Resp) -> bool {
        self.suite == suite && self.resp.is_none_or(|only| only == resp)
    }

    /// Whether it is about this test.
    pub(super) fn covers(&self, suite: &str, resp: Resp, test: &str) -> bool {
        let bare = test.split_once('[').map_or(test, |(bare, _)| bare);
        self.concerns(suite, resp) && (test.ends_with(self.test) || bare.ends_with(self.test))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(test: &str, resp: Resp, covered: bool) {
        let difference = Difference {
            suite: "redis-py",
            resp: Some(Resp::V3),
            test: "test_a.py::TestA::test_x",
            why: "",
            steady: true,
        };
        assert_eq!(difference.covers("redis-py", resp, test), covered);
    }

    #[test]
    fn a_difference_covers_a_test_with_all_its_parameters() {
        check("tests/test_a.py::TestA::test_x", Resp::V3, true);
        check("tests/test_a.py::TestA::test_x[single]", Resp::V3, true);
        check("tests/test_a.py::TestA::test_x", Resp::V2, false);
        check("tests/test_a.py::TestA::test_xy", Resp::V3, false);
    }

    /// Whoever uses the router reads the page, not this list.
    #[test]
    fn every_difference_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");
        let page = std::fs::read_to_string(path).unwrap();
        let name = |test: &str| test.rsplit("::").next().unwrap_or_default().to_owned();
        let silent: Vec<_> = all().iter().filter(|listed| !page.contains(&name(listed.test))).collect();
        assert!(silent.is_empty(), "docs/clients.md is silent about {silent:?}");
    }
}
