//! The virtual environments of our Python programs: what their requirements files pin, and nothing else.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tools::{self, INSTALL_LIMIT};
use super::{Bench, Outcome};
use crate::child;
use crate::workspace::root;

/// The interpreter, or why there is none.
pub(super) enum Python {
    Here(PathBuf),
    Missing(Outcome),
}

/// Makes the environment that most of them share, where it is not there yet.
pub(super) fn python(bench: &Bench) -> Result<Python> {
    environment(bench, "venv", &["contracts/check/requirements.txt", "contracts/strangers/requirements.txt"])
}

/// Makes an environment of what files pin, where it is not there yet.
pub(super) fn environment(bench: &Bench, name: &str, requirements: &[&str]) -> Result<Python> {
    if let missing @ Outcome::NotRun(_) = tools::ensure(&tools::PYTHON)? {
        return Ok(Python::Missing(missing));
    }
    let home = bench.metadata.target_directory.join(name);
    let read = |file: &&str| fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"));
    let wanted = requirements.iter().map(read).collect::<Result<String>>()?;
    let python = home.join("bin/python");
    // Written last: an installation that was cut short is made again.
    let installed = home.join("installed-requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) && tools::answers(&python, &["--version"]) {
        return Ok(Python::Here(python));
    }
    let made = child::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), INSTALL_LIMIT)?;
    ensure!(made.success, "python3 cannot make a virtual environment in {}", home.display());
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    for file in requirements {
        pip.arg("--requirement").arg(root().join(file));
    }
    if !child::run(&mut pip, INSTALL_LIMIT)?.success {
        let reason = format!("the Python packages of {} cannot be fetched", requirements.join(" and "));
        return Ok(Python::Missing(Outcome::NotRun(reason)));
    }
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(Python::Here(python))
}
