//! A secret `foo` that is given as `foo_file`, the path of a file that holds it. Kind: pure.

use std::fmt::Display;
use std::io;
use std::path::Path;

use super::fault::Fault;
use super::tree::{Node, Table, Value};

/// Reads the file that holds a secret.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Puts the contents of `foo_file` in the place of `foo`, for every `foo` among the fields.
pub(super) fn with_secret_files(
    mut table: Table,
    fields: &[&str],
    read: ReadFile<'_>,
) -> Result<Table, Fault> {
    for field in fields {
        let twin = format!("{field}_file");
        if fields.contains(&twin.as_str()) {
            continue;
        }
        if let Some(file) = table.remove(&twin)
            && outranks(&file, table.get(*field), &twin)?
        {
            table.insert((*field).to_owned(), contents(&twin, file, read)?);
        }
    }
    Ok(table)
}

/// Which of `foo_file` and `foo` counts: the one from the higher layer; in the same layer it is a fault.
fn outranks(file: &Node, inline: Option<&Node>, twin: &str) -> Result<bool, Fault> {
    let Some(inline) = inline else { return Ok(true) };
    if inline.origin.rank() == file.origin.rank() {
        let both = "is given beside the value itself: remove one of the two";
        return Err(Fault::value(both).at(&file.origin).under(twin));
    }
    Ok(file.origin.rank() > inline.origin.rank())
}

/// What the file holds; it becomes a secret and nothing else.
fn contents(twin: &str, file: Node, read: ReadFile<'_>) -> Result<Node, Fault> {
    let origin = file.origin.clone();
    let place = |fault: Fault| fault.at(&origin).under(twin);
    let path = file.text(&"the path of a file").map_err(place)?;
    let text = read(Path::new(&path)).map_err(|error| place(unreadable(&path, &error)))?;
    // Editors end files with a newline that is no part of the secret.
    let secret = text.trim_end_matches(['\r', '\n']).to_owned();
    Ok(Node { value: Value::Contents(secret), origin })
}

fn unreadable(path: &str, error: &dyn Display) -> Fault {
    Fault::value(format_args!("can't read {path:?}: {error}"))
}
