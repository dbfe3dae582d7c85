//! The repository's own commands: `cargo xtask --help` lists them.
//!
//! A command of the repository is a program with arguments, errors and tests, not a shell script: it runs wherever the
//! code compiles.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool reports here")]

mod campaign;
mod canary;
mod child;
mod contracts;
mod fuzz;
mod mutants;
mod registry;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Campaigns => campaign::list(),
        Command::Campaign(words) => campaign::run(&words),
        Command::Contracts { check: true } => contracts::check().map(|()| ExitCode::SUCCESS),
        Command::Contracts { check: false } => contracts::write().map(|()| ExitCode::SUCCESS),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Mutants(options) => mutants::run(&options),
        Command::Test(options) => test::run(&options),
    }
}

/// The repository's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate contracts/src/registry.rs from contracts/registry.toml
    Contracts {
        /// Write nothing; fail when the committed file is stale
        #[arg(long)]
        check: bool,
    },
    /// List the long programs of our crates, each a command of its own: `cargo xtask NAME`
    Campaigns,
    #[command(external_subcommand)]
    Campaign(Vec<String>),
    /// Run the fuzz targets (needs a nightly toolchain and cargo-fuzz)
    Fuzz(fuzz::Options),
    /// Put small faults into the core, one at a time, and list those that its tests do not notice (needs cargo-mutants)
    Mutants(mutants::Options),
    /// Run every test of the repository
    ///
    /// A test that cannot run here is listed as NOT RUN with its reason, and never counted as passed; with CI=true that is
    /// a failure, unless the machine forbids it.
    Test(test::Options),
}
