//! `cargo xtask test`: everything that a merge must pass, as named steps, with one table at the end.

mod model;
mod not_run;
mod npm;
mod page;
mod reader;
mod report;
mod steps;
mod strangers;
mod tools;
mod venv;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::tally::Tally;
use crate::workspace::{self, Metadata};
use not_run::NotRun;
use report::Row;
use steps::{STEPS, Step};

/// Options of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Name the steps and what they do
    #[arg(long)]
    list: bool,
}

/// What the steps share.
struct Bench {
    metadata: Metadata,
    /// Tests that cannot run add a line here: see [`not_run`].
    not_run_file: PathBuf,
}

/// How a step ended.
enum Outcome {
    Ran(Tally),
    NotRun(String),
}

/// Runs the steps; fails when one of them fails.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let steps = chosen(options)?;
    if options.list {
        for step in steps {
            println!("{:<10} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let metadata = Metadata::load()?;
    fs::create_dir_all(&metadata.target_directory)?;
    let not_run_file = metadata.target_directory.join("not-run.txt");
    let bench = Bench { metadata, not_run_file };
    let mut rows = Vec::new();
    for step in steps {
        rows.push(run_step(step, &bench)?);
    }
    Ok(report::print(&rows).conclude())
}

fn chosen(options: &Options) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = options.only.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        bail!("no step is called {unknown}: see `cargo xtask test --list`");
    }
    let wanted = |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

fn run_step(step: &Step, bench: &Bench) -> Result<Row> {
    println!("\n=== {}: {}", step.name, step.about);
    fs::write(&bench.not_run_file, "").with_context(|| format!("cannot write {}", bench.not_run_file.display()))?;
    let start = Instant::now();
    let outcome = (step.run)(bench);
    let took = start.elapsed();
    let from_tests = NotRun::read(&bench.not_run_file)?;
    let (mut tally, mut not_run, error) = match outcome {
        Ok(Outcome::Ran(tally)) => (tally, Vec::new(), None),
        Ok(Outcome::NotRun(reason)) => (Tally::one(true), vec![NotRun::new(step.name, reason)], None),
        Err(error) => (Tally::one(false), Vec::new(), Some(format!("{error:#}"))),
    };
    not_run.extend(from_tests);
    let ignored = tally.skipped;
    not_run::settle(&mut tally, &not_run, workspace::in_ci());
    if ignored > 0 {
        not_run.push(NotRun::new(step.name, format!("{ignored} that are marked to be ignored")));
    }
    Ok(Row { name: step.name, tally, not_run, error, took })
}
