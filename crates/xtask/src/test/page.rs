//! The node's page in a real browser: `crates/node/browser`.

use std::process::Command;

use anyhow::Result;

use super::steps::{built, counted};
use super::{Bench, Outcome, npm, tools};
use crate::workspace::root;

/// Drives Chromium over the page while `nuncio demo travel --watch` runs.
pub(super) fn run(bench: &Bench) -> Result<Outcome> {
    let folder = root().join("crates/node/browser");
    if let missing @ Outcome::NotRun(_) = tools::ensure(&tools::CHROMIUM)? {
        return Ok(missing);
    }
    if let Some(missing) = npm::packages(&folder)? {
        return Ok(missing);
    }
    let mut node = Command::new("node");
    node.arg(folder.join("watch.mjs")).env("NUNCIO", built(bench, "nuncio")?).env("CHROMIUM", tools::CHROMIUM_PATH);
    counted(node.env("SCREENSHOTS", bench.metadata.target_directory.join("tmp/page")), bench)
}
