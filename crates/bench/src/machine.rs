//! On what it was measured.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A machine and what ran on it, as a report names them: no name of a host, no path.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The processor's own name.
    pub(crate) processor: String,
    /// How many threads it runs at once.
    pub(crate) threads: usize,
    /// System and release.
    pub(crate) system: String,
    pub(crate) compiler: String,
    /// The commit that was measured, and whether the tree was changed since.
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn this() -> Result<Self> {
        let about = std::fs::read_to_string("/proc/cpuinfo").context("the processor's name (Linux only)")?;
        let name = about.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unnamed");
        let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
        Ok(Self {
            processor: name.trim_start_matches(|c: char| c == ':' || c.is_whitespace()).to_owned(),
            threads: std::thread::available_parallelism()?.get(),
            system: said("uname", &["-sr"])?,
            compiler: said("rustc", &["--version"])?,
            commit: if changed { format!("{commit}, changed") } else { commit },
        })
    }
}

fn said(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {} failed", words.join(" "));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
