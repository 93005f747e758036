//! What the fourth issue demands of http-lb, held against what was measured. Kind: pure.

use super::verdict::{Bound, Figure, Table, Verdict};
use crate::front::{HAPROXY, NGINX};
use crate::report::{Bench, Sample};
use crate::router::HTTP;

/// All demands whose cases and subjects were measured.
pub(super) fn verdicts(bench: &Bench) -> Vec<Verdict> {
    let table = Table(bench);
    let cpu = |round: &Sample| round.cpu_us_per_op;
    let (at_most, both) = (Bound::AtMost, [NGINX, HAPROXY].as_slice());
    let found = [
        beside(&table, "CPU", cpu, "proxy-get-64", both, at_most(0.9)),
        beside(&table, "CPU, stretch", cpu, "proxy-get-64", both, at_most(0.8)),
        beside(&table, "CPU", cpu, "proxy-get-close-64", both, at_most(0.9)),
        beside(&table, "CPU, stretch", cpu, "proxy-get-close-64", both, at_most(0.8)),
        table.ratio("CPU", cpu, "static-4k-64", [HTTP, NGINX], at_most(0.8)),
        table.ratio("CPU, stretch", cpu, "static-4k-64", [HTTP, NGINX], at_most(0.7)),
        table.ratio("CPU", cpu, "h2-get-64", [HTTP, NGINX], at_most(0.9)),
        beside(
            &table,
            "p99 at 70 % of the slower's most",
            |round| round.p99_us,
            "proxy-get-64-fixed",
            both,
            at_most(1.1),
        ),
        per_connection(&table, "", at_most(4.0)),
        per_connection(&table, "tls-", at_most(grown(&table, "tls-", NGINX).unwrap_or_default())),
    ];
    found.into_iter().flatten().collect()
}

/// Ours beside the better of those whom we are compared with: the one who makes us look worst.
fn beside(
    table: &Table<'_>,
    word: &str,
    figure: Figure,
    case: &str,
    rivals: &[&str],
    bound: Bound,
) -> Option<Verdict> {
    let verdicts = rivals.iter().filter_map(|rival| table.ratio(word, figure, case, [HTTP, rival], bound));
    verdicts.max_by(|a, b| a.measured.median.total_cmp(&b.measured.median))
}

fn per_connection(table: &Table<'_>, tls: &str, bound: Bound) -> Option<Verdict> {
    let kind = if tls.is_empty() { "plain connection" } else { "TLS connection, bar: nginx's" };
    Some(Verdict::on(format!("KiB per idle {kind}"), grown(table, tls, HTTP)?, bound))
}

/// What 5000 idle connections added to its memory, for each of them.
fn grown(table: &Table<'_>, tls: &str, subject: &str) -> Option<f64> {
    let resident = |count: usize| table.median(|row| row.rss_kib, &format!("idle-{tls}{count}"), subject);
    Some((resident(5000)? - resident(0)?) / 5000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    #[track_caller]
    fn check(rows: &[(&str, &str, Sample)], lines: &[&str]) {
        let rows = rows.iter().map(|(case, subject, sample)| Row::of(case, subject, &[*sample])).collect();
        let bench = Bench { suite: "http".into(), machine: String::new(), rows };
        let told: Vec<String> = verdicts(&bench).iter().map(ToString::to_string).collect();
        assert_eq!(told, lines);
    }

    fn p99(p99_us: f64) -> Sample {
        Sample { p99_us, ..Sample::default() }
    }

    fn resident(rss_kib: f64) -> Sample {
        Sample { rss_kib, ..Sample::default() }
    }

    #[test]
    fn ours_is_held_against_the_better_of_both() {
        let case = "proxy-get-64-fixed";
        let rows = [(case, HTTP, p99(99.0)), (case, NGINX, p99(200.0)), (case, HAPROXY, p99(100.0))];
        let line = "met    proxy-get-64-fixed: p99 at 70 % of the slower's most, http-lb / haproxy: 0.99 (at most 1.10)";
        check(&rows, &[line]);
    }

    #[test]
    fn memory_is_what_the_connections_added() {
        let rows = [("idle-0", HTTP, resident(10_000.0)), ("idle-5000", HTTP, resident(35_000.0))];
        check(&rows, &["MISSED KiB per idle plain connection: 5.00 (at most 4.00)"]);
    }
}
