//! `cargo xtask contracts`: the Rust constants of the contracts, generated from the one list of them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::registry::Registry;
use crate::workspace::root;

/// Writes `contracts/src/registry.rs` when it differs from what the list says.
pub(crate) fn write() -> Result<()> {
    let generated = generate()?;
    let path = constants_path();
    if fs::read_to_string(&path).is_ok_and(|committed| committed == generated) {
        println!("contracts/src/registry.rs is fresh");
        return Ok(());
    }
    fs::write(&path, generated).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote contracts/src/registry.rs");
    Ok(())
}

/// Fails when `contracts/src/registry.rs` is not what the list says.
pub(crate) fn check() -> Result<()> {
    let path = constants_path();
    let committed = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if committed != generate()? {
        bail!("contracts/src/registry.rs is stale: run `cargo xtask contracts` and commit the result");
    }
    Ok(())
}

fn generate() -> Result<String> {
    let path = root().join("contracts/registry.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let registry = Registry::parse(&text).context("contracts/registry.toml")?;
    Ok(registry.to_rust())
}

fn constants_path() -> PathBuf {
    root().join("contracts/src/registry.rs")
}

#[cfg(test)]
mod tests {
    /// Parsing refuses a list without reasons, with clashing labels or with clashing numbers, so freshness includes that.
    #[test]
    fn committed_constants_are_what_the_registry_says() {
        super::check().unwrap();
    }
}
