//! Configuration from a file, the environment and flags, each over the one before. Kind: wiring.
//!
//! - The file is TOML. `POOL` in a section `[pool]`, key `size`, is `PG_ROUTER_POOL__SIZE` in the environment.
//! - Unknown keys are refused, with the place where they were written and the nearest known name.
//! - A secret `foo` may be given as `foo_file` (`…__FOO_FILE`); nothing prints it.
//! - What [`Sources::load`] returns is valid: every fault is found before anything starts.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing_subscriber::EnvFilter;

mod common;
mod convert;
mod de;
mod fault;
mod secret;
mod secret_file;
mod tree;
mod units;

pub use self::common::{Admin, Core, DrainSettings, Log, LogFormat};
pub use self::fault::Fault;
pub use self::secret::Secret;
pub use self::units::{NotASize, Size, duration, optional_duration};

use self::fault::Origin;
use self::tree::{Node, Table, Value};

/// The settings of one binary, beside [`Core`]. Derive `Deserialize` with `deny_unknown_fields`.
pub trait Settings: DeserializeOwned + Serialize + Send + Sync + 'static {
    /// What no single value can tell: finds contradictions between settings.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// Files that the settings name and the service reads itself (users, certificates): a change of one of them is a
    /// change of the configuration.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A setting that is wrong in the light of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    key: String,
    text: String,
}

impl Invalid {
    /// `key` in full, such as `cluster.nodes[1]`; `text` says what is wrong and what to write instead.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

/// One setting from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    key: &'static str,
    flag: &'static str,
    value: String,
}

impl Override {
    /// The flag (`--state-dir`) sets the key (`state_dir`, or `pool.size`) to a value.
    pub fn new(flag: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        Self { key, flag, value: value.into() }
    }
}

/// Where the configuration comes from. Loading again reads the files again.
#[derive(Debug, Clone)]
pub struct Sources {
    prefix: String,
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    overrides: Vec<Override>,
}

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded<C> {
    /// What every binary has.
    pub core: Arc<Core>,
    /// What this binary has.
    pub service: Arc<C>,
    /// The files that were read: a change of one of them is a change of the configuration.
    pub files: Vec<PathBuf>,
}

impl Sources {
    /// The sources of a binary (`pg-router` listens to `PG_ROUTER_…`).
    pub fn new(binary: &str, file: Option<PathBuf>, overrides: Vec<Override>) -> Self {
        let prefix = format!("{}_", binary.replace('-', "_").to_uppercase());
        Self { prefix, file, environment: Vec::new(), overrides }
    }

    /// Takes the variables that carry the binary's prefix; other variables are none of our business.
    #[must_use]
    pub fn with_environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Self {
        let ours = |(name, value): (String, String)| {
            let key = name.strip_prefix(&self.prefix)?;
            (!is_reserved(key)).then_some((name, value))
        };
        self.environment = variables.filter_map(ours).collect();
        self
    }

    /// Reads, lays over and checks everything.
    pub fn load<C: Settings>(&self) -> Result<Loaded<C>, Fault> {
        let table = self.tree()?;
        let (core, service) = split(table.clone());
        let files = RefCell::new(Vec::from_iter(self.file.clone()));
        let read = |path: &Path| {
            files.borrow_mut().push(path.to_owned());
            fs::read_to_string(path)
        };
        let core: Core = de::from_table(core, &read)?;
        check_log(&core.log).map_err(|invalid| place(invalid, &table))?;
        let service: C = de::from_table(service, &read).map_err(|fault| fault.also_known(&common::KEYS))?;
        service.check().map_err(|invalid| place(invalid, &table))?;
        let mut files = files.into_inner();
        files.extend(service.files());
        Ok(Loaded { core: Arc::new(core), service: Arc::new(service), files })
    }

    fn tree(&self) -> Result<Table, Fault> {
        let mut table = match &self.file {
            Some(path) => tree::parse(path, &read_config(path)?)?,
            None => Table::new(),
        };
        for (name, value) in &self.environment {
            let path = self.path_of(name);
            let node = Node { value: Value::Raw(value.clone()), origin: Origin::Env(name.as_str().into()) };
            tree::lay_over(&mut table, &path, node)?;
        }
        for Override { key, flag, value } in &self.overrides {
            let path: Vec<_> = key.split('.').map(str::to_owned).collect();
            let node = Node { value: Value::Raw(value.clone()), origin: Origin::Flag((*flag).into()) };
            tree::lay_over(&mut table, &path, node)?;
        }
        Ok(table)
    }

    /// `PG_ROUTER_POOL__SIZE` is `pool.size`.
    fn path_of(&self, name: &str) -> Vec<String> {
        name[self.prefix.len()..].to_lowercase().split("__").map(str::to_owned).collect()
    }
}

impl<C: Settings> Loaded<C> {
    /// The effective configuration as TOML, with secrets as `***`.
    pub fn effective(&self) -> Result<String, Fault> {
        let mut all = toml::Table::try_from(&*self.core).map_err(Fault::value)?;
        all.extend(toml::Table::try_from(&*self.service).map_err(Fault::value)?);
        toml::to_string_pretty(&all).map_err(Fault::value)
    }
}

fn read_config(path: &Path) -> Result<String, Fault> {
    let unreadable = |error: io::Error| {
        Fault::value(format_args!("can't read the configuration {}: {error}", path.display()))
    };
    fs::read_to_string(path).map_err(unreadable)
}

fn check_log(log: &Log) -> Result<(), Invalid> {
    let remedy = "expected error, warn, info, debug, trace or directives such as \"info,proxy_core=debug\"";
    let check = EnvFilter::builder().parse(&log.level);
    check.map(drop).map_err(|error| Invalid::new("log.level", format!("{error}: {remedy}")))
}

/// The part of the core, and the rest.
fn split(table: Table) -> (Table, Table) {
    let is_core = |key: &str| common::KEYS.contains(&key);
    table.into_iter().partition(|(key, _)| is_core(key))
}

/// Says where the setting that was found wrong was written.
fn place(invalid: Invalid, table: &Table) -> Fault {
    let fault = Fault::value(invalid.text);
    match tree::origin_of(table, &invalid.key) {
        Some(origin) => fault.at(origin).under(&invalid.key),
        None => fault.under(&invalid.key),
    }
}

/// Those of `keys` (JSON pointers such as `/pool/size`) that differ, once both are written out: what a reload can't
/// change is named so. Secrets are written as `***`, so that they never differ here.
pub(crate) fn changed<C: Serialize>(old: &C, new: &C, keys: &[&'static str]) -> Vec<&'static str> {
    let [old, new] = [old, new].map(|config| serde_json::to_value(config).unwrap_or_default());
    keys.iter().copied().filter(|key| old.pointer(key) != new.pointer(key)).collect()
}

/// Variables with our prefix that are no settings: the path of the file itself, and what Kubernetes and Docker
/// put into every container for a service that goes by our name (`PG_ROUTER_SERVICE_HOST`,
/// `PG_ROUTER_PORT_6432_TCP_ADDR`).
///
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_reserved(key: &str) -> bool {
    let link = key.strip_prefix("PORT_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let service = key.strip_prefix("SERVICE_").is_some_and(|rest| rest == "HOST" || rest.starts_with("PORT"));
    key == "CONFIG" || key == "PORT" || link || service
}

#[cfg(test)]
mod tests;
