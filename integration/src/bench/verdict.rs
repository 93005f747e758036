//! What an issue demands, held against what was measured. Kind: pure.

use std::fmt;

use crate::report::{Bench, Sample, Spread};

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

/// A bench, as those who judge it read it.
pub(super) struct Table<'a>(pub(super) &'a Bench);

/// One figure of a round.
pub(super) type Figure = fn(&Sample) -> f64;

impl Table<'_> {
    pub(super) fn median(&self, figure: Figure, case: &str, subject: &str) -> Option<f64> {
        let rounds = &self.0.row(case, subject)?.rounds;
        Some(Spread::of(rounds.iter().map(figure)).median).filter(|median| *median > 0.0)
    }

    /// The median of what the rounds gave, each by itself: within one, the subjects follow each other in a second, and a
    /// machine that is slower in the next minute slows down both sides of the next ratio.
    pub(super) fn ratio(
        &self,
        word: &str,
        figure: Figure,
        case: &str,
        [ours, theirs]: [&str; 2],
        bound: Bound,
    ) -> Option<Verdict> {
        let rounds = |subject| self.0.row(case, subject).map(|row| row.rounds.iter().map(figure));
        let pairs = rounds(ours)?.zip(rounds(theirs)?).filter(|(ours, theirs)| *ours > 0.0 && *theirs > 0.0);
        let measured = Spread::of(pairs.map(|(ours, theirs)| ours / theirs)).median;
        (measured > 0.0).then(|| Verdict {
            what: format!("{case}: {word}, {ours} / {theirs}"),
            measured,
            bound,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    #[test]
    fn a_slow_minute_slows_down_both_sides_of_a_ratio() {
        let row = |subject: &str, cpu: [f64; 3]| {
            let rounds = cpu.map(|cpu_us_per_op| Sample { cpu_us_per_op, ..Sample::default() });
            Row::of("get", subject, &rounds)
        };
        let rows = vec![row("us", [8.0, 16.0, 24.0]), row("them", [10.0, 20.0, 10.0])];
        let bench = Bench { suite: "toy".into(), machine: String::new(), rows };
        let ratio =
            Table(&bench).ratio("CPU", |s| s.cpu_us_per_op, "get", ["us", "them"], Bound::AtMost(1.0));
        assert_eq!(ratio.unwrap().to_string(), "met    get: CPU, us / them: 0.80 (at most 1.00)");
    }
}
