//! What the router makes of a suite, beside what Redis itself does. Kind: pure.

use std::fmt::Write;

use serde::Serialize;

use super::differences::{self, Difference};
use super::outcomes::{Ended, Outcome, Outcomes};
use super::plan::{Resp, Suite};

/// One suite in one version of the protocol.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    suite: &'static str,
    version: &'static str,
    resp: u8,
    direct: Counts,
    router: Counts,
    /// What passes directly alone, by design.
    expected: Vec<Found>,
    /// The same, without a reason.
    unexpected: Vec<Found>,
    /// In the list of differences, and not different.
    vanished: Vec<String>,
    /// Passed through the router only when they were tried again, without the others.
    unsteady: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// A test that passes directly alone.
#[derive(Debug, Serialize)]
struct Found {
    test: String,
    /// What it said through the router, or why the difference is meant.
    why: String,
}

/// All that ran.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Suite by suite.
    pub(super) cells: Vec<Comparison>,
}

/// The tests that pass directly and, for no known reason, not through the router.
pub(super) fn worse(suite: &str, resp: Resp, direct: &Outcomes, routed: &Outcomes) -> Vec<String> {
    let all = lost(direct, routed).map(|(test, _)| test);
    all.filter(|test| differences::of(suite, resp, test).is_none()).map(ToOwned::to_owned).collect()
}

/// The tests that pass directly and not through the router. One that was not even found there counts.
fn lost<'a>(
    direct: &'a Outcomes,
    routed: &'a Outcomes,
) -> impl Iterator<Item = (&'a str, Option<&'a Ended>)> {
    let passed = direct.tests.iter().filter(|(_, ended)| ended.outcome == Outcome::Passed);
    let both = passed.map(|(test, _)| (test.as_str(), routed.tests.get(test)));
    both.filter(|(_, ended)| ended.is_none_or(|ended| ended.outcome != Outcome::Passed))
}

impl Comparison {
    /// `complete`: all tests ran, so that a listed difference which is none has vanished.
    pub(super) fn of(
        suite: &Suite,
        resp: Resp,
        direct: &Outcomes,
        routed: &Outcomes,
        complete: bool,
    ) -> Self {
        let (mut expected, mut unexpected) = (Vec::new(), Vec::new());
        for (test, ended) in lost(direct, routed) {
            let why = ended.map_or("it did not run", |ended| &ended.why);
            let found = |why: &str| Found { test: test.to_owned(), why: why.to_owned() };
            match differences::of(suite.name, resp, test) {
                Some(difference) => expected.push(found(difference.why)),
                None => unexpected.push(found(why)),
            }
        }
        let gone = |difference: &&Difference| {
            let mut seen = expected.iter();
            difference.steady && !seen.any(|found| difference.covers(suite.name, resp, &found.test))
        };
        let vanished = differences::all().iter().filter(|d| complete && d.concerns(suite.name, resp));
        let vanished = vanished.filter(gone).map(|difference| difference.test.to_owned()).collect();
        Self {
            suite: suite.name,
            version: suite.version,
            resp: resp.number(),
            direct: Counts::of(direct),
            router: Counts::of(routed),
            expected,
            unexpected,
            vanished,
            unsteady: Vec::new(),
        }
    }

    /// With the tests that were not as good as directly at `first`.
    pub(super) fn after_retries(mut self, first: Vec<String>) -> Self {
        let differs = |test: &String| self.unexpected.iter().any(|found| found.test == *test);
        self.unsteady = first.into_iter().filter(|test| !differs(test)).collect();
        self
    }

    fn is_good(&self) -> bool {
        self.unexpected.is_empty() && self.vanished.is_empty() && self.direct.passed > 0
    }

    fn text(&self, out: &mut String) {
        let Self { suite, version, resp, direct, router, expected, unexpected, vanished, unsteady } = self;
        let _ = writeln!(
            out,
            "{suite} {version} RESP{resp}: {} pass directly, {} through the router; {} differ by design",
            direct.passed,
            router.passed,
            expected.len(),
        );
        for found in unexpected {
            let _ = writeln!(out, "    DIFFERENT {}\n        {}", found.test, found.why);
        }
        for test in unsteady {
            let _ = writeln!(out, "    passed only when tried again alone: {test}");
        }
        for test in vanished {
            let _ = writeln!(out, "    no longer different, take it off the list: {test}");
        }
    }
}

impl Counts {
    fn of(outcomes: &Outcomes) -> Self {
        let [passed, failed, skipped] =
            [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|outcome| outcomes.count(outcome));
        Self { passed, failed, skipped }
    }
}

impl Report {
    /// Nothing is different that should not be, and everything that should be is.
    pub(super) fn is_good(&self) -> bool {
        self.cells.iter().all(Comparison::is_good)
    }

    /// For the terminal.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.cells.iter().for_each(|cell| cell.text(&mut out));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::plan::SUITES;

    fn run(tests: &[(&str, Outcome)]) -> Outcomes {
        let ended = |outcome| Ended { outcome, why: "because".into() };
        Outcomes {
            collected: tests.len(),
            tests: tests.iter().map(|(test, outcome)| ((*test).into(), ended(*outcome))).collect(),
        }
    }

    #[track_caller]
    fn check(direct: Outcome, routed: Option<Outcome>, unexpected: usize) {
        let direct = run(&[("t::a", direct), ("t::b", Outcome::Passed)]);
        let mut routed = run(&routed.map(|outcome| ("t::a", outcome)).into_iter().collect::<Vec<_>>());
        routed.tests.extend(run(&[("t::b", Outcome::Passed)]).tests);
        let comparison = Comparison::of(&SUITES[0], Resp::V2, &direct, &routed, false);
        assert_eq!(comparison.unexpected.len(), unexpected);
        assert_eq!(comparison.is_good(), unexpected == 0);
    }

    #[test]
    fn what_passes_directly_must_pass_through_the_router() {
        use Outcome::*;
        check(Passed, Some(Passed), 0);
        check(Passed, Some(Failed), 1);
        check(Passed, Some(Skipped), 1);
        check(Passed, None, 1);
        check(Failed, Some(Failed), 0);
        check(Failed, Some(Passed), 0);
        check(Skipped, None, 0);
    }

    #[test]
    fn a_listed_difference_that_is_none_is_told() {
        let Some(listed) = differences::all().iter().find(|listed| listed.steady) else { return };
        let suite = SUITES.iter().find(|suite| suite.name == listed.suite).unwrap();
        let direct = run(&[("t::b", Outcome::Passed)]);
        let resp = listed.resp.unwrap_or(Resp::V3);
        let told = |complete| Comparison::of(suite, resp, &direct, &direct, complete).vanished;
        assert!(told(true).iter().any(|test| test == listed.test));
        assert!(told(false).is_empty());
    }
}
