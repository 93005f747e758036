//! `cargo stack`: the real stack on one machine. Kind: wiring.

use clap::{Parser, Subcommand};
use integration::{Result, bench, commands, drill, suite, test, up, upstream};
use std::process::ExitCode;

/// The real stack on one machine: servers, our routers, tests, benches and drills.
#[derive(Parser)]
#[command(name = "stack", bin_name = "cargo stack", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the stack up and keep it up until Ctrl-C
    Up(up::Args),
    /// Run every test of the project, those on real servers included
    Test(test::Args),
    /// Install the Debian packages that building and testing need, as far as they are missing
    Prepare,
    Drill(drill::Args),
    Soak(drill::Soak),
    Bench(bench::Args),
    /// Run the test suites of client libraries directly and through a router
    Suite(suite::Args),
    /// Write redis-router's table of commands from what a real Redis says of itself
    Commands(commands::Args),
    /// Be the application behind a bench of HTTP
    #[command(hide = true)]
    Upstream(upstream::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("stack: {e}");
            ExitCode::from(e.code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => up::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Prepare => test::prepare(),
        Command::Drill(args) => drill::run(&args),
        Command::Soak(args) => drill::soak(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Suite(args) => suite::run(&args),
        Command::Commands(args) => commands::run(&args),
        Command::Upstream(args) => upstream::run(&args),
    }
}
