//! Programs that share no code with ours: `contracts/strangers`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::steps::{CARGO_LIMIT, built, counted};
use super::tools;
use super::venv::{self, Python};
use super::{Bench, Outcome, npm};
use crate::child;
use crate::tally::Tally;
use crate::workspace::root;

/// PyJWT, joserfc and jwcrypto verify what the node signed.
pub(super) fn verify(bench: &Bench) -> Result<Outcome> {
    script(bench, "verify.py")
}

/// Go's checksum database reads the vectors of the log, and a log's files.
pub(super) fn sumdb(bench: &Bench) -> Result<Outcome> {
    for tool in [&tools::GO, &tools::GO_SUMDB] {
        if let missing @ Outcome::NotRun(_) = tools::ensure(tool)? {
            return Ok(missing);
        }
    }
    let written = written_log(bench)?;
    let mut go = Command::new("go");
    go.arg("run").arg(folder().join("log.go")).arg(root().join("contracts/vectors")).arg(&written);
    go.env("GO111MODULE", "off").env("GOPATH", tools::GO_PATH);
    counted(go.env("GOCACHE", bench.metadata.target_directory.join("go-cache")), bench)
}

/// A log of every size at an edge of its tiles, in files.
fn written_log(bench: &Bench) -> Result<PathBuf> {
    let written = bench.metadata.target_directory.join("tmp/log");
    if written.exists() {
        fs::remove_dir_all(&written).with_context(|| format!("cannot remove {}", written.display()))?;
    }
    let mut write = Command::new(built(bench, "examples/write_log")?);
    ensure!(child::run(write.arg(&written), CARGO_LIMIT)?.success, "no log was written");
    Ok(written)
}

/// witness-log-cli verifies notes, witnesses a log, and is witnessed.
pub(super) fn witness(bench: &Bench) -> Result<Outcome> {
    let python = match venv::python(bench)? {
        Python::Here(python) => python,
        Python::Missing(outcome) => return Ok(outcome),
    };
    let Some(stranger) = tools::installed_crate(bench, &tools::WITNESS_LOG)? else {
        let (name, version) = (tools::WITNESS_LOG.name, tools::WITNESS_LOG.version);
        return Ok(Outcome::NotRun(format!("the crate {name} {version} cannot be fetched and built")));
    };
    let (written, program) = (written_log(bench)?, built(bench, "nuncio")?);
    let mut script = Command::new(python);
    script.arg(folder().join("witness.py")).arg(written).env(PROGRAM, program).env("WITNESS_LOG", stranger);
    counted(&mut script, bench)
}

/// scitt-cose reads the vectors of events and trees, and a log of every size at an edge of its tiles.
pub(super) fn cose(bench: &Bench) -> Result<Outcome> {
    match venv::python(bench)? {
        Python::Here(python) => {
            let written = written_log(bench)?;
            counted(Command::new(python).arg(folder().join("cose.py")).arg(written), bench)
        }
        Python::Missing(outcome) => Ok(outcome),
    }
}

/// opentimestamps reads the vectors of timestamps, and anchors a node's log.
pub(super) fn anchor(bench: &Bench) -> Result<Outcome> {
    script(bench, "anchor.py")
}

/// Every MUST of the draft and of contracts/txts.md, kept and broken.
pub(super) fn walk(bench: &Bench) -> Result<Outcome> {
    script(bench, "walk.py")
}

/// The official MCP SDK's two versions are clients of a small server behind a front, and behind a shim, both over a way in memory; and, with two agents between,
/// of a server of their own.
pub(super) fn mcp(bench: &Bench) -> Result<Outcome> {
    let (front, shim) = (built(bench, "examples/front_in_memory")?, built(bench, "examples/shim_in_memory")?);
    let program = built(bench, "nuncio")?;
    let mut tally = Tally::default();
    for version in ["1", "2"] {
        let requirements = format!("contracts/strangers/mcp/requirements-{version}.txt");
        let python = match venv::environment(bench, &format!("venv-mcp-{version}"), &[&requirements])? {
            Python::Here(python) => python,
            Python::Missing(outcome) => return Ok(outcome),
        };
        let script = folder().join(format!("mcp/v{version}.py"));
        for way in [&["--url".as_ref(), front.as_os_str()][..], &[shim.as_os_str()]] {
            let Outcome::Ran(ran) = counted(Command::new(&python).arg(&script).args(way), bench)? else { continue };
            tally += ran;
        }
        let agents = folder().join("mcp/agents.py");
        let mut between = Command::new(&python);
        between.arg(agents).arg(version).env(PROGRAM, &program);
        if let Outcome::Ran(ran) = counted(&mut between, bench)? {
            tally += ran;
        }
    }
    Ok(Outcome::Ran(tally))
}

/// MCP's own conformance kit is the client of a server that has what it asks for, with two agents between.
pub(super) fn conformance(bench: &Bench) -> Result<Outcome> {
    if let Some(missing) = npm::packages(&folder().join("conformance"))? {
        return Ok(missing);
    }
    script(bench, "conformance/run.py")
}

/// The official A2A SDK is a client of an agent of its own, with two agents between: in one process, and as processes in two networks; and a person's at a gateway.
pub(super) fn a2a(bench: &Bench) -> Result<Outcome> {
    let (between, program) = (built(bench, "examples/agents_between")?, built(bench, "nuncio")?);
    let python = match venv::environment(bench, "venv-a2a", &["contracts/strangers/a2a/requirements.txt"])? {
        Python::Here(python) => python,
        Python::Missing(outcome) => return Ok(outcome),
    };
    let mut tally = Tally::default();
    let [mut agents, mut gateway] = ["agents", "gateway"].map(|name| {
        let mut command = Command::new(&python);
        command.arg(folder().join(format!("a2a/{name}.py"))).env(PROGRAM, &program);
        command
    });
    for command in [Command::new(&python).arg(folder().join("a2a/walk.py")).arg(between), &mut agents, &mut gateway] {
        if let Outcome::Ran(ran) = counted(command, bench)? {
            tally += ran;
        }
    }
    Ok(Outcome::Ran(tally))
}

/// npm's jose and openid-client obtain tokens.
pub(super) fn obtain(bench: &Bench) -> Result<Outcome> {
    if let Some(missing) = npm::packages(&folder())? {
        return Ok(missing);
    }
    let program = built(bench, "nuncio")?;
    counted(Command::new("node").arg(folder().join("obtain.mjs")).env(PROGRAM, program), bench)
}

fn script(bench: &Bench, name: &str) -> Result<Outcome> {
    match venv::python(bench)? {
        Python::Here(python) => {
            let program = built(bench, "nuncio")?;
            counted(Command::new(python).arg(folder().join(name)).env(PROGRAM, program), bench)
        }
        Python::Missing(outcome) => Ok(outcome),
    }
}

/// Where the scripts are told which program to run.
const PROGRAM: &str = "NUNCIO";

fn folder() -> PathBuf {
    root().join("contracts/strangers")
}
