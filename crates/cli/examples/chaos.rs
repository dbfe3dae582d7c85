//! `cargo xtask chaos`: two agents write each other over everything that misbehaves, and what arrived is counted.

#![expect(clippy::print_stdout, reason = "a campaign reports here")]

use std::process::ExitCode;

use clap::Parser;
use nuncio_cli::chaos::conditions::{ALL, Condition};
use nuncio_cli::chaos::{Outcome, Row, run};
use nuncio_cli::process::Program;

/// By this word the program becomes `nuncio`, so that it needs no other binary.
const BECOME: &str = "become-nuncio";

#[derive(Parser)]
struct Args {
    /// Letters each way, in each condition
    #[arg(long, default_value_t = 1_000)]
    letters: u64,
    /// Conditions whose names begin so; all of them where none is named
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Chooses which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == BECOME) {
        return Ok(nuncio_cli::main(words.into_iter().skip(1)));
    }
    let args = Args::parse();
    let program = Program::this(&[BECOME])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let wanted = |condition: &&Condition| {
        args.only.is_empty() || args.only.iter().any(|name| condition.name.starts_with(name.as_str()))
    };
    println!("{}", Row::HEAD);
    let mut is_clean = true;
    for condition in ALL.iter().filter(wanted) {
        let dir = tempfile::tempdir()?;
        match runtime.block_on(run(&program, dir.path(), condition, args.letters, args.seed)) {
            Ok(Outcome::Ran(row)) => {
                println!("{row}");
                is_clean &= row.is_clean();
            }
            Ok(Outcome::NotRun(reason)) => println!("{:<32} NOT RUN: {reason}", condition.name),
            Ok(other) => println!("{:<32} {other:?}", condition.name),
            Err(failure) => {
                println!("{:<32} FAILED: {failure}", condition.name);
                is_clean = false;
            }
        }
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
