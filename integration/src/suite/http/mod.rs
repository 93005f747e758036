//! `cargo stack suite http`: http-lb against those who don't keep to the rules, and those who do in all of their ways:
//! smuggled requests, WebSocket, slow attacks, TLS, HTTP/2 frame by frame, hostile input. Kind: wiring.

#[path = "../../../../http-lb/tests/corpus/mod.rs"]
mod corpus;
mod frames;
mod hostile;
mod raw;
mod report;
mod slow;
mod smuggling;
mod stage;
mod testssl;
mod websocket;

use std::path::{Path, PathBuf};

use crate::bench::write_json;
use crate::error::{Error, Result};
use crate::progress::say;
use crate::router::{self, Profile};

pub use report::{Part, Report};

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A shorter look: fewer rounds, no peers
    #[arg(long)]
    quick: bool,
    /// Only these parts: smuggling, websocket, frames, hostile, testssl, slow
    #[arg(long, value_name = "PART,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Write what came out to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take this router instead of building one
    #[arg(long, value_name = "FILE")]
    router: Option<PathBuf>,
}

/// A part, and what runs it: the binary, and whether a short look is enough.
type Run = fn(&Path, bool) -> Result<Part>;

const PARTS: &[(&str, Run)] = &[
    ("smuggling", smuggling::run),
    ("websocket", websocket::run),
    ("frames", frames::run),
    ("hostile", hostile::run),
    ("testssl", testssl::run),
    ("slow", slow::run),
];

/// Runs the parts that were asked for.
pub(super) fn run(options: &Options) -> Result<()> {
    let parts = chosen(&options.only)?;
    let binary = match &options.router {
        Some(given) => given.clone(),
        None => router::build(router::HTTP, if options.quick { Profile::Fast } else { Profile::Release })?,
    };
    let mut report = Report::default();
    for (name, run) in parts {
        say(format_args!("{name} begins"));
        let part = run(&binary, options.quick)?;
        println!("{}", part.text());
        report.parts.push(part);
    }
    write_json(options.json.as_deref(), &report)?;
    if report.is_good() { Ok(()) } else { Err(Error::new("not all of it is as it should be")) }
}

/// A short look at one part, for the tests; an error tells what is wrong.
pub fn check(name: &str) -> Result<Part> {
    let parts = chosen(&[name.into()])?;
    let part = parts[0].1(&router::binary(router::HTTP)?, true)?;
    if part.good { Ok(part) } else { Err(Error::new(part.text())) }
}

fn chosen(only: &[String]) -> Result<Vec<&'static (&'static str, Run)>> {
    if let Some(name) = only.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let known: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(Error::usage(format!("there is no part {name}; there are: {}", known.join(", "))));
    }
    Ok(PARTS.iter().filter(|(part, _)| only.is_empty() || only.iter().any(|name| name == part)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_chosen_by_its_name() {
        assert_eq!(chosen(&[]).unwrap().len(), PARTS.len());
        assert_eq!(chosen(&["slow".into()]).unwrap()[0].0, "slow");
        assert_eq!(chosen(&["fast".into()]).unwrap_err().code(), 2);
    }
}
