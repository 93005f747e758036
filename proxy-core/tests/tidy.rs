//! Keeps the house tidy: kinds, imports, configurations, metrics and tests. Kind: driver.

use std::collections::BTreeSet;
use std::fs;

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;

use source::{BINARIES, CORE, Source, crates, has_word, read, root, sources, sources_of};

/// What a pure file may not name.
const IMPURE: [&str; 11] = [
    "tokio",
    ".await",
    "Instant::now",
    "SystemTime::now",
    "tracing",
    "prometheus",
    "fastrand",
    "rand",
    "TcpStream",
    "UnixStream",
    "std::fs",
];

/// What the core doesn't know.
const PROTOCOLS: [&str; 8] =
    ["postgres", "postgresql", "repmgr", "sqlstate", "redis", "sentinel", "pretix", "gunicorn"];

/// How a metric is registered; the name follows as a literal.
const REGISTRATIONS: [&str; 6] =
    [".counter(", ".counter_vec(", ".gauge(", ".gauge_vec(", ".histogram(", ".histogram_vec("];

/// How a metric would come to be outside the registry.
const MAKERS: [&str; 5] =
    ["Opts::new", "HistogramOpts::new", "IntCounter::new", "IntGauge::new", "Histogram::with_opts"];

#[track_caller]
fn check(complaints: impl IntoIterator<Item = String>) {
    let complaints = Vec::from_iter(complaints);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Complains about every source whose shipped code has one of the words.
fn naming<'a>(sources: &'a [Source], words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    sources.iter().flat_map(move |source| {
        let code = source.code();
        let named = words.iter().filter(move |word| has_word(&code, word));
        named.map(|word| format!("{}: names `{word}`", source.name))
    })
}

#[test]
fn every_file_declares_its_kind() {
    let known = ["pure", "driver", "wiring"];
    let all = sources("src");
    let undeclared = all.iter().filter(|source| !source.kind().is_some_and(|kind| known.contains(&kind)));
    check(
        undeclared.map(|source| format!("{}: a line of its module doc must end with `Kind: …`", source.name)),
    );
}

#[test]
fn pure_files_stay_pure() {
    let mut pure = sources("src");
    pure.retain(|source| source.kind() == Some("pure"));
    check(naming(&pure, &IMPURE));
}

#[test]
fn binaries_never_import_each_other_nor_the_core_them() {
    for krate in crates() {
        let others: Vec<_> = BINARIES.into_iter().filter(|other| *other != krate).collect();
        let paths: Vec<_> = others.iter().map(|other| format!("{}::", other.replace('-', "_"))).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        check(naming(&sources_of(krate, "src"), &paths));
        let manifest = read(&root().join(krate).join("Cargo.toml"));
        let lines = manifest.lines().filter(|line| others.iter().any(|other| line.starts_with(other)));
        check(lines.map(|line| format!("{krate}/Cargo.toml: {line}")));
    }
}

#[test]
fn the_core_names_no_protocol() {
    let mut core = sources_of(CORE, "src");
    for source in &mut core {
        source.text = source.text.to_lowercase();
    }
    check(naming(&core, &PROTOCOLS));
}

#[test]
fn imports_run_one_way() {
    let circles = crates().filter_map(|krate| {
        let circle = imports::circle(&imports::imports(&sources_of(krate, "src")))?;
        Some(format!("{krate}: {circle}"))
    });
    check(circles);
}

#[test]
fn every_configuration_is_checked_by_a_test_of_its_binary() {
    let unchecked = BINARIES.iter().filter(|binary| {
        let checks = |source: &Source| source.text.contains("the_shipped_configuration_is_valid");
        root().join(format!("configs/{binary}.toml")).exists()
            && !sources_of(binary, "tests").iter().any(checks)
    });
    check(unchecked.map(|binary| format!("{binary}/tests: no test runs --check on configs/{binary}.toml")));
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let (registered, documented) = (registered_metrics(), documented_metrics());
    let missing =
        registered.difference(&documented).map(|name| format!("docs/metrics.md: no row for `{name}`"));
    let stale =
        documented.difference(&registered).map(|name| format!("docs/metrics.md: nobody counts `{name}`"));
    check(missing.chain(stale));
}

fn registered_metrics() -> BTreeSet<String> {
    let code = sources("src").iter().map(Source::code).collect::<String>();
    let arguments = REGISTRATIONS.iter().flat_map(|call| code.split(call).skip(1));
    arguments.filter_map(literal).map(str::to_owned).collect()
}

/// The text in quotes with which the arguments begin.
fn literal(arguments: &str) -> Option<&str> {
    arguments.trim_start().strip_prefix('"')?.split('"').next()
}

/// The names in the first column, without the prefix of a binary.
fn documented_metrics() -> BTreeSet<String> {
    let docs = read(&root().join("docs/metrics.md"));
    let names = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(without_prefix).map(str::to_owned).collect()
}

fn without_prefix(name: &str) -> &str {
    let prefixes = BINARIES.map(|binary| format!("{}_", binary.replace('-', "_")));
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix.as_str())).unwrap_or(name)
}

#[test]
fn metrics_come_from_the_registry_alone_under_literal_names() {
    let mut others = sources("src");
    others.retain(|source| (source.krate, source.module.as_str()) != (CORE, "metrics"));
    check(naming(&others, &MAKERS));
    let hidden = others.iter().filter(|source| {
        let code = source.code();
        REGISTRATIONS.iter().any(|call| code.split(call).skip(1).any(|rest| literal(rest).is_none()))
    });
    check(hidden.map(|source| format!("{}: a metric's name must be a literal", source.name)));
}

#[test]
fn no_test_is_left_out_and_none_sleeps() {
    let banned = [concat!("#[", "ignore"), concat!("thread", "::sleep")];
    let all = sources("src").into_iter().chain(sources("tests"));
    let found = all.flat_map(|source| {
        let found = banned.iter().filter(|word| source.text.contains(**word));
        found.map(|word| format!("{}: has `{word}`", source.name)).collect::<Vec<_>>()
    });
    check(found);
}

#[test]
fn every_configuration_belongs_to_a_binary() {
    let files = fs::read_dir(root().join("configs")).expect("there is a folder of configurations");
    let names = files.map(|file| file.expect("the folder can be read").file_name());
    let strangers = names.filter_map(|name| {
        let name = name.to_string_lossy().into_owned();
        let known = BINARIES.iter().any(|binary| name.starts_with(binary));
        (!known).then(|| format!("configs/{name}: begins with no binary's name"))
    });
    check(strangers);
}
