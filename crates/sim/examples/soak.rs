//! Hostile frames without number, in slices that can be run at any time; what ended well adds up in a ledger.
//!
//! ```text
//! soak [--frames N] [--from SEED] [--slice N] [--threads N] [--ledger FILE]    run; behind the ledger's last seed, unless a seed is given
//! soak --sum --ledger FILE                                                     add up
//! ```
//!
//! `crates/sim/soak.jsonl` is the ledger of what was run.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use nuncio_sim::soak::ledger::{self, Sum};
use nuncio_sim::soak::{Tally, slice};

const USAGE: &str =
    "soak [--frames N] [--from SEED] [--slice N] [--threads N] [--ledger FILE] | soak --sum --ledger FILE";

struct Options {
    frames: u64,
    from: Option<u64>,
    slice: u64,
    threads: usize,
    ledger: Option<PathBuf>,
    sum: bool,
}

/// What all threads share.
struct Run<'a> {
    options: &'a Options,
    next: AtomicU64,
    end: u64,
    broken: AtomicU64,
    frames: AtomicU64,
    started: Instant,
    /// One line at a time.
    ledger: Mutex<()>,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { frames: 10_000_000, from: None, slice: 10_000_000, threads, ledger: None, sum: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--frames" => options.frames = number(&words.next()?)?,
            "--from" => options.from = Some(number(&words.next()?)?),
            "--slice" => options.slice = number(&words.next()?)?.max(1),
            "--threads" => options.threads = usize::try_from(number(&words.next()?)?).ok()?.max(1),
            "--ledger" => options.ledger = Some(words.next()?.into()),
            "--sum" => options.sum = true,
            _ => return None,
        }
    }
    (!options.sum || options.ledger.is_some()).then_some(options)
}

/// A number, in which thousands may be set apart: `1_000_000` or `1,000,000`.
fn number(word: &str) -> Option<u64> {
    word.replace(['_', ','], "").parse().ok()
}

fn run(options: &Options) -> io::Result<ExitCode> {
    let told = match &options.ledger {
        Some(file) if options.sum || file.exists() => ledger::sum(&fs::read_to_string(file)?),
        _ => Sum { next: 1, ..Sum::default() },
    };
    if options.sum {
        say(&told);
        return Ok(if told.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let first = options.from.unwrap_or(told.next);
    let run = Run {
        options,
        next: AtomicU64::new(first),
        end: first + options.frames.div_ceil(options.slice),
        broken: AtomicU64::new(0),
        frames: AtomicU64::new(0),
        started: Instant::now(),
        ledger: Mutex::new(()),
    };
    let results: Vec<io::Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(|| run.slices())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
    });
    results.into_iter().collect::<io::Result<()>>()?;
    let (frames, broken) = (run.frames.load(Ordering::Relaxed), run.broken.load(Ordering::Relaxed));
    println!("{frames} hostile frames in {:.1} s, {broken} slices broken", run.started.elapsed().as_secs_f64());
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Run<'_> {
    /// Slices, one after the other, until there are no more.
    fn slices(&self) -> io::Result<()> {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                return Ok(());
            }
            let began = Instant::now();
            let outcome = slice(seed, self.options.slice);
            let seconds = began.elapsed().as_secs_f64();
            let line = ledger::line(seed, &outcome, seconds);
            let frames = outcome.as_ref().map_or(0, Tally::frames);
            let all = self.frames.fetch_add(frames, Ordering::Relaxed) + frames;
            let _one = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = &self.options.ledger {
                ledger::append(file, &line)?;
            }
            println!("{line}");
            eprintln!(
                "{all} frames after {:.0} s; this slice {}",
                self.started.elapsed().as_secs_f64(),
                rate(frames, seconds)
            );
            if let Err(broken) = &outcome {
                self.broken.fetch_add(1, Ordering::Relaxed);
                eprintln!(
                    "seed {seed}: {broken}\n  cargo xtask soak --from {seed} --frames {0} --slice {0}",
                    self.options.slice
                );
            }
        }
    }
}

fn rate(frames: u64, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a rate for people")]
    let rate = frames as f64 / seconds / 1_000_000.0;
    format!("{rate:.2} million a second and thread")
}

fn say(sum: &Sum) {
    for (name, count) in &sum.counts {
        println!("{name:<10} {count:>15}");
    }
    let frames = sum.counts.get("frames").copied().unwrap_or_default();
    println!("{} slices well, {} broken {:?}, {} lines unread", sum.slices, sum.broken.len(), sum.broken, sum.unread);
    println!("{:.0} s of one thread, {}", sum.seconds, rate(frames, sum.seconds));
}
