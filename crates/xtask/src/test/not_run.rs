//! Tests that cannot run here, and say so.
//!
//! A Rust test that finds what it needs missing (a loop device, strace, node) does not pass silently. It appends one line to
//! the file named by the environment variable `NUNCIO_NOT_RUN_FILE`, when that is set, and returns:
//!
//! ```text
//! TEST: REASON
//! ```
//!
//! The runner counts it as skipped and not as passed. Where `CI=true` it counts as failed, unless the reason begins with
//! `forbidden`: that is for what a machine forbids and nobody could install (`forbidden: no loop devices`).

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::tally::Tally;

/// The environment variable that names the file.
pub(super) const FILE_VARIABLE: &str = "NUNCIO_NOT_RUN_FILE";

/// A step or a test that did not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotRun {
    what: String,
    reason: String,
}

impl NotRun {
    pub(super) fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into() }
    }

    /// Reads what tests have written.
    pub(super) fn read(path: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().filter(|line| !line.trim().is_empty()).map(Self::parse).collect())
    }

    fn parse(line: &str) -> Self {
        match line.split_once(": ") {
            Some((what, reason)) => Self::new(what, reason),
            None => Self::new(line, "no reason given"),
        }
    }

    fn is_forbidden(&self) -> bool {
        self.reason.starts_with("forbidden")
    }
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NOT RUN: {}: {}", self.what, self.reason)
    }
}

/// Corrects a tally that counts what did not run as passed.
pub(super) fn settle(tally: &mut Tally, not_run: &[NotRun], in_ci: bool) {
    for one in not_run {
        tally.passed = tally.passed.saturating_sub(1);
        if in_ci && !one.is_forbidden() {
            tally.failed += 1;
        } else {
            tally.skipped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(reason: &str, in_ci: bool) -> (u64, u64, u64) {
        let mut tally = Tally { passed: 3, failed: 0, skipped: 0 };
        settle(&mut tally, &[NotRun::new("a", reason)], in_ci);
        (tally.passed, tally.failed, tally.skipped)
    }

    #[test]
    fn what_did_not_run_is_never_passed() {
        assert_eq!(settled("node is missing", false), (2, 0, 1));
        assert_eq!(settled("forbidden: no loop devices", false), (2, 0, 1));
    }

    #[test]
    fn in_ci_only_what_the_machine_forbids_may_not_run() {
        assert_eq!(settled("node is missing", true), (2, 1, 0));
        assert_eq!(settled("forbidden: no loop devices", true), (2, 0, 1));
    }

    #[test]
    fn lines_are_read_with_and_without_reason() {
        assert_eq!(NotRun::parse("a::b: no strace: none"), NotRun::new("a::b", "no strace: none"));
        assert_eq!(NotRun::parse("a::b").to_string(), "NOT RUN: a::b: no reason given");
    }
}
