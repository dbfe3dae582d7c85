//! `cargo xtask fuzz`: every cargo-fuzz target, each for a while.

mod ledger;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::child;
use crate::tally::Tally;
use crate::workspace::{Metadata, cargo, root};
use ledger::{Run, sums};

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Write down what each run was in this file, and go on with who has had least of it
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Leave out what has had so many seconds in all, by the ledger
    #[arg(long, default_value_t = 3600, requires = "ledger")]
    enough: u64,
    /// Run nothing: print what the ledger says of each target
    #[arg(long, requires = "ledger")]
    sum: bool,
    /// Only these targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// A sanitized build of everything is part of the first target's time.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs the targets one after another; fails when one of them finds something.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let targets = due(chosen(options)?, options)?;
    if options.sum {
        return Ok(ExitCode::SUCCESS);
    }
    let scratch = Metadata::load()?.target_directory.join("fuzz-corpus");
    let mut total = Tally::default();
    for target in &targets {
        println!("\n=== fuzz {target}");
        let start = Instant::now();
        let (clean, run) = run_target(target, options.seconds, &scratch)?;
        if let Some((ledger, run)) = options.ledger.as_ref().zip(run) {
            run.add_to(ledger)?;
        }
        let verdict = if clean { "clean" } else { "FAILED" };
        println!("=== fuzz {target}: {verdict} after {} s", start.elapsed().as_secs());
        total += Tally::one(clean);
    }
    if total.failed > 0 {
        println!("what made a target fail is in fuzz/artifacts");
    }
    Ok(total.conclude())
}

fn chosen(options: &Options) -> Result<Vec<String>> {
    let output = cargo(["+nightly", "fuzz", "list"]).output().context("cannot start cargo")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("cargo-fuzz on a nightly toolchain is needed (`cargo install --locked cargo-fuzz`): {}", why.trim());
    }
    let known: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("no fuzz target is called {unknown}; there are: {}", known.join(", "));
    }
    ensure!(!known.is_empty(), "fuzz/Cargo.toml has no targets");
    Ok(if options.targets.is_empty() { known } else { options.targets.clone() })
}

/// Those that have not had enough, who has had least first. Prints what each has had.
fn due(mut targets: Vec<String>, options: &Options) -> Result<Vec<String>> {
    let Some(ledger) = &options.ledger else { return Ok(targets) };
    let sums = sums(ledger)?;
    let had = |target: &String| sums.get(target).copied().unwrap_or_default();
    targets.sort_by_key(|target| had(target).seconds);
    for target in &targets {
        let sum = had(target);
        println!(
            "{target:<16} {:>6} s {:>13} inputs {:>6} edges {:>3} found",
            sum.seconds, sum.executions, sum.coverage, sum.found
        );
    }
    targets.retain(|target| !had(target).has_had(options.enough));
    Ok(targets)
}

/// libFuzzer writes what it finds interesting into the first corpus, so that is a scratch folder: the committed ones stay
/// small and change only by hand.
fn run_target(target: &str, seconds: u64, scratch: &Path) -> Result<(bool, Option<Run>)> {
    let found = scratch.join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let committed = root().join("fuzz/corpus").join(target);
    let mut command: Command = cargo(["+nightly", "fuzz", "run", target]);
    command.arg(&found);
    if committed.is_dir() {
        command.arg(&committed);
    }
    command.arg("--").arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
    let finished = child::run(&mut command, BUILD_LIMIT + Duration::from_secs(seconds))?;
    Ok((finished.success, Run::of(target, &finished.lines, finished.success)))
}
