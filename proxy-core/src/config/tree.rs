//! The tree of what was configured, each value with the place where it was written. Kind: pure.
//!
//! File, environment and flags are laid over each other here, before anything is turned into types.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Origin};

/// A table of the configuration.
pub(crate) type Table = BTreeMap<String, Node>;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A value as written.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// From the environment or a flag: a text that becomes whatever its key wants.
    Raw(String),
    /// What a secret's file holds; only a secret may take it.
    Contents(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// The value as it may stand in an error; tables and lists, inline ones too, may hold secrets.
    pub(crate) fn shown(&self) -> Option<String> {
        match self {
            Self::Raw(text) if text.trim_start().starts_with(['[', '{']) => None,
            Self::Raw(text) | Self::Text(text) => Some(format!("{text:?}")),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Boolean(answer) => Some(answer.to_string()),
            Self::Contents(_) | Self::List(_) | Self::Table(_) => None,
        }
    }
}

/// Reads a TOML document; each value remembers its line.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Table, Fault> {
    let path: Arc<Path> = path.into();
    let origin = |span: Range<usize>| Origin::File { path: path.clone(), line: line_of(text, span.start) };
    // Only the message: the parser's own display quotes the line, and a line may hold a secret.
    let document = DeTable::parse(text)
        .map_err(|error| Fault::value(error.message()).at(&origin(error.span().unwrap_or_default())))?;
    table(document.get_ref(), &origin)
}

/// Reads a text from the environment as the TOML value that it looks like.
pub(crate) fn parse_inline(text: &str, origin: &Origin) -> Result<Value, Fault> {
    let bad = |_| Fault::value("not a valid inline TOML value").secret();
    let document = DeValue::parse(text).map_err(bad)?;
    value(document.get_ref(), &|_| origin.clone())
}

fn table(from: &DeTable<'_>, origin: &dyn Fn(Range<usize>) -> Origin) -> Result<Table, Fault> {
    let entry = |(key, item): (&Spanned<_>, &Spanned<_>)| node(key, item, origin);
    from.iter().map(entry).collect()
}

fn node(
    key: &Spanned<std::borrow::Cow<'_, str>>,
    item: &Spanned<DeValue<'_>>,
    origin: &dyn Fn(Range<usize>) -> Origin,
) -> Result<(String, Node), Fault> {
    let place = origin(key.span());
    let value = value(item.get_ref(), origin).map_err(|fault| fault.at(&place).under(key.get_ref()))?;
    Ok((key.get_ref().to_string(), Node { value, origin: place }))
}

fn value(from: &DeValue<'_>, origin: &dyn Fn(Range<usize>) -> Origin) -> Result<Value, Fault> {
    Ok(match from {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| Fault::value("expected a number that fits into 64 bits"))?,
        ),
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| Fault::value("expected a number"))?)
        }
        DeValue::Boolean(answer) => Value::Boolean(*answer),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Ok(Node { value: value(item.get_ref(), origin)?, origin: origin(item.span()) }))
                .collect::<Result<_, Fault>>()?,
        ),
        DeValue::Table(items) => Value::Table(table(items, origin)?),
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Lays a value over the tree at `path`, making the tables on the way.
pub(crate) fn lay_over(table: &mut Table, path: &[String], node: Node) -> Result<(), Fault> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    if rest.is_empty() {
        table.insert(key.clone(), node);
        return Ok(());
    }
    let empty = || Node { value: Value::Table(Table::new()), origin: node.origin.clone() };
    match &mut table.entry(key.clone()).or_insert_with(empty).value {
        Value::Table(inner) => lay_over(inner, rest, node).map_err(|fault| fault.under(key)),
        _ => Err(Fault::value("is not a table: set it as a whole").at(&node.origin).under(key)),
    }
}

/// Where the key with this path (`cluster.nodes[1]`) was written, or else the nearest table around it.
pub(crate) fn origin_of<'a>(table: &'a Table, path: &str) -> Option<&'a Origin> {
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let (key, index) = match key.split_once('[') {
        Some((key, index)) => (key, index.trim_end_matches(']').parse::<usize>().ok()),
        None => (key, None),
    };
    let node = table.get(key).or_else(|| table.get(&format!("{key}_file")))?;
    let node = match (&node.value, index) {
        (Value::List(items), Some(index)) => items.get(index).unwrap_or(node),
        _ => node,
    };
    match &node.value {
        Value::Table(inner) => origin_of(inner, rest).or(Some(&node.origin)),
        _ => Some(&node.origin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "workers = 2\n\n[pool]\nsize = 3\n\n[[listeners]]\nlisten = \"a\"\n";

    fn tree() -> Table {
        parse(Path::new("r.toml"), FILE).expect("the document is valid")
    }

    #[track_caller]
    fn check(table: &Table, path: &str, origin: &str) {
        let found = origin_of(table, path).map(ToString::to_string);
        assert_eq!(found.as_deref(), Some(origin));
    }

    #[test]
    fn values_remember_their_lines() {
        check(&tree(), "workers", "r.toml:1");
        check(&tree(), "pool.size", "r.toml:4");
        check(&tree(), "listeners[0].listen", "r.toml:7");
    }

    #[test]
    fn a_key_that_was_not_written_is_placed_at_its_table() {
        check(&tree(), "pool.min", "r.toml:3");
    }

    #[test]
    fn the_environment_lies_over_the_file() {
        let mut table = tree();
        let origin = Origin::Env("R_POOL__SIZE".into());
        let node = Node { value: Value::Raw("9".into()), origin };
        lay_over(&mut table, &["pool".into(), "size".into()], node).expect("pool is a table");
        check(&table, "pool.size", "environment variable R_POOL__SIZE");
        check(&table, "workers", "r.toml:1");
    }

    #[test]
    fn broken_toml_names_its_line_and_quotes_nothing() {
        let fault =
            parse(Path::new("r.toml"), "a = 1\npassword = \"hunter2\n").expect_err("no closing quote");
        let text = fault.to_string();
        assert!(text.starts_with("r.toml:2: ") && !text.contains("hunter2"), "{text}");
    }
}
