//! `cargo stack bench`: what our routers cost beside what they replace. Kind: wiring.

pub mod http;
mod http_bars;
mod http_cases;
mod http_handshakes;
mod http_tools;
pub mod pg;
mod pgbench;
mod plan;
pub mod redis;
mod redis_bars;
mod redis_benchmark;
mod redis_cases;
mod verdict;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::error::{Context, Error, Result};

/// Measure our routers beside what they replace.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// pgbench, select-only: direct, pg-router, PgBouncer, Pgpool-II, HAProxy
    Pg(Options),
    /// redis-benchmark and an open-loop client: direct, HAProxy, twemproxy, redis-router in both modes
    Redis(Options),
    /// wrk, h2load and an open-loop client: http-lb, NGINX, HAProxy, pingora's own proxy
    Http(Options),
}

/// What every bench takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Rounds; a figure is the median of them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A first look in under a minute: one round of a few cases
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take this router instead of building one
    #[arg(long, value_name = "FILE")]
    router: Option<PathBuf>,
    /// Only these cases
    #[arg(long, value_name = "CASE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these subjects
    #[arg(long, value_name = "SUBJECT,...", value_delimiter = ',')]
    subjects: Vec<String>,
}

/// Runs the bench that was asked for.
pub fn run(args: &Args) -> Result<()> {
    match &args.suite {
        Suite::Pg(options) => pg::run(options),
        Suite::Redis(options) => redis::run(options),
        Suite::Http(options) => http::run(options),
    }
}

/// Writes a report where it was asked for.
pub(crate) fn write_json(file: Option<&Path>, report: &impl serde::Serialize) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text =
        serde_json::to_string_pretty(report).map_err(|e| Error::new(format!("the report as JSON: {e}")))?;
    std::fs::write(file, text + "\n").context(file.display())
}
