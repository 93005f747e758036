//! An empty shop, migrated and seeded once: its 400 migrations take minutes, restoring what they made takes seconds.
//! Kind: driver.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    PRETIX,
    files::{self, Site},
};
use crate::{
    Context, Error, Result,
    pg::{Account, Cluster, ClusterOptions, Node, site::BIN},
    place::{self, Owner},
    process::Spec,
    progress::say,
    python,
};

/// Hundreds of migrations on a busy machine.
const MIGRATE: Duration = Duration::from_secs(1200);
/// Everything else.
const SOON: Duration = Duration::from_secs(120);

/// A database as `pg_dump` wrote it, and the names in it.
#[derive(Debug, Clone)]
pub(super) struct Dump {
    dir: PathBuf,
}

/// What is for sale, and the key to the API.
#[derive(Debug, Clone, Deserialize)]
pub struct Seed {
    /// The API's token.
    pub token: String,
    /// The product that costs nothing.
    pub free: u32,
    /// The product that is paid for by bank transfer.
    pub paid: u32,
}

/// The dump; makes it the first time.
pub(super) fn ensure() -> Result<Dump> {
    let dir = place::data(None, &Owner::ourselves())?.join("templates").join(key()?);
    if !dir.exists() {
        make(&dir).context("make an empty shop")?;
    }
    Ok(Dump { dir })
}

impl Dump {
    /// Fills the empty database of a cluster's primary.
    pub(super) fn restore(&self, primary: &Node) -> Result<()> {
        let file = self.dir.join("dump").to_string_lossy().into_owned();
        let target = primary.conninfo(Account::PRETIX);
        let args = ["--no-owner", "--no-privileges", "--exit-on-error", "-d", &target, &file];
        Spec::new(format!("{BIN}/pg_restore")).args(args).output(SOON).map(drop)
    }

    /// What is in it.
    pub(super) fn seed(&self) -> Result<Seed> {
        let file = self.dir.join("seed.json");
        let text = fs::read_to_string(&file).context(file.display())?;
        serde_json::from_str(&text).map_err(|e| Error::new(format!("{}: {e}", file.display())))
    }
}

/// Whatever goes into it is in its name.
fn key() -> Result<String> {
    let script = python::folder().join("pretix_seed.py");
    let mut hash = DefaultHasher::new();
    (PRETIX.packages, fs::read(&script).context(script.display())?).hash(&mut hash);
    Ok(format!("pretix-{:016x}", hash.finish()))
}

/// Made beside its place and moved there whole.
fn make(dir: &Path) -> Result<()> {
    let draft = dir.with_extension(format!("draft-{}", std::process::id()));
    fs::create_dir_all(&draft).context(draft.display())?;
    let cluster = Cluster::start(&ClusterOptions { nodes: 1, repmgrd: None, ..ClusterOptions::default() })?;
    let node = cluster.node(1);
    say("migrating Pretix's database, once: some two minutes, five on a busy machine");
    manage(&draft, node, &["-m", "pretix", "migrate"], MIGRATE)?;
    say("seeding an organizer, an event and products");
    let script = python::folder().join("pretix_seed.py").to_string_lossy().into_owned();
    manage(&draft, node, &[&script, &draft.join("seed.json").to_string_lossy()], SOON)?;
    let file = draft.join("dump").to_string_lossy().into_owned();
    let args = ["-Fc", "-f", &file, "-d", &node.conninfo(Account::PRETIX)];
    Spec::new(format!("{BIN}/pg_dump")).args(args).output(SOON)?;
    cluster.stop()?;
    fs::rename(&draft, dir).context(dir.display())
}

fn manage(draft: &Path, node: &Node, args: &[&str], patience: Duration) -> Result<()> {
    let site = Site { data: draft, url: "http://127.0.0.1", database: node.addr(), redis: None };
    let config = draft.join("pretix.cfg");
    place::secret(&config, &files::config(&site))?;
    super::program(&config)?.args(args.iter().copied()).output(patience).map(drop)
}
