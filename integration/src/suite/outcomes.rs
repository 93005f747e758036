//! What a run of a suite tells: one line of JSON for each test, written by the plugin
//! `integration/clients/suite_outcomes.py`. Kind: pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a test ended; the worst of its phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Also where its failure was expected.
    Passed,
    /// Left out.
    Skipped,
    /// In its setup, its body or its end.
    Failed,
}

/// A test's end, and why it was not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) why: String,
}

/// A whole run.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// How many tests were found.
    pub(super) collected: usize,
    /// How each ended.
    pub(super) tests: BTreeMap<String, Ended>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Collected { collected: usize },
    Test { test: String, outcome: Outcome, why: String },
}

impl Outcomes {
    /// What the file says so far; half a line at its end is not read yet.
    pub(super) fn read(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Line::Collected { collected }) => all.collected = collected,
                Ok(Line::Test { test, outcome, why }) => _ = all.tests.insert(test, Ended { outcome, why }),
                Err(_) => {}
            }
        }
        all
    }

    /// How many ended like this.
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.tests.values().filter(|ended| ended.outcome == outcome).count()
    }

    /// Takes over what has passed at another attempt.
    pub(super) fn improve(&mut self, other: Self) {
        self.tests.extend(other.tests.into_iter().filter(|(_, ended)| ended.outcome == Outcome::Passed));
    }

    /// One line about it.
    pub(super) fn summary(&self) -> String {
        let [passed, failed, skipped] =
            [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|outcome| self.count(outcome));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_outcomes() {
        let mut all = Outcomes::read(
            "{\"collected\": 3}\n{\"test\": \"a\", \"outcome\": \"passed\", \"why\": \"\"}\n\
             {\"test\": \"b\", \"outcome\": \"failed\", \"why\": \"no\"}\n{\"test\": \"c\", \"outc",
        );
        assert_eq!((all.collected, all.summary().as_str()), (3, "1 passed, 1 failed, 0 skipped"));
        all.improve(Outcomes::read("{\"test\": \"b\", \"outcome\": \"passed\", \"why\": \"\"}"));
        assert_eq!(all.count(Outcome::Failed), 0);
    }
}
