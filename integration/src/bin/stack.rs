//! `cargo stack`: the real stack on one machine. Kind: wiring.

use clap::{Parser, Subcommand};
use integration::Result;

/// The real stack on one machine: servers, our routers, tests, benches and drills.
#[derive(Parser)]
#[command(name = "stack", bin_name = "cargo stack", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Drill(integration::drill::Args),
    Bench(integration::bench::Args),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Drill(args) => integration::drill::run(args),
        Command::Bench(args) => integration::bench::run(args),
    }
}
