//! Which file imports which, by `crate::` paths, and whether they go in a circle. Kind: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// From a module to the modules that it imports.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// The imports between the files of one crate.
pub(crate) fn imports(sources: &[Source]) -> Imports {
    let modules: BTreeSet<_> = sources.iter().map(|source| source.module.clone()).collect();
    let mut imports = Imports::new();
    for source in sources {
        let named = paths(&source.code()).into_iter().filter_map(|path| owner(&path, &modules));
        let others = named.filter(|module| *module != source.module);
        imports.entry(source.module.clone()).or_default().extend(others);
    }
    imports
}

/// The module whose file holds what this path names: the longest beginning that is a module.
fn owner(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path;
    loop {
        if modules.contains(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// Every path that begins with `crate::`, without it, braces unfolded.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        unfold("", &code[at + word.len()..], &mut paths);
    }
    paths
}

/// Unfolds `a::{b, c::{d}}` to `a::b` and `a::c::d`; gives what follows.
fn unfold<'a>(prefix: &str, text: &'a str, paths: &mut Vec<String>) -> &'a str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    let Some(mut rest) = text[end..].strip_prefix('{') else {
        paths.push(path.trim_end_matches("::").to_owned());
        return &text[end..];
    };
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        let left = unfold(&path, rest, paths);
        // Past `as name` and `*`, on to the next item.
        rest = &left[left.find([',', '}']).unwrap_or(left.len())..];
        if rest.is_empty() {
            return rest;
        }
    }
}

/// The first circle that is found, as `a → b → a`.
pub(crate) fn circle(imports: &Imports) -> Option<String> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| circle_from(module, imports, &mut Vec::new(), &mut done))
}

fn circle_from<'a>(
    module: &'a str,
    imports: &'a Imports,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<String> {
    if let Some(at) = way.iter().position(|step| *step == module) {
        return Some([&way[at..], &[module]].concat().join(" → "));
    }
    if !done.insert(module) {
        return None;
    }
    way.push(module);
    let found = imports.get(module)?.iter().find_map(|next| circle_from(next, imports, way, done));
    way.pop();
    found
}

#[test]
fn paths_are_unfolded() {
    let unfolded = paths("use crate::a::{b, c::{D, e}, F as G};\nuse crate::h;\ncrate::i::j()");
    assert_eq!(unfolded, ["a::b", "a::c::D", "a::c::e", "a::F", "h", "i::j"]);
}

#[track_caller]
fn check(pairs: &[(&str, &str)], found: Option<&str>) {
    let mut imports = Imports::new();
    for (from, to) in pairs {
        imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        imports.entry((*to).to_owned()).or_default();
    }
    assert_eq!(circle(&imports).as_deref(), found);
}

#[test]
fn circles_are_found_and_diamonds_are_none() {
    check(&[("a", "b"), ("b", "c"), ("a", "c")], None);
    check(&[("a", "b"), ("b", "c"), ("c", "b")], Some("b → c → b"));
    check(&[("a", "d"), ("b", "c"), ("c", "b")], Some("b → c → b"));
}
