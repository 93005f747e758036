//! What an issue demands, held against what was measured. Kind: pure.

use std::fmt::{self, Write as _};

use crate::report::{Bench, Sample, Spread};

/// One demand and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) what: String,
    /// The middle of the rounds counts.
    pub(super) measured: Spread,
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

impl Verdict {
    /// A demand on one number.
    pub(super) fn on(what: String, measured: f64, bound: Bound) -> Self {
        Self { what, measured: Spread { min: measured, median: measured, max: measured }, bound }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured: Spread { min, median, max }, bound } = self;
        let word = if bound.holds(*median) { "met" } else { "MISSED" };
        let (sign, bar) = match bound {
            Bound::AtMost(bar) => ("at most", bar),
            Bound::AtLeast(bar) => ("at least", bar),
        };
        write!(f, "{word:6} {what}: {median:.2}")?;
        if min < max {
            write!(f, " [{min:.2}..{max:.2}]")?;
        }
        write!(f, " ({sign} {bar:.2})")
    }
}

/// A bench, as those who judge it read it.
pub(super) struct Table<'a>(pub(super) &'a Bench);

/// One figure of a round.
pub(super) type Figure = fn(&Sample) -> f64;

/// A case, and who was measured in it.
pub(super) type Cell<'a> = (&'a str, &'a str);

impl Table<'_> {
    /// The middle of the rounds; a round without a figure is no number, which no bound holds.
    pub(super) fn median(&self, figure: Figure, case: &str, subject: &str) -> Option<f64> {
        let rounds = &self.0.row(case, subject)?.rounds;
        let whole = !rounds.is_empty() && rounds.iter().all(|round| figure(round) > 0.0);
        Some(if whole { Spread::of(rounds.iter().map(figure)).median } else { f64::NAN })
    }

    /// Errors in all rounds.
    fn errors(&self, (case, subject): Cell<'_>) -> f64 {
        let rounds = self.0.row(case, subject).map_or(&[][..], |row| &row.rounds);
        rounds.iter().map(|round| round.errors).sum()
    }

    /// What the rounds gave, each by itself: within one, the subjects follow each other in seconds, and a machine that is
    /// slower in the next minute slows down both sides of the next ratio. A round without a figure is no number, which no
    /// bound holds, and so is one in which ours failed somebody.
    pub(super) fn ratios(&self, figure: Figure, ours: Cell<'_>, theirs: Cell<'_>) -> Option<Spread> {
        let rounds = |(case, subject)| self.0.row(case, subject).map(|row| row.rounds.iter().map(figure));
        let pairs: Vec<_> = rounds(ours)?.zip(rounds(theirs)?).collect();
        if self.errors(ours) > 0.0 || pairs.iter().any(|(ours, theirs)| *ours <= 0.0 || *theirs <= 0.0) {
            return Some(Spread { min: f64::NAN, median: f64::NAN, max: f64::NAN });
        }
        (!pairs.is_empty()).then(|| Spread::of(pairs.into_iter().map(|(ours, theirs)| ours / theirs)))
    }

    pub(super) fn ratio(
        &self,
        word: &str,
        figure: Figure,
        case: &str,
        [ours, theirs]: [&str; 2],
        bound: Bound,
    ) -> Option<Verdict> {
        let measured = self.ratios(figure, (case, ours), (case, theirs))?;
        let mut what = format!("{case}: {word}, {ours} / {theirs}");
        for subject in [ours, theirs] {
            let errors = self.errors((case, subject));
            if errors > 0.0 {
                let _ = write!(what, " ({subject}: {errors} errors)");
            }
        }
        Some(Verdict { what, measured, bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    fn bench(ours: [f64; 3], theirs: [f64; 3], [our_errors, their_errors]: [f64; 2]) -> Bench {
        let row = |subject: &str, cpu: [f64; 3], errors: f64| {
            let rounds = cpu.map(|cpu_us_per_op| Sample { cpu_us_per_op, errors, ..Sample::default() });
            Row::of("get", subject, &rounds)
        };
        let rows = vec![row("us", ours, our_errors), row("them", theirs, their_errors)];
        Bench { suite: "toy".into(), machine: String::new(), rows }
    }

    #[track_caller]
    fn says(bench: &Bench, expected: &str) {
        let ratio = Table(bench).ratio("CPU", |s| s.cpu_us_per_op, "get", ["us", "them"], Bound::AtMost(1.0));
        assert_eq!(ratio.unwrap().to_string(), expected);
    }

    #[track_caller]
    fn check(ours: [f64; 3], theirs: [f64; 3], expected: &str) {
        says(&bench(ours, theirs, [0.0; 2]), expected);
    }

    #[test]
    fn who_fails_somebody_has_not_won() {
        let line = "MISSED get: CPU, us / them (us: 3 errors): NaN (at most 1.00)";
        says(&bench([1.0; 3], [2.0; 3], [1.0, 0.0]), line);
        let line = "met    get: CPU, us / them (them: 6 errors): 0.50 (at most 1.00)";
        says(&bench([1.0; 3], [2.0; 3], [0.0, 2.0]), line);
    }

    #[test]
    fn a_median_is_one_of_all_rounds() {
        let cpu =
            |ours| Table(&bench(ours, [1.0; 3], [0.0; 2])).median(|s| s.cpu_us_per_op, "get", "us").unwrap();
        assert_eq!(cpu([1.0, 2.0, 3.0]), 2.0);
        assert!(cpu([1.0, 0.0, 3.0]).is_nan());
    }

    #[test]
    fn a_slow_minute_slows_down_both_sides_of_a_ratio() {
        let line = "met    get: CPU, us / them: 0.80 [0.80..2.40] (at most 1.00)";
        check([8.0, 16.0, 24.0], [10.0, 20.0, 10.0], line);
    }

    #[test]
    fn a_round_without_a_figure_is_not_left_out() {
        check([8.0, 0.0, 8.0], [10.0; 3], "MISSED get: CPU, us / them: NaN (at most 1.00)");
    }
}
