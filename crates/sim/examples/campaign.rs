//! Thousands of runs, each from its seed; what fails says how to see it again.
//!
//! ```text
//! campaign [--channels] [--seeds FROM..TO] [--letters N] [--resume FILE] [--trace]
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::fs;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use nuncio_sim::plan::Plan;
use nuncio_sim::trace::Trace;
use nuncio_sim::world::{self, Report};

/// How often progress is said and kept.
const EVERY: u64 = 100;

struct Options {
    seeds: Range<u64>,
    letters: u64,
    resume: Option<String>,
    trace: bool,
    /// All letters of a run go to one channel.
    channels: bool,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("campaign [--channels] [--seeds FROM..TO] [--letters N] [--resume FILE] [--trace]");
        return ExitCode::from(2);
    };
    match campaign(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("{failed} seeds FAILED");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { seeds: 0..10_000, letters: 0, resume: None, trace: false, channels: false };
    let mut letters = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => {
                let text = words.next()?;
                let (from, to) = text.split_once("..")?;
                options.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--channels" => options.channels = true,
            "--letters" => letters = Some(words.next()?.parse().ok()?),
            "--resume" => options.resume = Some(words.next()?),
            "--trace" => options.trace = true,
            _ => return None,
        }
    }
    options.letters = letters.unwrap_or(if options.channels { 60 } else { 1_000 });
    Some(options)
}

/// Runs the seeds that the file does not say were run already; how many failed.
fn campaign(options: &Options) -> std::io::Result<u64> {
    let (first, mut failed) = resumed(options)?;
    let (started, mut total) = (Instant::now(), Report::default());
    for seed in first..options.seeds.end {
        match run(seed, options) {
            Some(report) => add(&mut total, &report),
            None => failed += 1,
        }
        let done = seed + 1;
        if done.is_multiple_of(EVERY) || done == options.seeds.end {
            say(done, options, failed, &total, started);
            if let Some(file) = &options.resume {
                fs::write(file, format!("{} {} {done} {failed}\n", options.seeds.start, options.letters))?;
            }
        }
    }
    Ok(failed)
}

/// The first seed to run and the failures so far. A file of another campaign is not taken up.
fn resumed(options: &Options) -> std::io::Result<(u64, u64)> {
    let fresh = (options.seeds.start, 0);
    let Some(file) = options.resume.as_ref().filter(|file| fs::exists(file).unwrap_or(false)) else { return Ok(fresh) };
    let numbers: Vec<u64> = fs::read_to_string(file)?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers.as_slice() {
        [start, letters, done, failed] if (*start, *letters) == (options.seeds.start, options.letters) => {
            Ok((*done, *failed))
        }
        _ => Err(std::io::Error::other(format!("{file} is of another campaign: remove it, or name another file"))),
    }
}

fn run(seed: u64, options: &Options) -> Option<Report> {
    let mut trace = if options.trace { Trace::on() } else { Trace::off() };
    let plan = if options.channels { Plan::of_channel } else { Plan::of_seed };
    let result = world::run(&plan(seed, options.letters), &mut trace);
    trace.lines().iter().for_each(|line| println!("{line}"));
    match result {
        Ok(report) => Some(report),
        Err(violation) => {
            println!("seed {seed}: {violation}");
            let (end, letters) = (seed + 1, options.letters);
            let channels = if options.channels { "--channels " } else { "" };
            println!(
                "  cargo run --release -p nuncio-sim --example campaign -- {channels}--seeds {seed}..{end} --letters {letters} --trace"
            );
            None
        }
    }
}

fn add(total: &mut Report, report: &Report) {
    total.written += report.written;
    total.arrived += report.arrived;
    total.failed += report.failed;
    total.frames += report.frames;
    total.crashes += report.crashes;
    total.restored += report.restored;
    total.handshakes += report.handshakes;
    total.turns += report.turns;
    total.duplicates += report.duplicates;
    total.rekeys += report.rekeys;
    total.sealed_again += report.sealed_again;
    total.with_token += report.with_token;
    total.renewed += report.renewed;
    total.token_again += report.token_again;
    total.entries += report.entries;
    total.due += report.due;
    total.chains = total.chains.max(report.chains);
}

fn say(done: u64, options: &Options, failed: u64, total: &Report, started: Instant) {
    println!(
        "{done} of {} seeds, {failed} failed, {:.0} s: {total:?}",
        options.seeds.end,
        started.elapsed().as_secs_f64()
    );
}
