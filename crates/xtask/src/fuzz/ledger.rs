//! How long each target has run in all, by what its runs said: one JSON object a line, added to and never changed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// One run of a target.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(super) struct Run {
    pub(super) target: String,
    /// How long it was tried, without its build.
    pub(super) seconds: u64,
    /// Inputs that were tried.
    pub(super) executions: u64,
    /// Edges of the program that were reached in the end, by libFuzzer's count.
    pub(super) coverage: u64,
    /// Nothing was found.
    pub(super) clean: bool,
}

impl Run {
    /// What libFuzzer printed with `-print_final_stats=1`; none, where it did not come to its end.
    pub(super) fn of(target: &str, lines: &[String], clean: bool) -> Option<Self> {
        let stat = |name: &str| {
            let line = lines.iter().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line?.trim_start_matches(':').trim().parse::<u64>().ok()
        };
        let executions = stat("number_of_executed_units")?;
        let each = stat("average_exec_per_sec").filter(|each| *each > 0);
        let done = lines.iter().rev().find_map(|line| line.strip_prefix("Done ")?.split_once(" runs in "));
        let told = done.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        // What crashes at once says of neither.
        let seconds = told.or_else(|| Some(executions / each?)).unwrap_or(0);
        let coverage = lines.iter().rev().find_map(|line| line.split_once(" cov: ")?.1.split_whitespace().next());
        let coverage = coverage.and_then(|number| number.parse().ok()).unwrap_or(0);
        Some(Self { target: target.to_owned(), seconds, executions, coverage, clean })
    }

    /// Adds it to a ledger.
    pub(super) fn add_to(&self, ledger: &Path) -> Result<()> {
        let line = format!("{}\n", serde_json::to_string(self)?);
        let file = OpenOptions::new().create(true).append(true).open(ledger);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .with_context(|| format!("cannot write {}", ledger.display()))
    }
}

/// What a target has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) seconds: u64,
    pub(super) executions: u64,
    pub(super) coverage: u64,
    /// Runs that found something.
    pub(super) found: u64,
    /// The last one found something.
    pub(super) is_open: bool,
}

impl Sum {
    /// Whether it need not run any more: what found something last is never done.
    pub(super) const fn has_had(&self, enough: u64) -> bool {
        self.seconds >= enough && !self.is_open
    }
}

/// By target; empty where there is no ledger yet.
///
/// # Errors
/// It cannot be read, or holds something else.
pub(super) fn sums(ledger: &Path) -> Result<BTreeMap<String, Sum>> {
    let text = match fs::read_to_string(ledger) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.with_context(|| format!("cannot read {}", ledger.display()))?,
    };
    let mut sums = BTreeMap::<String, Sum>::new();
    for (line, no) in text.lines().zip(1..) {
        let run: Run = serde_json::from_str(line).with_context(|| format!("{}, line {no}", ledger.display()))?;
        let sum = sums.entry(run.target).or_default();
        sum.seconds += run.seconds;
        sum.executions += run.executions;
        sum.coverage = sum.coverage.max(run.coverage);
        sum.found += u64::from(!run.clean);
        sum.is_open = !run.clean;
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_run_is_what_libfuzzer_says_of_it() {
        let said = lines(
            "#2\tINITED cov: 7 ft: 8 corp: 1/1b\n#9\tDONE   cov: 31 ft: 40 corp: 5/90b lim: 4096\nDone 900 runs in 31 second(s)\nstat::number_of_executed_units: 900\nstat::average_exec_per_sec:     29",
        );
        let run = Run::of("frame", &said, true).expect("a run");
        assert_eq!((run.seconds, run.executions, run.coverage, run.clean), (31, 900, 31, true));
        // What finds something says no `Done`.
        let found =
            Run::of("frame", &lines("stat::number_of_executed_units: 900\nstat::average_exec_per_sec: 30"), false);
        assert_eq!(found.map(|run| run.seconds), Some(30));
        let at_once =
            Run::of("frame", &lines("stat::number_of_executed_units: 1\nstat::average_exec_per_sec: 0"), false);
        assert_eq!(at_once.map(|run| (run.seconds, run.clean)), Some((0, false)));
        assert_eq!(Run::of("frame", &lines("error: could not compile"), false), None);
    }

    #[test]
    fn what_found_something_last_is_not_done_however_long_it_ran() {
        let ledger = std::env::temp_dir().join(format!("nuncio-fuzz-ledger-{}", std::process::id()));
        let run = |target: &str, seconds, clean| Run {
            target: target.to_owned(),
            seconds,
            executions: 1,
            coverage: 1,
            clean,
        };
        for run in
            [run("a", 50, true), run("a", 60, false), run("b", 60, false), run("b", 60, true), run("c", 60, true)]
        {
            run.add_to(&ledger).expect("a line");
        }
        let sums = sums(&ledger);
        std::fs::remove_file(&ledger).expect("it was there");
        let sums = sums.expect("lines");
        let done = |target: &str| sums.get(target).is_some_and(|sum| sum.has_had(100));
        assert_eq!((done("a"), done("b"), done("c")), (false, true, false));
    }
}
