//! What is wrong with a configuration: where it stands, which key, which value, and what to write. Kind: pure.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the configuration file, on this line.
    File { path: Arc<Path>, line: usize },
    /// In this environment variable.
    Env(Arc<str>),
    /// In this flag of the command line.
    Flag(Arc<str>),
}

impl Origin {
    /// Who wins when a key and its `…_file` twin are both given: flags over environment over file.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::File { .. } => 0,
            Self::Env(_) => 1,
            Self::Flag(_) => 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Fault(Box<Detail>);

#[derive(Debug, Clone)]
struct Detail {
    origin: Option<Origin>,
    /// The way to the key, innermost step first: it is collected while the error travels outwards.
    steps: Vec<Step>,
    wrong: Wrong,
    /// The value as written; never set for secrets.
    value: Option<String>,
    secret: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug, Clone)]
enum Wrong {
    UnknownKey { key: String, known: Vec<&'static str> },
    Missing { key: &'static str },
    Value { text: String },
}

impl Fault {
    /// A value that can't be used, and why.
    pub(crate) fn value(text: impl fmt::Display) -> Self {
        Self::of(Wrong::Value { text: text.to_string() })
    }

    fn of(wrong: Wrong) -> Self {
        Self(Box::new(Detail { origin: None, steps: Vec::new(), wrong, value: None, secret: false }))
    }

    /// Places the fault; the innermost place that is known stays.
    pub(crate) fn at(mut self, origin: &Origin) -> Self {
        self.0.origin.get_or_insert_with(|| origin.clone());
        self
    }

    /// The fault lies behind this key.
    pub(crate) fn under(mut self, key: &str) -> Self {
        self.0.steps.push(Step::Key(key.to_owned()));
        self
    }

    /// The fault lies in this element of a list.
    pub(crate) fn element(mut self, index: usize) -> Self {
        self.0.steps.push(Step::Index(index));
        self
    }

    /// Shows the value as written, unless it is secret or the fault lies deeper.
    pub(crate) fn showing(mut self, value: Option<String>) -> Self {
        let here = self.0.steps.is_empty() && matches!(self.0.wrong, Wrong::Value { .. });
        if here && !self.0.secret && self.0.value.is_none() {
            self.0.value = value;
        }
        self
    }

    /// The value must not be shown.
    pub(crate) fn secret(mut self) -> Self {
        self.0.secret = true;
        self
    }

    /// Adds keys that are known at the top level too.
    pub(crate) fn also_known(mut self, more: &[&'static str]) -> Self {
        if let Wrong::UnknownKey { known, .. } = &mut self.0.wrong
            && self.0.steps.is_empty()
        {
            known.extend_from_slice(more);
        }
        self
    }

    /// The key in full: `cluster.nodes[1]`.
    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.steps.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    fn path_to(&self, key: &str) -> String {
        let path = self.path();
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.0.origin {
            write!(f, "{origin}: ")?;
        }
        match &self.0.wrong {
            Wrong::UnknownKey { key, known } => {
                write!(f, "unknown key `{}`: {}", self.path_to(key), advice(key, known))
            }
            Wrong::Missing { key } => write!(f, "key `{}` is missing: give it a value", self.path_to(key)),
            Wrong::Value { text } => {
                if !self.0.steps.is_empty() {
                    write!(f, "`{}`", self.path())?;
                    if let Some(value) = &self.0.value {
                        write!(f, " = {value}")?;
                    }
                    f.write_str(": ")?;
                }
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::value(text)
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::value(format_args!("expected {expected}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::value(format_args!("expected {expected}"))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::of(Wrong::UnknownKey { key: key.to_owned(), known: known.to_vec() })
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::value(advice(word, known))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::of(Wrong::Missing { key })
    }
}

/// The known word that was probably meant; all of them where none is near.
fn advice(word: &str, known: &[&'static str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "no keys are known here: remove it".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const NEAR_ENOUGH: f64 = 0.8;
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use de::Error as _;

    fn line(line: usize) -> Origin {
        Origin::File { path: Path::new("r.toml").into(), line }
    }

    #[track_caller]
    fn check(fault: Fault, text: &str) {
        assert_eq!(fault.to_string(), text);
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_known_one() {
        let fault = Fault::unknown_field("sise", &["size", "min"]).at(&line(3)).under("pool");
        check(fault, "r.toml:3: unknown key `pool.sise`: did you mean `size`?");
    }

    #[test]
    fn where_nothing_is_near_all_known_keys_are_told() {
        let fault = Fault::unknown_field("colour", &["size", "min"]).at(&line(3));
        check(fault, "r.toml:3: unknown key `colour`: known here: size, min");
    }

    #[test]
    fn a_value_is_told_with_its_key_and_the_remedy() {
        let fault = Fault::value("expected a duration").showing(Some("\"5\"".into())).at(&line(9));
        check(fault.element(1).under("waits"), "r.toml:9: `waits[1]` = \"5\": expected a duration");
    }

    #[test]
    fn a_secret_value_is_never_told() {
        let fault = Fault::value("expected a text in quotes").secret().showing(Some("hunter2".into()));
        check(fault.under("password"), "`password`: expected a text in quotes");
    }

    #[test]
    fn a_missing_key_is_told_in_full() {
        check(
            Fault::missing_field("nodes").under("cluster"),
            "key `cluster.nodes` is missing: give it a value",
        );
    }
}
