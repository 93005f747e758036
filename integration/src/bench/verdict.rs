//! What an issue demands, held against what was measured. Kind: pure.

use std::fmt;

use crate::report::{Bench, Row, Spread};

/// One demand and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) measured: f64,
    pub(super) bound: Bound,
}

/// Where the bar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, bound } = self;
        let word = if bound.holds(*measured) { "met" } else { "MISSED" };
        let (sign, bar) = match bound {
            Bound::AtMost(bar) => ("at most", bar),
            Bound::AtLeast(bar) => ("at least", bar),
        };
        write!(f, "{word:6} {what}: {measured:.2} ({sign} {bar:.2})")
    }
}

/// The medians of a bench.
pub(super) struct Table<'a>(pub(super) &'a Bench);

impl Table<'_> {
    pub(super) fn median(&self, figure: fn(&Row) -> Spread, case: &str, subject: &str) -> Option<f64> {
        self.0.row(case, subject).map(|row| figure(row).median).filter(|median| *median > 0.0)
    }

    pub(super) fn ratio(
        &self,
        word: &str,
        figure: fn(&Row) -> Spread,
        case: &str,
        [ours, theirs]: [&str; 2],
        bound: Bound,
    ) -> Option<Verdict> {
        let measured = self.median(figure, case, ours)? / self.median(figure, case, theirs)?;
        Some(Verdict { what: format!("{case}: {word}, {ours} / {theirs}"), measured, bound })
    }
}
