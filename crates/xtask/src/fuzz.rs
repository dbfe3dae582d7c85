//! `cargo xtask fuzz`: every cargo-fuzz target, each for a while.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::child;
use crate::tally::Tally;
use crate::workspace::{Metadata, cargo, root};

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Only these targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// A sanitized build of everything is part of the first target's time.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs the targets one after another; fails when one of them finds something.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let targets = chosen(options)?;
    let scratch = Metadata::load()?.target_directory.join("fuzz-corpus");
    let mut total = Tally::default();
    for target in &targets {
        println!("\n=== fuzz {target}");
        let start = Instant::now();
        let clean = run_target(target, options.seconds, &scratch)?;
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

/// libFuzzer writes what it finds interesting into the first corpus, so that is a scratch folder: the committed ones stay
/// small and change only by hand.
fn run_target(target: &str, seconds: u64, scratch: &Path) -> Result<bool> {
    let found = scratch.join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let committed = root().join("fuzz/corpus").join(target);
    let mut command: Command = cargo(["+nightly", "fuzz", "run", target]);
    command.arg(&found);
    if committed.is_dir() {
        command.arg(&committed);
    }
    command.arg("--").arg(format!("-max_total_time={seconds}"));
    Ok(child::run(&mut command, BUILD_LIMIT + Duration::from_secs(seconds))?.success)
}
