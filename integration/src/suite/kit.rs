//! What the suites need: their sources, as the Python package index has them, and an environment with what they
//! import. Both are made once and kept. Kind: driver.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::debian;
use crate::error::{Context, Error, Result};
use crate::place::{self, Owner};
use crate::process::Spec;
use crate::progress::say;

use super::plan::{PACKAGES, SUITES, Suite};

/// A slow package index is still one.
const PIP: Duration = Duration::from_secs(900);

const UNPACK: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Kit {
    dir: PathBuf,
}

impl Kit {
    /// Makes what is missing.
    pub(super) fn ready() -> Result<Self> {
        debian::ensure(&[debian::REDIS, &["python3-venv"]].concat())?;
        let dir = place::data(None, &Owner::ourselves())?.join("suites-1");
        fs::create_dir_all(&dir).context(dir.display())?;
        let kit = Self { dir };
        if !kit.dir.join("complete").exists() {
            kit.make().map_err(|e| {
                let hint = "the suites come from the Python package index, which pip must be able to reach";
                Error::new(format!("{e}\n({hint})"))
            })?;
        }
        Ok(kit)
    }

    /// The interpreter that has everything.
    pub(super) fn python(&self) -> String {
        self.path("venv/bin/python")
    }

    /// Where the suite was unpacked.
    pub(super) fn sources(&self, suite: &Suite) -> PathBuf {
        self.dir.join("src").join(suite.folder)
    }

    /// A folder for what one run writes.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir).context(self.dir.display())
    }

    /// A mark is written last: half a kit is made anew.
    fn make(&self) -> Result<()> {
        say("making an environment for the suites, once");
        Spec::new("/usr/bin/python3").args(["-m", "venv", "--clear", &self.path("venv")]).output(PIP)?;
        self.pip("install").args(PACKAGES.iter().copied()).output(PIP)?;
        SUITES.iter().try_for_each(|suite| self.get(suite))?;
        let mark = self.dir.join("complete");
        fs::write(&mark, "").context(mark.display())
    }

    fn pip(&self, verb: &str) -> Spec {
        Spec::new(self.python()).args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"])
    }

    /// The archive with the tests; pip checks it against the checksum.
    fn get(&self, suite: &Suite) -> Result<()> {
        say(format_args!("getting {} {}", suite.name, suite.version));
        let archives = self.path("archives");
        let wish = self.dir.join("requirement.txt");
        fs::write(&wish, suite.requirement()).context(wish.display())?;
        // pip runs the archive's own build for its metadata, in an environment that it makes for that.
        let download =
            ["--no-deps", "--no-binary=:all:", "--require-hashes", "--dest", &archives, "--requirement"];
        self.pip("download").args(download).args([wish.to_string_lossy()]).output(PIP)?;
        let archive = format!("{}.tar.gz", self.path(&format!("archives/{}", suite.folder)));
        let sources = self.path("src");
        fs::create_dir_all(&sources).context(&sources)?;
        Spec::new("tar").args(["-xzf", &archive, "-C", &sources]).output(UNPACK).map(drop)
    }

    fn path(&self, below: &str) -> String {
        self.dir.join(below).to_string_lossy().into_owned()
    }
}
