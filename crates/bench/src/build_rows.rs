//! What the binary costs to build, and how large it is.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::measure::Row;

/// Seconds of a release build of `nuncio` from nothing, and MiB of what comes of it.
pub(crate) fn build() -> Result<crate::measure::Rows> {
    let folder = tempfile::tempdir()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let start = Instant::now();
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--package",
            "nuncio-cli",
            "--bin",
            "nuncio",
            "--target-dir",
        ])
        .arg(folder.path())
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the build failed");
    let seconds = start.elapsed().as_secs_f64();
    let len = std::fs::metadata(folder.path().join("release/nuncio"))?.len();
    let row = |unit, ours| Row { unit, ours, beside: None, less_is_better: true };
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a length far below 2^52")]
    let mib = len as f64 / f64::from(1 << 20);
    Ok(vec![("cold".to_owned(), row("s", seconds)), ("binary".to_owned(), row("MiB", mib))])
}
