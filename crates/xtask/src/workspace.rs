//! Where things are, and cargo itself as a child process.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::campaign::Campaign;

/// What this program needs of `cargo metadata`.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
    /// `[package.metadata]`; null where there is none.
    metadata: Option<Extra>,
}

#[derive(Deserialize)]
struct Extra {
    #[serde(default)]
    xtask: BTreeMap<String, Campaign>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Metadata {
    /// Asks cargo about the workspace's own packages.
    pub(crate) fn load() -> Result<Self> {
        let output =
            cargo(["metadata", "--no-deps", "--format-version", "1"]).output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata printed something else")
    }

    /// The programs that our crates offer: package, name, program.
    pub(crate) fn campaigns(&self) -> impl Iterator<Item = (&str, &String, &Campaign)> {
        let offered = self.packages.iter().filter_map(|p| Some((p.name.as_str(), &p.metadata.as_ref()?.xtask)));
        offered.flat_map(|(package, campaigns)| campaigns.iter().map(move |(name, campaign)| (package, name, campaign)))
    }

    /// The examples of one package, by name.
    pub(crate) fn examples(&self, package: &str) -> Vec<&str> {
        let targets = self.packages.iter().filter(|p| p.name == package).flat_map(|p| &p.targets);
        targets.filter(|t| t.kind.iter().any(|kind| kind == "example")).map(|t| t.name.as_str()).collect()
    }
}

/// The repository's root: two folders above this crate.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// `cargo ARGS` at the root, without what the cargo that started this program left in the environment for it alone: build
/// scripts that watch those variables would run again.
///
/// The name is looked up in PATH, not in `$CARGO`, so that rustup's `+toolchain` works.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    let for_this_program = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| for_this_program.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
    command
}

/// True on a continuous-integration machine: what can be installed must be there.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}
