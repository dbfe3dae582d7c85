//! Timing: short batches, interleaved with those of the other side, lower decile.

use std::time::Instant;

use anyhow::Result;

/// One row of the table, as it was measured.
pub(crate) struct Row {
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) beside: Option<(&'static str, f64)>,
    /// Whether less is better (a time, a size) or more (a rate).
    pub(crate) less_is_better: bool,
}

impl Row {
    pub(crate) fn time_us(ours: f64, beside: &'static str, its: f64) -> Self {
        Self { unit: "us", ours, beside: Some((beside, its)), less_is_better: true }
    }
}

/// Rows that are measured together, each with the end of its name: a word, or of a curve the size at which it was measured.
pub(crate) type Rows = Vec<(String, Row)>;

/// Rounds of each side.
pub(crate) const ROUNDS: usize = 60;

/// Times two things in turn, each of which does `count` operations a round and says how long they took: microseconds for one.
pub(crate) fn interleaved(count: u32, mut ours: impl FnMut() -> f64, mut its: impl FnMut() -> f64) -> (f64, f64) {
    let (mut a, mut b) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        a.push(ours() / f64::from(count));
        b.push(its() / f64::from(count));
    }
    (decile(&mut a), decile(&mut b))
}

/// [`interleaved`] of work that may fail, so many rounds: what each side took, the lower decile of what its rounds say.
pub(crate) fn in_turn(
    rounds: usize,
    mut ours: impl FnMut() -> Result<f64>,
    mut its: impl FnMut() -> Result<f64>,
) -> Result<(f64, f64)> {
    let (mut a, mut b) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for _ in 0..rounds {
        a.push(ours()?);
        b.push(its()?);
    }
    Ok((decile(&mut a), decile(&mut b)))
}

/// The lower decile: what a quiet machine would show.
pub(crate) fn decile(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 10).copied().unwrap_or(f64::NAN)
}

/// Microseconds that a piece of work takes.
pub(crate) fn time_us(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

/// What a piece of work that may fail gives, and the microseconds that it takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed().as_secs_f64() * 1e6))
}
