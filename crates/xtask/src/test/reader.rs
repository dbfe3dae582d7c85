//! The second reader: `contracts/check/check.py`.

use std::process::Command;

use anyhow::{Result, ensure};

use super::steps::counted;
use super::venv::{self, Python};
use super::{Bench, Outcome};
use crate::workspace::root;

/// Runs the second reader over the vectors.
pub(super) fn run(bench: &Bench) -> Result<Outcome> {
    let script = root().join("contracts/check/check.py");
    ensure!(
        script.is_file(),
        "contracts/check/check.py is missing: without it our own reader alone says what the vectors mean"
    );
    match venv::python(bench)? {
        Python::Here(python) => counted(Command::new(python).arg(script).current_dir(root()), bench),
        Python::Missing(outcome) => Ok(outcome),
    }
}
