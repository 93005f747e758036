//! What a bench measures, in which order.
//!
//! Subjects take turns within a case, and the order rotates, so that a noisy minute hurts all of them alike. Kind: driver.

use super::Options;
use crate::error::{Error, Result};
use crate::progress::say;
use crate::report::{Row, Sample};

/// One row of a plan.
pub(super) trait Case: Copy {
    /// Its name in reports and on the command line.
    fn name(&self) -> String;
    /// Whether it says anything of this subject.
    fn suits(&self, _subject: &str) -> bool {
        true
    }
}

/// What a suite has to offer.
pub(super) struct Menu<'a, C> {
    /// All cases.
    pub(super) cases: Vec<C>,
    /// The names of those of a first look.
    pub(super) quick: &'a [&'static str],
    /// All subjects.
    pub(super) subjects: &'a [&'static str],
    /// Further ones, measured only when named.
    pub(super) extras: &'a [&'static str],
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Plan<C> {
    pub(super) cases: Vec<C>,
    pub(super) subjects: Vec<&'static str>,
    pub(super) rounds: u32,
}

impl<C: Case> Plan<C> {
    /// What the options choose from the menu.
    pub(super) fn of(options: &Options, menu: Menu<'_, C>) -> Result<Self> {
        let names: Vec<String> = menu.cases.iter().map(Case::name).collect();
        refuse_unknown("case", &options.only, &names)?;
        let known: Vec<String> = menu.subjects.iter().chain(menu.extras).map(ToString::to_string).collect();
        refuse_unknown("subject", &options.subjects, &known)?;
        let by_default = |name: &str| !options.quick || menu.quick.contains(&name);
        let subjects = menu.subjects.iter().chain(menu.extras).copied();
        Ok(Self {
            cases: menu
                .cases
                .iter()
                .filter(|c| chosen(&options.only, &c.name(), by_default))
                .copied()
                .collect(),
            subjects: subjects
                .filter(|name| chosen(&options.subjects, name, |name| menu.subjects.contains(&name)))
                .collect(),
            rounds: if options.quick { 1 } else { options.rounds },
        })
    }

    /// Is one of these subjects to be measured?
    pub(super) fn has(&self, subjects: &[&str]) -> bool {
        self.subjects.iter().any(|subject| subjects.contains(subject))
    }

    /// Measures every case in every round, the subjects in turn.
    pub(super) fn measure(
        &self,
        mut cell: impl FnMut(&'static str, C) -> Result<Sample>,
    ) -> Result<Vec<Row>> {
        let mut samples = vec![vec![Vec::new(); self.subjects.len()]; self.cases.len()];
        for round in 0..self.rounds {
            for (c, &case) in self.cases.iter().enumerate() {
                for turn in 0..self.subjects.len() {
                    let s = (turn + c + round as usize) % self.subjects.len();
                    if case.suits(self.subjects[s]) {
                        samples[c][s].push(cell(self.subjects[s], case)?);
                    }
                }
                say(self.progress(round, case, &samples[c]));
            }
        }
        Ok(self.rows(&samples))
    }

    fn rows(&self, samples: &[Vec<Vec<Sample>>]) -> Vec<Row> {
        let of_case = |(case, of_case): (&C, &Vec<Vec<Sample>>)| -> Vec<Row> {
            let measured = self.subjects.iter().zip(of_case).filter(|(_, samples)| !samples.is_empty());
            measured.map(|(subject, samples)| Row::of(&case.name(), subject, samples)).collect()
        };
        self.cases.iter().zip(samples).flat_map(of_case).collect()
    }

    fn progress(&self, round: u32, case: C, samples: &[Vec<Sample>]) -> String {
        let last =
            self.subjects.iter().zip(samples).filter_map(|(name, samples)| Some((name, samples.last()?)));
        let cells: Vec<String> =
            last.map(|(name, s)| format!("{name} {:.0}/s {:.1} us", s.ops_per_s, s.cpu_us_per_op)).collect();
        format!("round {}/{} {}: {}", round + 1, self.rounds, case.name(), cells.join(", "))
    }
}

fn chosen(named: &[String], name: &str, by_default: impl Fn(&str) -> bool) -> bool {
    if named.is_empty() { by_default(name) } else { named.iter().any(|n| n == name) }
}

fn refuse_unknown(what: &str, named: &[String], known: &[String]) -> Result<()> {
    match named.iter().find(|name| !known.contains(name)) {
        Some(name) => {
            Err(Error::usage(format!("there is no {what} {name}; there are: {}", known.join(", "))))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    struct Toy(&'static str);

    impl Case for Toy {
        fn name(&self) -> String {
            self.0.into()
        }
        fn suits(&self, subject: &str) -> bool {
            self.0 != "tls" || subject != "old"
        }
    }

    fn plan(quick: bool, only: &[&str], subjects: &[&str]) -> Result<Plan<Toy>> {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (only, subjects) = (strings(only), strings(subjects));
        let options = Options { rounds: 2, quick, json: None, router: None, only, subjects };
        let cases = ["a", "b", "tls"].map(Toy).to_vec();
        Plan::of(&options, Menu { cases, quick: &["b"], subjects: &["old", "new"], extras: &["odd"] })
    }

    #[track_caller]
    fn check(plan: Result<Plan<Toy>>, cases: &[&str], subjects: &[&str]) {
        let plan = plan.unwrap();
        let names: Vec<String> = plan.cases.iter().map(Case::name).collect();
        assert_eq!(
            (names, plan.subjects.as_slice()),
            (cases.iter().map(ToString::to_string).collect(), subjects)
        );
    }

    #[test]
    fn a_plan_holds_what_was_asked_for() {
        check(plan(false, &[], &[]), &["a", "b", "tls"], &["old", "new"]);
        check(plan(true, &[], &[]), &["b"], &["old", "new"]);
        check(plan(true, &["a"], &["odd"]), &["a"], &["odd"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = plan(false, &["c"], &[]).unwrap_err().to_string();
        assert!(error.contains("no case c") && error.contains("tls"), "{error}");
        let error = plan(false, &[], &["c"]).unwrap_err().to_string();
        assert!(error.contains("no subject c") && error.contains("odd"), "{error}");
    }

    #[test]
    fn subjects_take_turns_and_who_does_not_suit_sits_out() {
        let mut order = String::new();
        let rows = plan(false, &[], &[]).unwrap().measure(|subject, case| {
            order += &format!("{}{} ", case.0, &subject[..1]);
            Ok(Sample::default())
        });
        assert_eq!(order, "ao an bn bo tlsn an ao bo bn tlsn ");
        assert_eq!(rows.unwrap().len(), 5);
    }
}
