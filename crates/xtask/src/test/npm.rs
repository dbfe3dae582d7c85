//! The packages of our JavaScript programs: what their lock files pin, beside the program that imports them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Outcome;
use super::tools::{self, INSTALL_LIMIT};
use crate::child;
use crate::workspace::root;

/// Has node, npm and exactly the locked packages of a folder there; or why they are not.
pub(super) fn packages(folder: &Path) -> Result<Option<Outcome>> {
    for tool in [&tools::NODE_20, &tools::NPM] {
        if let missing @ Outcome::NotRun(_) = tools::ensure(tool)? {
            return Ok(Some(missing));
        }
    }
    let wanted = fs::read_to_string(folder.join("package-lock.json")).context("cannot read package-lock.json")?;
    // Written last: an installation that was cut short is made again.
    let installed = folder.join("node_modules/installed-package-lock.json");
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) {
        return Ok(None);
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
    if !child::run(&mut npm, INSTALL_LIMIT)?.success {
        let named = folder.strip_prefix(root()).unwrap_or(folder).join("package.json");
        return Ok(Some(Outcome::NotRun(format!("the npm packages of {} cannot be fetched", named.display()))));
    }
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(None)
}
