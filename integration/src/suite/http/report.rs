//! What the parts of the suite found. Kind: pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// All that ran.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Part by part.
    pub parts: Vec<Part>,
}

/// One part: what was measured, and what is not as it should be.
#[derive(Debug, Default, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Nothing is wrong, and something was looked at.
    pub good: bool,
    /// By name.
    pub figures: BTreeMap<String, f64>,
    /// What should be otherwise.
    pub wrong: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

impl Part {
    /// An empty one of this name.
    pub fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn set(&mut self, figure: &str, value: f64) {
        self.figures.insert(figure.into(), value);
    }

    pub(super) fn count(&mut self, figure: &str) {
        *self.figures.entry(figure.into()).or_default() += 1.0;
    }

    pub(super) fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// What `check` says of a case, counted.
    pub(super) fn judge(&mut self, case: &str, check: Result<(), String>) {
        self.count("cases");
        match check {
            Ok(()) => self.count("passed"),
            Err(why) => self.wrong(format!("{case}: {why}")),
        }
    }

    /// All was looked at: with its verdict.
    pub(super) fn done(mut self) -> Self {
        self.good = self.wrong.is_empty() && !self.figures.is_empty();
        self
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let verdict = if self.good { "good" } else { "NOT GOOD" };
        let mut out = format!("{}: {verdict}\n", self.name);
        for (name, value) in &self.figures {
            let _ = writeln!(out, "    {name} {}", number(*value));
        }
        for note in &self.notes {
            let _ = writeln!(out, "    {note}");
        }
        for wrong in &self.wrong {
            let _ = writeln!(out, "    WRONG {wrong}");
        }
        out
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

impl Report {
    /// Each part is good.
    pub fn is_good(&self) -> bool {
        self.parts.iter().all(|part| part.good)
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        self.parts.iter().map(Part::text).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_case_is_a_bad_part_and_a_bad_report() {
        let mut part = Part::named("smuggling");
        part.judge("a", Ok(()));
        part.judge("b", Err("because".into()));
        let part = part.done();
        assert!(!part.good && part.figures["cases"] == 2.0 && part.figures["passed"] == 1.0);
        assert!(part.text().contains("WRONG b: because"));
        assert!(!Report { parts: vec![part] }.is_good());
    }

    #[test]
    fn what_looked_at_nothing_is_not_good() {
        assert!(!Part::named("frames").done().good);
    }
}
