//! A configuration as an operator meets it: a folder with a file, and what the binary says of it. Included by path in
//! the tests of each binary. Kind: driver.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const BINARY: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// What the configuration is called, here and where it is shipped.
const FILE: &str = concat!(env!("CARGO_PKG_NAME"), ".toml");

/// A folder with a configuration; the files that it names are looked for in the same folder.
pub(crate) struct Site {
    dir: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Site {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        Self { dir, environment: Vec::new() }.with_file(FILE, config)
    }

    /// What is shipped, with each of its lines edited, and its secrets where a test can write them.
    pub(crate) fn shipped(edit: impl Fn(&str) -> &str) -> Self {
        let text = shipped_text();
        let lines: Vec<_> = text.lines().map(edit).collect();
        Self::new(&lines.join("\n").replace("/run/secrets/", "./"))
    }

    pub(crate) fn with_file(self, name: &str, text: &str) -> Self {
        fs::write(self.dir.path().join(name), text).expect("the folder can be written");
        self
    }

    pub(crate) fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    fn check(&self) -> Output {
        let mut command = Command::new(BINARY);
        command.args(["--check", "--config", FILE]).current_dir(&self.dir);
        command.env_clear().envs(self.environment.iter().copied());
        command.output().expect("the binary runs")
    }
}

fn shipped_text() -> String {
    let path = format!("{}/../configs/{FILE}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the configuration is shipped")
}

/// An edit that changes nothing.
pub(crate) fn as_it_is(line: &str) -> &str {
    line
}

/// An edit that takes in what is commented out: a key or a section then has no space behind its `#`.
pub(crate) fn turned_on(line: &str) -> &str {
    let key = line.strip_prefix('#').filter(|key| !key.is_empty() && !key.starts_with(' '));
    key.unwrap_or(line)
}

/// The configuration is valid, and what takes effect has these parts.
#[track_caller]
pub(crate) fn accepted(site: &Site, parts: &[&str]) -> String {
    let output = site.check();
    let (said, cried) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{cried}");
    parts.iter().for_each(|part| assert!(said.contains(part), "no {part:?} in {said}"));
    said
}

/// The configuration is wrong, and what is said of it has these parts.
#[track_caller]
pub(crate) fn refused(site: &Site, parts: &[&str]) {
    let output = site.check();
    let (said, cried) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}{cried}");
    assert_eq!(said, "", "nothing is printed as if it took effect");
    parts.iter().for_each(|part| assert!(cried.contains(part), "no {part:?} in {cried}"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// These sections are the same in what is shipped as where nothing but the least is said.
#[track_caller]
pub(crate) fn shipped_as_defaults(shipped: &Site, least: &Site, sections: &[&str]) {
    let (shipped, default) = (accepted(shipped, &[]), accepted(least, &[]));
    for name in sections {
        let section = |all: &str| all.split("\n\n").find(|part| part.starts_with(name)).map(str::to_owned);
        assert!(section(&default).is_some(), "no {name} in {default}");
        assert_eq!(section(&shipped), section(&default), "{name}");
    }
}

/// Every setting that takes effect in what is shipped, all of it turned on, is written there, by itself or as the file that
/// holds it. A setting without a value is not printed, and so not missed; what an operator has named is no setting.
#[track_caller]
pub(crate) fn shipped_in_full(turned_on: &Site) {
    let written = shipped_text();
    let written: BTreeSet<_> =
        written.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).collect();
    let effective = accepted(turned_on, &[]);
    let keys = effective.lines().filter_map(|line| Some(line.split_once(" = ")?.0.trim_matches(['{', ' '])));
    let is_missing = |key: &&str| !written.contains(key) && !written.contains(format!("{key}_file").as_str());
    let missing: Vec<_> = keys.filter(|key| !key.starts_with('"')).filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
