//! The source files of the product, as text to be searched roughly. Kind: driver.
//!
//! Comments and unit tests are cut away, then words are looked for: enough for tidiness, not a parser.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const CORE: &str = "proxy-core";
pub(crate) const BINARIES: [&str; 3] = ["pg-router", "redis-router", "http-lb"];

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates of the product.
pub(crate) fn crates() -> impl Iterator<Item = &'static str> {
    [CORE].into_iter().chain(BINARIES)
}

/// One source file.
pub(crate) struct Source {
    pub(crate) krate: &'static str,
    /// Its path within the workspace, for people.
    pub(crate) name: String,
    /// `config::fault`; empty for `lib.rs` and `main.rs`.
    pub(crate) module: String,
    pub(crate) text: String,
}

impl Source {
    /// The text without comments and without the unit tests at its end; nothing for a file of tests.
    pub(crate) fn code(&self) -> String {
        if self.module.rsplit("::").next() == Some("tests") {
            return String::new();
        }
        let shipped = self.text.split("#[cfg(test)]").next().unwrap_or_default();
        shipped.lines().map(without_comment).collect::<Vec<_>>().join("\n")
    }

    /// What its module doc declares, at the end of a line and once.
    pub(crate) fn kind(&self) -> Option<&str> {
        let doc = self.text.lines().map_while(|line| line.strip_prefix("//!"));
        let mut kinds = doc.filter_map(|line| line.rsplit_once("Kind: ")?.1.strip_suffix('.'));
        kinds.next().filter(|_| kinds.next().is_none())
    }
}

/// A `//` within a text (`"http://"`) cuts the line short as well, which costs us nothing here.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// All files of the product's crates below `part` (`src` or `tests`).
pub(crate) fn sources(part: &str) -> Vec<Source> {
    crates().flat_map(|krate| sources_of(krate, part)).collect()
}

/// The files of one crate below `part`.
pub(crate) fn sources_of(krate: &'static str, part: &str) -> Vec<Source> {
    let base = root().join(krate).join(part);
    let mut files = Vec::new();
    walk(&base, &mut files);
    files.into_iter().map(|path| source(krate, part, &base, &path)).collect()
}

fn source(krate: &'static str, part: &str, base: &Path, path: &Path) -> Source {
    let within = path.strip_prefix(base).expect("it was found below the base").with_extension("");
    let within = within.to_str().expect("source paths are UTF-8");
    let module = within.trim_end_matches("/mod").replace('/', "::");
    let module = if ["lib", "main"].contains(&within) { String::new() } else { module };
    Source { krate, name: format!("{krate}/{part}/{within}.rs"), module, text: read(path) }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Whether the code has this word, whole.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let touches =
        |c: Option<char>, edge: Option<char>| c.is_some_and(part_of_word) && edge.is_some_and(part_of_word);
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        !touches(before.chars().next_back(), word.chars().next())
            && !touches(after.chars().next(), word.chars().next_back())
    })
}
