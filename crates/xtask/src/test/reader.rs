//! The second reader: `contracts/check/check.py` in a virtual environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::steps::counted;
use super::{Bench, Outcome, tools};
use crate::child;
use crate::workspace::root;

const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Runs the second reader over the vectors.
pub(super) fn run(bench: &Bench) -> Result<Outcome> {
    let script = root().join("contracts/check/check.py");
    ensure!(
        script.is_file(),
        "contracts/check/check.py is missing: without it our own reader alone says what the vectors mean"
    );
    if let Outcome::NotRun(reason) = tools::ensure(&tools::PYTHON)? {
        return Ok(Outcome::NotRun(reason));
    }
    let home = bench.metadata.target_directory.join("venv");
    let Some(python) = environment(&home)? else {
        return Ok(Outcome::NotRun(
            "the Python packages of contracts/check/requirements.txt cannot be fetched".to_owned(),
        ));
    };
    counted(Command::new(python).arg(script).current_dir(root()), bench)
}

/// The interpreter of an environment that holds exactly the pinned packages; none when they cannot be fetched.
fn environment(home: &Path) -> Result<Option<PathBuf>> {
    let requirements = root().join("contracts/check/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("cannot read contracts/check/requirements.txt")?;
    let python = home.join("bin/python");
    // Written last: an installation that was cut short is made again.
    let installed = home.join("installed-requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) && tools::answers(&python, &["--version"]) {
        return Ok(Some(python));
    }
    let made = child::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home), INSTALL_LIMIT)?;
    ensure!(made.success, "python3 cannot make a virtual environment in {}", home.display());
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--requirement",
    ]);
    if !child::run(pip.arg(&requirements), INSTALL_LIMIT)?.success {
        return Ok(None);
    }
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(Some(python))
}
