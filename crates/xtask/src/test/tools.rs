//! Programs of other languages that tests use: found, or installed where the machine lets us.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use super::steps::CARGO_LIMIT;
use super::{Bench, Outcome};
use crate::child;
use crate::tally::Tally;
use crate::workspace::cargo;

/// A program and how Debian calls what holds it.
pub(super) struct Tool {
    program: &'static str,
    /// Succeeds when the program is here and whole.
    probe: &'static [&'static str],
    packages: &'static [&'static str],
}

pub(super) const PYTHON: Tool = Tool {
    program: "python3",
    // Debian's python3 alone can import venv, but not make one.
    probe: &["-c", "import ensurepip, venv"],
    packages: &["python3", "python3-venv"],
};

pub(super) const NODE: Tool = Tool { program: "node", probe: &["--version"], packages: &["nodejs"] };

pub(super) const STRACE: Tool = Tool { program: "strace", probe: &["--version"], packages: &["strace"] };

/// For clocks that somebody sets.
pub(super) const FAKETIME: Tool = Tool { program: "faketime", probe: &["--version"], packages: &["faketime"] };

/// openid-client wants so much.
pub(super) const NODE_20: Tool = Tool {
    program: "node",
    probe: &["-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"],
    packages: &["nodejs"],
};

pub(super) const NPM: Tool = Tool { program: "npm", probe: &["--version"], packages: &["npm"] };

/// Where Debian keeps the sources of Go's packages.
pub(super) const GO_PATH: &str = "/usr/share/gocode";

pub(super) const GO: Tool = Tool { program: "go", probe: &["version"], packages: &["golang-go"] };

/// The library of Go's checksum database: a folder of sources.
pub(super) const GO_SUMDB: Tool = Tool {
    program: "test",
    probe: &["-d", "/usr/share/gocode/src/golang.org/x/mod/sumdb"],
    packages: &["golang-golang-x-mod-dev"],
};

/// A program that crates.io has, and that nothing of ours is built with.
pub(super) struct Crate {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    program: &'static str,
    /// How it is built.
    options: &'static [&'static str],
}

/// Without its `https`: it is asked on loopback alone.
pub(super) const WITNESS_LOG: Crate = Crate {
    name: "witness-log-cli",
    version: "0.6.1",
    program: "witness-log",
    options: &["--debug", "--no-default-features"],
};

/// It searches for minutes where it is not optimised. The version of Rust that it asks for is newer than what it needs.
/// Its own profile optimises across crates, which takes longer than the searches.
pub(super) const VERIFPAL: Crate = Crate {
    name: "verifpal",
    version: "1.6.7",
    program: "verifpal",
    options: &[
        "--ignore-rust-version",
        "--config=profile.release.lto=false",
        "--config=profile.release.codegen-units=16",
    ],
};

/// The browser that watches the node's page.
pub(super) const CHROMIUM: Tool = Tool { program: CHROMIUM_PATH, probe: &["--version"], packages: &["chromium"] };

/// Where Debian puts it.
pub(super) const CHROMIUM_PATH: &str = "/usr/bin/chromium";

pub(super) const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Passes when the tool is here, or came when asked for.
pub(super) fn ensure(tool: &Tool) -> Result<Outcome> {
    if answers(tool.program, tool.probe) {
        return Ok(Outcome::Ran(Tally::one(true)));
    }
    if may_install() {
        install(tool.packages)?;
    }
    if answers(tool.program, tool.probe) {
        return Ok(Outcome::Ran(Tally::one(true)));
    }
    let packages = tool.packages.join(" ");
    Ok(Outcome::NotRun(format!("{} is missing or incomplete: install it (Debian: {packages})", tool.program)))
}

/// Builds a crate's program, with its own locked dependencies, in a folder of its own; `None` when that cannot be done.
pub(super) fn installed_crate(bench: &Bench, wanted: &Crate) -> Result<Option<PathBuf>> {
    let folder = bench.metadata.target_directory.join("strangers").join(format!("{}-{}", wanted.name, wanted.version));
    let program = folder.join("bin").join(wanted.program);
    if !program.exists() {
        let mut install = cargo(["install", "--quiet", "--locked"]);
        install.args(wanted.options).args(["--version", wanted.version, "--root"]).arg(&folder).arg(wanted.name);
        let finished = child::run(install.env("CARGO_TARGET_DIR", folder.join("build")), CARGO_LIMIT)?;
        return Ok(Some(program).filter(|_| finished.success));
    }
    Ok(Some(program))
}

/// True when the program starts and succeeds.
pub(super) fn answers(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Only root on a Debian: we do not ask for a password in the middle of a test run.
fn may_install() -> bool {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && answers("apt-get", &["--version"])
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        child::run(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_LIMIT)
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // The lists of a machine may be older than its mirror, or none.
    if !apt(&install)?.success && apt(&["update"])?.success {
        apt(&install)?;
    }
    Ok(())
}
