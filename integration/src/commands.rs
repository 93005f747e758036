//! `stack commands`: writes redis-router's table of commands from what a real Redis says of itself. Kind: driver.

use crate::{
    Context, Error, Result, debian,
    process::{Process, Spec, free_port},
    progress::say,
    wait,
};
use serde_json::Value;
use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// An empty server starts and answers at once; a loaded machine takes its time.
const SOON: Duration = Duration::from_secs(20);

/// Options of `stack commands`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only tell whether the table is what the server says
    #[arg(long)]
    check: bool,
}

/// Asks the server, and writes or compares the table.
pub fn run(args: &Args) -> Result<()> {
    debian::ensure(debian::REDIS)?;
    let (path, table) = (path(), table()?);
    let old = fs::read_to_string(&path).unwrap_or_default();
    match (old == table, args.check) {
        (true, _) => say(format_args!("{} is what the server says", path.display())),
        (false, true) => return Err(Error::new(format!("{} is not what the server says", path.display()))),
        (false, false) => {
            fs::write(&path, table).context(path.display())?;
            say(format_args!("wrote {}", path.display()));
        }
    }
    Ok(())
}

/// Where the table lives.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../redis-router/src/command/table.rs")
}

/// The table's text, from a server of our own that ends with this call.
pub fn table() -> Result<String> {
    let server = Scratch::start()?;
    let info = Spec::new("redis-server").args(["--version"]).output(SOON)?;
    let version = info.split_once("v=").and_then(|(_, rest)| rest.split(' ').next());
    let version = version.ok_or_else(|| Error::new(format!("redis-server says no version: {info}")))?;
    text(version, &server.ask(&["command"])?, &server.ask(&["command", "docs"])?)
        .ok_or_else(|| Error::new("COMMAND and COMMAND DOCS have an unknown form"))
}

/// An empty server with nothing around it: no password, no replica, no Sentinel. It ends with this value.
#[derive(Debug)]
pub struct Scratch {
    port: u16,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Scratch {
    /// Starts it; returns when it answers.
    pub fn start() -> Result<Self> {
        let (dir, port) = (tempfile::tempdir()?, free_port());
        let options =
            ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"].map(String::from);
        let spec = Spec::new("redis-server").args(options).args([dir.path().to_string_lossy()]);
        let process = Process::spawn(&spec.log(dir.path().join("log")))?;
        let server = Self { port, _process: process, _dir: dir };
        wait::eventually(SOON, "redis-server", || server.ask(&["ping"]).map_err(|e| e.to_string()))?;
        Ok(server)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What it answers, as `redis-cli` writes it down.
    fn ask(&self, question: &[&str]) -> Result<Value> {
        let port = self.port.to_string();
        let cli = Spec::new("redis-cli").args(["-p", &port, "--json"]).args(question.iter().copied());
        let text = cli.output(SOON)?;
        serde_json::from_str(&text).map_err(|e| Error::new(format!("redis-cli said {text:?}: {e}")))
    }
}

/// None: the server's words have an unknown form.
fn text(version: &str, commands: &Value, docs: &Value) -> Option<String> {
    let mut rows = Vec::new();
    for command in commands.as_array()? {
        let group = docs[command[0].as_str()?]["group"].as_str()?;
        rows.push(row(command, group)?);
        for subcommand in command[9].as_array()? {
            rows.push(row(subcommand, group)?);
        }
    }
    rows.sort();
    let mut text = format!(
        "//! The commands of Redis {version}, as its own `COMMAND` and `COMMAND DOCS` tell. Kind: pure.\n\
         //!\n\
         //! Written by `cargo stack commands`; don't edit. Newer commands are in `newer.rs`.\n\n\
         use super::row::*;\n\n\
         #[rustfmt::skip]\n\
         pub(super) static SERVER: [Row; {}] = [\n",
        rows.len()
    );
    rows.iter().for_each(|row| text.push_str(row));
    text.push_str("];\n");
    Some(text)
}

/// <https://redis.io/docs/latest/commands/command/>
fn row(command: &Value, group: &str) -> Option<String> {
    let (name, arity) = (command[0].as_str()?, command[1].as_i64()?);
    let (first, last, step) = (command[3].as_i64()?, command[4].as_i64()?, command[5].as_i64()?);
    let flags: Option<Vec<_>> = command[2].as_array()?.iter().map(Value::as_str).collect();
    let (flags, group, key) = (flags_text(&flags?), camel(group), first_key(&command[8][0])?);
    Some(format!(
        "    row(\"{name}\", {arity}, {flags}, Group::{group}, ({first}, {last}, {step}), FirstKey::{key}),\n"
    ))
}

/// `READONLY.and(FAST)`.
fn flags_text(flags: &[&str]) -> String {
    let mut flags = flags.iter().map(|flag| flag.to_uppercase());
    let mut text = flags.next().unwrap_or_else(|| "NONE".into());
    flags.for_each(|flag| _ = write!(text, ".and({flag})"));
    text
}

/// `sorted-set` to `SortedSet`.
fn camel(group: &str) -> String {
    group.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// The first of the key specifications (<https://redis.io/docs/latest/develop/reference/key-specs/>).
fn first_key(spec: &Value) -> Option<String> {
    if spec.is_null() {
        return Some("Nowhere".into());
    }
    let search = &spec["begin_search"];
    match (search["type"].as_str()?, spec["find_keys"]["type"].as_str()?) {
        ("index", "range") => Some(format!("At({})", search["spec"]["index"].as_u64()?)),
        ("index", "keynum") => Some(format!("Counted({})", search["spec"]["index"].as_u64()?)),
        ("keyword", "range") => Some(format!("After({})", search["spec"]["keyword"])),
        // MIGRATE's second and the like: nowhere that could be told from the arguments alone.
        _ => Some("Nowhere".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(command: &Value, expected: &str) {
        assert_eq!(row(command, "sorted-set").unwrap().trim(), expected);
    }

    #[test]
    fn a_row_says_what_the_server_says() {
        let spec = json!({"begin_search": {"type": "index", "spec": {"index": 1}},
            "find_keys": {"type": "range", "spec": {"lastkey": 0, "keystep": 1, "limit": 0}}});
        check(
            &json!(["get", 2, ["readonly", "fast"], 1, 1, 1, [], [], [spec], []]),
            r#"row("get", 2, READONLY.and(FAST), Group::SortedSet, (1, 1, 1), FirstKey::At(1)),"#,
        );
        check(
            &json!(["client|kill", -3, [], 0, 0, 0, [], [], [], []]),
            r#"row("client|kill", -3, NONE, Group::SortedSet, (0, 0, 0), FirstKey::Nowhere),"#,
        );
    }

    #[test]
    fn the_table_is_what_the_server_says() {
        debian::ensure(debian::REDIS).unwrap();
        let (path, table) = (path(), table().unwrap());
        let same = fs::read_to_string(path).unwrap() == table;
        assert!(same, "run `cargo stack commands`");
    }
}
