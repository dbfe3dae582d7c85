//! `cargo xtask mutants`: one small fault at a time is put into a copy of the core; its tests have to notice each.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::workspace::{Metadata, cargo};

/// Options of `cargo xtask mutants`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only faults in these files, as a glob: `**/session.rs`
    #[arg(long = "file", value_name = "GLOB")]
    files: Vec<String>,
    /// What else cargo-mutants is told: `-- --shard 3/16`, `-- --list`
    #[arg(last = true)]
    more: Vec<String>,
}

/// The version whose faults are counted: another one may make others.
const VERSION: &str = "27.1.0";

/// Runs cargo-mutants by `.cargo/mutants.toml`; fails when a fault goes unnoticed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let asked = cargo(["mutants", "--version"]).output().context("cannot start cargo")?;
    if !asked.status.success() {
        println!("NOT RUN: cargo-mutants is missing: `cargo install --locked cargo-mutants --version {VERSION}`");
        return Ok(ExitCode::FAILURE);
    }
    let output = Metadata::load()?.target_directory;
    let mut command = cargo(["mutants", "--package", "nuncio-proto", "--output"]);
    command.arg(output).args(options.files.iter().flat_map(|file| ["--file", file])).args(&options.more);
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
