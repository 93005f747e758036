//! Figures over several rounds and the two forms in which they are reported: a table to read, JSON to compare.
//!
//! A figure is never one number: it is the least, the middle and the greatest of the rounds.
//! Kind: pure.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// Least, middle and greatest of what the rounds gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of these samples; all zero if there is none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().filter(|sample| sample.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.last()) {
            (Some(&min), Some(&max)) => Self { min, median: middle(&sorted), max },
            _ => Self::default(),
        }
    }
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

/// What one measured cell of a bench gave: one case, one subject, one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Operations per second.
    pub ops_per_s: f64,
    /// CPU time of the subject's own processes per operation, in microseconds.
    pub cpu_us_per_op: f64,
    /// CPU time of the subject and of the servers behind it per operation, in microseconds.
    pub all_cpu_us_per_op: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the latency in microseconds.
    pub p99_us: f64,
    /// Resident memory of the subject's own processes.
    pub rss_kib: f64,
    /// Operations or connections that failed.
    pub errors: f64,
}

/// One row of a bench report: a case and a subject over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was done, such as `simple-64`.
    pub case: String,
    /// What stood between the client and the servers.
    pub subject: String,
    /// Operations per second.
    pub ops_per_s: Spread,
    /// See [`Sample::cpu_us_per_op`].
    pub cpu_us_per_op: Spread,
    /// See [`Sample::all_cpu_us_per_op`].
    pub all_cpu_us_per_op: Spread,
    /// Median latency.
    pub p50_us: Spread,
    /// 99th percentile of the latency.
    pub p99_us: Spread,
    /// Resident memory.
    pub rss_kib: Spread,
    /// Failures.
    pub errors: Spread,
    /// What each round gave, for ratios; reports hold the spreads.
    #[serde(skip)]
    pub rounds: Vec<Sample>,
}

impl Row {
    /// The row that these rounds make.
    pub fn of(case: &str, subject: &str, samples: &[Sample]) -> Self {
        let spread = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure));
        Self {
            case: case.to_string(),
            subject: subject.to_string(),
            ops_per_s: spread(|s| s.ops_per_s),
            cpu_us_per_op: spread(|s| s.cpu_us_per_op),
            all_cpu_us_per_op: spread(|s| s.all_cpu_us_per_op),
            p50_us: spread(|s| s.p50_us),
            p99_us: spread(|s| s.p99_us),
            rss_kib: spread(|s| s.rss_kib),
            errors: spread(|s| s.errors),
            rounds: samples.to_vec(),
        }
    }
}

/// A whole bench.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// The name of the suite, such as `pg`.
    pub suite: String,
    /// The machine it ran on.
    pub machine: String,
    /// One row per case and subject.
    pub rows: Vec<Row>,
}

impl Bench {
    /// The table of medians, with the spread of the figures that noise moves most.
    pub fn table(&self) -> String {
        let heads = [
            "case",
            "subject",
            "ops/s",
            "(min..max)",
            "CPU us/op",
            "(min..max)",
            "all us/op",
            "p50 us",
            "p99 us",
            "RSS KiB",
            "errors",
        ];
        let mut table = plain_table(&heads, 2);
        for row in &self.rows {
            table.add_row(numbers(
                [row.case.as_str(), row.subject.as_str()],
                &[
                    short(row.ops_per_s.median),
                    range(row.ops_per_s),
                    short(row.cpu_us_per_op.median),
                    range(row.cpu_us_per_op),
                    short(row.all_cpu_us_per_op.median),
                    short(row.p50_us.median),
                    short(row.p99_us.median),
                    short(row.rss_kib.median),
                    short(row.errors.max),
                ],
            ));
        }
        table.to_string()
    }

    /// The row of a case and a subject.
    pub fn row(&self, case: &str, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.subject == subject)
    }
}

/// The figures of one run of a drill, by name.
pub type Figures = BTreeMap<String, f64>;

/// Runs of one subject and the spread of their figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Runs {
    /// Each run.
    pub runs: Vec<Figures>,
    /// Each figure over the runs.
    pub figures: BTreeMap<String, Spread>,
}

impl Runs {
    /// Adds a run; the spreads follow.
    pub fn push(&mut self, run: Figures) {
        self.runs.push(run);
        let names: Vec<String> = self.runs.iter().flat_map(|run| run.keys().cloned()).collect();
        for name in names {
            let spread = Spread::of(self.runs.iter().filter_map(|run| run.get(&name).copied()));
            self.figures.insert(name, spread);
        }
    }
}

/// A whole drill: our router's runs at the top, the peers' in the same form below.
#[derive(Clone, Debug, Serialize)]
pub struct Drill {
    /// The name of the drill, such as `pg-crash`.
    pub drill: String,
    /// Our router's runs.
    #[serde(flatten)]
    pub ours: Runs,
    /// The runs of those whom we are compared with.
    pub peers: BTreeMap<String, Runs>,
}

impl Drill {
    /// An empty report for the drill of this name.
    pub fn named(drill: &str) -> Self {
        Self { drill: drill.to_string(), ours: Runs::default(), peers: BTreeMap::new() }
    }

    /// One line per figure, one column per subject: median and, where they differ, least and greatest.
    pub fn table(&self, ours: &str, order: &[&str]) -> String {
        let columns: Vec<(&str, &Runs)> = std::iter::once((ours, &self.ours))
            .chain(self.peers.iter().map(|(name, runs)| (name.as_str(), runs)))
            .filter(|(_, runs)| !runs.runs.is_empty())
            .collect();
        let heads: Vec<&str> =
            std::iter::once("figure").chain(columns.iter().map(|(name, _)| *name)).collect();
        let mut table = plain_table(&heads, 1);
        for figure in self.figure_names(order) {
            let cells: Vec<String> = columns
                .iter()
                .map(|(_, runs)| runs.figures.get(&figure).map_or_else(|| "-".into(), |s| spread_text(*s)))
                .collect();
            table.add_row(numbers([figure.as_str()], &cells));
        }
        table.to_string()
    }

    /// The named ones first and in that order, then the rest by the alphabet.
    fn figure_names(&self, order: &[&str]) -> Vec<String> {
        let known =
            std::iter::once(&self.ours).chain(self.peers.values()).flat_map(|runs| runs.figures.keys());
        let mut rest: Vec<&String> = known.filter(|name| !order.contains(&name.as_str())).collect();
        rest.sort();
        rest.dedup();
        order.iter().map(ToString::to_string).chain(rest.into_iter().cloned()).collect()
    }
}

fn plain_table(heads: &[&str], words: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(heads.iter().enumerate().map(|(i, head)| aligned(head, i < words)));
    table
}

fn numbers<const N: usize>(words: [&str; N], figures: &[String]) -> Vec<Cell> {
    words
        .iter()
        .map(|word| aligned(word, true))
        .chain(figures.iter().map(|figure| aligned(figure, false)))
        .collect()
}

fn aligned(text: &str, left: bool) -> Cell {
    Cell::new(text).set_alignment(if left { CellAlignment::Left } else { CellAlignment::Right })
}

fn range(spread: Spread) -> String {
    format!("{}..{}", short(spread.min), short(spread.max))
}

fn spread_text(spread: Spread) -> String {
    if (spread.max - spread.min).abs() < f64::EPSILON {
        short(spread.median)
    } else {
        format!("{} ({})", short(spread.median), range(spread))
    }
}

/// As many digits as say something: whole numbers from 100 up, one decimal below.
fn short(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(samples: &[f64], min: f64, median: f64, max: f64) {
        assert_eq!(Spread::of(samples.iter().copied()), Spread { min, median, max });
    }

    #[test]
    fn a_spread_is_least_middle_greatest() {
        check(&[], 0.0, 0.0, 0.0);
        check(&[5.0], 5.0, 5.0, 5.0);
        check(&[3.0, 1.0, 2.0], 1.0, 2.0, 3.0);
        check(&[4.0, 1.0, 2.0, 3.0], 1.0, 2.5, 4.0);
        check(&[f64::NAN, 1.0], 1.0, 1.0, 1.0);
    }

    #[test]
    fn a_bench_has_one_object_per_figure() {
        let row = Row::of("simple-1", "direct", &[Sample { ops_per_s: 2.0, ..Sample::default() }]);
        let bench = Bench { suite: "pg".into(), machine: "m".into(), rows: vec![row] };
        let json = serde_json::to_value(&bench).unwrap();
        assert_eq!(json["rows"][0]["case"], "simple-1");
        assert_eq!(json["rows"][0]["ops_per_s"], serde_json::json!({"min": 2.0, "median": 2.0, "max": 2.0}));
        assert_eq!(json["rows"][0].as_object().unwrap().len(), 9);
        assert!(bench.table().contains("simple-1"));
    }

    #[test]
    fn a_drill_keeps_our_runs_on_top_and_the_peers_apart() {
        let mut drill = Drill::named("pg-crash");
        drill.ours.push(Figures::from([("held".into(), 3.0)]));
        drill.ours.push(Figures::from([("held".into(), 5.0)]));
        drill.peers.entry("haproxy".into()).or_default().push(Figures::from([("held".into(), 0.0)]));
        let json = serde_json::to_value(&drill).unwrap();
        assert_eq!(json["drill"], "pg-crash");
        assert_eq!(json["runs"][1]["held"], 5.0);
        assert_eq!(json["figures"]["held"], serde_json::json!({"min": 3.0, "median": 4.0, "max": 5.0}));
        assert_eq!(json["peers"]["haproxy"]["runs"][0]["held"], 0.0);
        assert!(drill.table("pg-router", &["held"]).contains("4 (3..5)"));
    }
}
