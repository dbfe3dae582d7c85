//! `cargo xtask kills --kills 200`: kill -9 either side of a conversation at random moments, and count what arrived.

#![expect(clippy::print_stdout, reason = "a campaign reports here")]

use std::process::ExitCode;

use clap::Parser;
use nuncio_cli::kills::{Plan, WRITE_PAUSE, run};
use nuncio_cli::process::Program;

/// By this word the program becomes `nuncio`, so that it needs no other binary.
const BECOME: &str = "become-nuncio";

#[derive(Parser)]
struct Args {
    /// How often an agent is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Chooses moments and victims
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == BECOME) {
        return Ok(nuncio_cli::main(words.into_iter().skip(1)));
    }
    let args = Args::parse();
    let dir = tempfile::tempdir()?;
    let killed = |done| {
        if done % 20 == 0 {
            println!("{done} kills");
        }
    };
    let plan = Plan { kills: args.kills, seed: args.seed, write_pause: WRITE_PAUSE, killed };
    let tally = tokio::runtime::Runtime::new()?.block_on(run(&Program::this(&[BECOME])?, dir.path(), plan))?;
    println!("{tally}");
    Ok(if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
