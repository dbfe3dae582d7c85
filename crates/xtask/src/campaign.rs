//! `cargo xtask NAME`: the long programs (benches, power cuts, kills, simulations), each in the crate that it examines.
//!
//! A crate offers one by a line of its manifest, and that is all it takes:
//!
//! ```toml
//! [package.metadata.xtask]
//! powercut = { example = "powercut", about = "cut the power under a running store" }
//! ```

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace::{Metadata, cargo};

/// One program, as its crate's manifest offers it.
#[derive(Deserialize)]
pub(crate) struct Campaign {
    pub(crate) about: String,
    #[serde(flatten)]
    target: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    Bin(String),
    Example(String),
}

/// Prints what there is.
pub(crate) fn list() -> Result<ExitCode> {
    let metadata = Metadata::load()?;
    for (_, name, campaign) in metadata.campaigns() {
        println!("{name:<10} {}", campaign.about);
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the program for speed and runs it with the rest of the words.
pub(crate) fn run(words: &[String]) -> Result<ExitCode> {
    let Some((name, args)) = words.split_first() else { return list() };
    let metadata = Metadata::load()?;
    let Some((package, _, campaign)) = metadata.campaigns().find(|(_, known, _)| *known == name) else {
        bail!("there is no command {name}: see `cargo xtask --help` and `cargo xtask campaigns`");
    };
    let (kind, target) = match &campaign.target {
        Target::Bin(target) => ("--bin", target),
        Target::Example(target) => ("--example", target),
    };
    let mut command = cargo(["run", "--release", "--quiet", "--package", package, kind, target, "--"]);
    let status = command.args(args).status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::{Campaign, Target};

    #[test]
    fn a_manifest_names_a_binary_or_an_example() {
        let campaign: Campaign = toml::from_str("example = 'cut'\nabout = 'cuts'").unwrap();
        assert!(matches!(campaign.target, Target::Example(name) if name == "cut"));
        let campaign: Campaign = toml::from_str("bin = 'cut'\nabout = 'cuts'").unwrap();
        assert!(matches!(campaign.target, Target::Bin(name) if name == "cut"));
        assert!(toml::from_str::<Campaign>("about = 'cuts'").is_err());
    }
}
