//! The table at the end.

use std::time::Duration;

use super::not_run::NotRun;
use crate::tally::Tally;

/// What one step came to.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) tally: Tally,
    pub(super) not_run: Vec<NotRun>,
    pub(super) error: Option<String>,
    pub(super) took: Duration,
}

/// Prints the table, what failed, and what did not run with its reason.
pub(super) fn print(rows: &[Row]) -> Tally {
    let mut total = Tally::default();
    let mut took = Duration::ZERO;
    println!("\n{:<10} {:>8} {:>8} {:>8} {:>9}", "step", "passed", "failed", "not run", "time");
    for row in rows {
        println!("{}", line(row.name, row.tally, row.took));
        total += row.tally;
        took += row.took;
    }
    println!("{}\n", line("all", total, took));
    for row in rows {
        if row.tally.failed > 0 {
            println!("FAILED: {}: {}", row.name, row.error.as_deref().unwrap_or("its own output above says what"));
        }
        for not_run in &row.not_run {
            println!("{not_run}");
        }
    }
    total
}

fn line(name: &str, tally: Tally, took: Duration) -> String {
    let Tally { passed, failed, skipped } = tally;
    format!("{name:<10} {passed:>8} {failed:>8} {skipped:>8} {:>7.1} s", took.as_secs_f64())
}
