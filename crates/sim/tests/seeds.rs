//! Three hundred runs of two hundred letters at each merge; `cargo xtask sim` goes on from there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use nuncio_sim::plan::Plan;
use nuncio_sim::trace::Trace;
use nuncio_sim::world;

const LETTERS: u64 = 200;

/// Runs seeds and names those that fail, with the command that shows them.
fn run(seeds: core::ops::Range<u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        match world::run(&Plan::of_seed(seed, LETTERS), &mut Trace::off()) {
            Ok(report) => assert_eq!(report.written, LETTERS, "seed {seed}"),
            Err(violation) => failed.push(format!(
                "{violation}\n  cargo xtask sim --seeds {seed}..{} --letters {LETTERS} --trace",
                seed + 1
            )),
        }
    }
    assert!(failed.is_empty(), "{} seeds fail:\n{}", failed.len(), failed.join("\n"));
}

// Six tests, so that a runner of tests uses all cores.
#[test]
fn seeds_0_to_50() {
    run(0..50);
}

#[test]
fn seeds_50_to_100() {
    run(50..100);
}

#[test]
fn seeds_100_to_150() {
    run(100..150);
}

#[test]
fn seeds_150_to_200() {
    run(150..200);
}

#[test]
fn seeds_200_to_250() {
    run(200..250);
}

#[test]
fn seeds_250_to_300() {
    run(250..300);
}
