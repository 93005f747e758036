//! What the third issue demands of redis-router, held against what was measured. Kind: pure.

use super::plan::Case as _;
use super::redis_cases::{Case, Kind, PASSTHROUGH, ROUTER};
use super::verdict::{Bound, Table, Verdict};
use crate::report::{Bench, Sample};

/// All demands whose cases and subjects were measured.
pub(super) fn verdicts(bench: &Bench) -> Vec<Verdict> {
    let table = Table(bench);
    let all = |round: &Sample| round.all_cpu_us_per_op;
    let rate = |round: &Sample| round.ops_per_s;
    let (p50, p99) = (|round: &Sample| round.p50_us, |round: &Sample| round.p99_us);
    let mut found = vec![
        table.ratio("CPU together", all, "get-50", [ROUTER, "haproxy"], Bound::AtMost(0.6)),
        table.ratio("CPU together, stretch", all, "get-50", [ROUTER, "haproxy"], Bound::AtMost(0.55)),
        table.ratio("CPU together", all, "get-50", [ROUTER, "twemproxy"], Bound::AtMost(0.9)),
        table.ratio("throughput", rate, "get-50", [ROUTER, "haproxy"], Bound::AtLeast(1.4)),
        table.ratio("CPU together", all, "get-50-p16", [ROUTER, "haproxy"], Bound::AtMost(0.8)),
        table.ratio("p50", p50, "get-1", [ROUTER, "haproxy"], Bound::AtMost(1.05)),
        table.ratio(
            "p99 at 70 % of HAProxy's most",
            p99,
            "get-500-fixed",
            [ROUTER, "haproxy"],
            Bound::AtMost(1.1),
        ),
        table.beside_big(),
        table.per_connection(),
    ];
    found.extend(table.passthrough());
    found.into_iter().flatten().collect()
}

/// What only Redis' table has.
impl Table<'_> {
    /// A server that copies 10 MiB serves nobody meanwhile, whatever stands before it: what comes of that alone is told
    /// beside ours.
    fn beside_big(&self) -> Option<Verdict> {
        let times = |subject| {
            let beside = ("get-50-beside-10m", subject);
            self.ratios(|round| round.p99_us, beside, ("get-50-alone", subject))
        };
        let measured = times(ROUTER)?;
        let direct =
            times("direct").map_or_else(String::new, |direct| format!(" (direct {:.2})", direct.median));
        let what = format!("{ROUTER}: p99 of small GETs, beside a reader of 10 MiB / without{direct}");
        Some(Verdict { what, measured, bound: Bound::AtMost(3.0) })
    }

    fn per_connection(&self) -> Option<Verdict> {
        let resident = |case| self.median(|round| round.rss_kib, case, ROUTER);
        let measured = (resident("idle-5000")? - resident("idle-0")?) / 5000.0;
        Some(Verdict::on(format!("{ROUTER}: KiB per idle connection"), measured, Bound::AtMost(4.0)))
    }

    /// "Within 1.1 times HAProxy in all": what it costs itself, in each case.
    fn passthrough(&self) -> impl Iterator<Item = Option<Verdict>> {
        let full = Case::all().into_iter().filter(|case| case.kind == Kind::Full);
        let own = |round: &Sample| round.cpu_us_per_op;
        full.map(move |case| {
            self.ratio("CPU", own, &case.name(), [PASSTHROUGH, "haproxy"], Bound::AtMost(1.1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    fn bench(rows: &[(&str, &str, Sample)]) -> Bench {
        let rows = rows.iter().map(|(case, subject, sample)| Row::of(case, subject, &[*sample])).collect();
        Bench { suite: "redis".into(), machine: String::new(), rows }
    }

    #[track_caller]
    fn check(rows: &[(&str, &str, Sample)], lines: &[&str]) {
        let told: Vec<String> = verdicts(&bench(rows)).iter().map(ToString::to_string).collect();
        assert_eq!(told, lines);
    }

    fn p50(p50_us: f64) -> Sample {
        Sample { p50_us, ..Sample::default() }
    }

    fn resident(rss_kib: f64) -> Sample {
        Sample { rss_kib, ..Sample::default() }
    }

    #[test]
    fn a_verdict_says_whether_the_bar_was_met() {
        let rows = |ours| [("get-1", "haproxy", p50(60.0)), ("get-1", ROUTER, p50(ours))];
        check(&rows(60.0), &["met    get-1: p50, redis-router / haproxy: 1.00 (at most 1.05)"]);
        check(&rows(72.0), &["MISSED get-1: p50, redis-router / haproxy: 1.20 (at most 1.05)"]);
    }

    #[test]
    fn memory_is_what_the_connections_added() {
        let rows = [("idle-0", ROUTER, resident(10_000.0)), ("idle-5000", ROUTER, resident(25_000.0))];
        check(&rows, &["met    redis-router: KiB per idle connection: 3.00 (at most 4.00)"]);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        check(&[("get-1", ROUTER, p50(60.0))], &[]);
    }
}
