//! `stack test`: every test of the project, those on real servers included. Kind: driver.

use crate::{
    Error, Result, debian, place,
    process::{Process, Spec},
    progress::say,
    router::{self, Profile},
    sweeper::Sweeper,
};
use std::{
    io::{BufRead, BufReader, Write},
    process::ChildStdout,
    time::{Duration, Instant},
};

/// Cargo ends when its tests do; its output ended a moment before.
const LAST_BREATH: Duration = Duration::from_secs(60);

/// Options of `stack test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Handed to `cargo test` (`-p pg-router`, a test's name, `-- --nocapture`, …) instead of `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// Installs what building and testing need and is missing.
pub fn prepare() -> Result<()> {
    debian::ensure(&[debian::BUILD, debian::PG, debian::REDIS, debian::HTTP].concat())
}

/// Installs what is missing, builds the routers, runs the tests and sums up.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    prepare()?;
    let what = if args.cargo.is_empty() { vec!["--workspace".into()] } else { args.cargo.clone() };
    let mut cargo = place::cargo("test")?.args(["--profile", "fast", "--no-fail-fast"]).args(what);
    for name in router::ALL {
        let binary = router::build(name, Profile::Fast)?;
        cargo = cargo.env(&router::variable(name), binary.to_string_lossy());
    }
    let (sum, passed) = watch(&cargo)?;
    say(sum.text(start.elapsed()));
    if passed { Ok(()) } else { Err(Error::new("the tests didn't pass")) }
}

/// Cargo's own tests are in its process group, which must go with us, even if we are killed.
fn watch(cargo: &Spec) -> Result<(Sum, bool)> {
    say("running the tests");
    let (mut process, output) = Process::piped(cargo)?;
    let _broom = Sweeper::arm(&format!("kill -KILL -- -{} 2>/dev/null", process.pid()))?;
    let sum = pass_on(output)?;
    let status = process.wait(LAST_BREATH)?;
    Ok((sum, status.is_some_and(|status| status.success())))
}

fn pass_on(output: ChildStdout) -> Result<Sum> {
    let mut sum = Sum::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(std::io::stdout(), "{line}")?;
        sum.read(&line);
    }
    Ok(sum)
}

/// What the test binaries said, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u32,
    failed: u32,
    ignored: u32,
    failures: Vec<String>,
}

impl Sum {
    /// libtest's lines: `test NAME ... FAILED` and `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |word: &str| result.split([';', '.']).find_map(|part| count(part, word)).unwrap_or(0);
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.into());
        }
    }

    fn text(&self, elapsed: Duration) -> String {
        let Self { passed, failed, ignored, failures } = self;
        let names: String = failures.iter().map(|name| format!("\n           failed: {name}")).collect();
        format!("{passed} tests passed, {failed} failed, {ignored} ignored in {} s{names}", elapsed.as_secs())
    }
}

fn count(part: &str, word: &str) -> Option<u32> {
    part.trim().strip_suffix(word)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut sum = Sum::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.3s",
            "test result: ok. 2 passed; 0 failed; 5 ignored; 0 measured; 0 filtered out; finished in 0.31s",
        ] {
            sum.read(line);
        }
        assert_eq!(sum, Sum { passed: 5, failed: 1, ignored: 5, failures: vec!["a::c".into()] });
    }
}
