//! The steps, in the order in which a failure is cheapest to find.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::not_run::FILE_VARIABLE;
use super::{Bench, Outcome, model, page, reader, strangers, tools};
use crate::canary;
use crate::child;
use crate::contracts;
use crate::tally::Tally;
use crate::workspace::{cargo, root};

/// One step.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn(&Bench) -> Result<Outcome>,
}

/// A new step is a line here.
pub(super) const STEPS: &[Step] = &[
    Step { name: "contracts", about: "the generated constants are what the registry says", run: constants },
    Step { name: "python", about: "python3, for the second reader and the local API's example", run: python },
    Step { name: "node", about: "node, for the local API's example", run: node },
    Step { name: "strace", about: "strace, for faults at each system call of the log", run: strace },
    Step { name: "faketime", about: "libfaketime, for agents whose clocks are set", run: faketime },
    Step { name: "rust", about: "unit, property, vector and crash tests", run: rust },
    Step { name: "backend", about: "the core's answers, from each backend of its primitives alone", run: backend },
    Step { name: "doc", about: "the code in the documentation", run: doc },
    Step { name: "pages", about: "the generated documentation, public and private, has no warning", run: pages },
    Step { name: "examples", about: "every example, and the README's first commands, run to their end", run: examples },
    Step { name: "reader", about: "the second reader agrees with the vectors", run: reader::run },
    Step {
        name: "model",
        about: "Verifpal finds what docs/model says of handshake and ratchet, and finds each flaw put into them",
        run: model::run,
    },
    Step { name: "sumdb", about: "Go's checksum database agrees with the log's vectors", run: strangers::sumdb },
    Step {
        name: "witness",
        about: "witness-log-cli verifies our notes, witnesses our log, and is witnessed by us",
        run: strangers::witness,
    },
    Step { name: "cose", about: "scitt-cose agrees with the log's events and proofs", run: strangers::cose },
    Step {
        name: "anchor",
        about: "OpenTimestamps' own library reads our timestamps, and a calendar made of it anchors a node's log",
        run: strangers::anchor,
    },
    Step {
        name: "verify",
        about: "PyJWT, joserfc and jwcrypto verify what a running node signs",
        run: strangers::verify,
    },
    Step { name: "obtain", about: "npm's jose and openid-client obtain tokens of it", run: strangers::obtain },
    Step {
        name: "page",
        about: "a real Chromium watches the node's page while agents and attackers act",
        run: page::run,
    },
    Step {
        name: "mcp",
        about: "the official MCP SDK's two versions as clients, unmodified, over HTTP that breaks and over an agent that dies",
        run: strangers::mcp,
    },
    Step {
        name: "conformance",
        about: "MCP's own conformance kit finds nothing wrong with a server that two agents lie in front of",
        run: strangers::conformance,
    },
    Step {
        name: "a2a",
        about: "the official A2A SDK, unmodified, on both sides of two agents, over 1.0 and 0.3",
        run: strangers::a2a,
    },
    Step { name: "walk", about: "every rule of the token service, kept and broken from outside", run: strangers::walk },
];

/// A cold build of everything is part of the first cargo step.
pub(super) const CARGO_LIMIT: Duration = Duration::from_secs(40 * 60);
const EXAMPLE_LIMIT: Duration = Duration::from_secs(2 * 60);

fn constants(_: &Bench) -> Result<Outcome> {
    contracts::check()?;
    Ok(Outcome::Ran(Tally::one(true)))
}

fn python(_: &Bench) -> Result<Outcome> {
    tools::ensure(&tools::PYTHON)
}

fn node(_: &Bench) -> Result<Outcome> {
    tools::ensure(&tools::NODE)
}

fn strace(_: &Bench) -> Result<Outcome> {
    tools::ensure(&tools::STRACE)
}

fn faketime(_: &Bench) -> Result<Outcome> {
    tools::ensure(&tools::FAKETIME)
}

fn rust(bench: &Bench) -> Result<Outcome> {
    if !tools::answers("cargo", &["nextest", "--version"]) {
        return counted(&mut cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]), bench);
    }
    // What tests that passed have printed is in there alone.
    let printed = root().join("target/nextest/default/junit.xml");
    if printed.exists() {
        fs::remove_file(&printed)?;
    }
    let outcome = counted(&mut cargo(["nextest", "run", "--workspace", "--no-fail-fast"]), bench)?;
    let Outcome::Ran(mut tally) = outcome else { return Ok(outcome) };
    if tally.failed > 0 && !printed.exists() {
        // No test came to run.
        return Ok(Outcome::Ran(tally));
    }
    let sang = canary::lines_of(&printed)?;
    tally += Tally::one(sang.is_empty());
    if !sang.is_empty() {
        println!("FAILED: lines {sang:?} of {} hold what stands for a secret", printed.display());
    }
    Ok(Outcome::Ran(tally))
}

/// The core's tests whose outcome hangs on a primitive.
const ON_PRIMITIVES: &[&str] =
    &["backends", "wycheproof", "oracles", "vectors", "ratchet", "conversation", "forgeries"];

/// The workspace's build has the binary's choice of backend, under all tests; here each has its turn, with nothing above the core: the core's own choice under all
/// of the core's tests.
fn backend(bench: &Bench) -> Result<Outcome> {
    let mut tally = Tally::default();
    for features in ["differential", "differential,aws-lc"] {
        println!("--- {features}");
        let nextest = tools::answers("cargo", &["nextest", "--version"]);
        let mut command = cargo([]);
        command.args(if nextest { &["nextest", "run"][..] } else { &["test"] });
        command.args(["--package", "nuncio-proto", "--no-fail-fast", "--features", features]);
        if features.contains("aws-lc") {
            command.args(ON_PRIMITIVES.iter().flat_map(|test| ["--test", test]));
        } else {
            command.args(["--lib", "--tests"]);
        }
        if let Outcome::Ran(ran) = counted(&mut command, bench)? {
            tally += ran;
        }
    }
    Ok(Outcome::Ran(tally))
}

fn doc(bench: &Bench) -> Result<Outcome> {
    counted(&mut cargo(["test", "--workspace", "--doc", "--no-fail-fast"]), bench)
}

fn pages(_: &Bench) -> Result<Outcome> {
    let mut tally = Tally::default();
    // A link from a public page to a private one is only seen without, a broken one on a private page only with private items.
    for items in [None, Some("--document-private-items")] {
        let mut doc = cargo(["doc", "--quiet", "--workspace", "--no-deps", "--keep-going"]);
        doc.args(items).env("RUSTDOCFLAGS", "-D warnings");
        tally += Tally::one(child::run(&mut doc, CARGO_LIMIT)?.success);
    }
    Ok(Outcome::Ran(tally))
}

fn examples(bench: &Bench) -> Result<Outcome> {
    const PACKAGE: &str = "nuncio-examples";
    let examples = bench.metadata.examples(PACKAGE);
    ensure!(!examples.is_empty(), "{PACKAGE} has no examples: each is a promise of the README");
    let program = built(bench, "nuncio")?;
    let mut tally = Tally::default();
    for name in examples {
        println!("--- {name}");
        let mut command = Command::new(built(bench, &format!("examples/{name}"))?);
        command.current_dir(root()).env(FILE_VARIABLE, &bench.not_run_file);
        let finished = child::run(&mut command, EXAMPLE_LIMIT)?;
        if !finished.success {
            println!("--- {name} failed");
        }
        tally += Tally::one(finished.success);
    }
    for words in README_COMMANDS {
        println!("--- nuncio {}", words.join(" "));
        let mut command = Command::new(&program);
        command.current_dir(root());
        let finished = child::run(command.args(*words), EXAMPLE_LIMIT)?;
        tally += Tally::one(finished.success);
    }
    Ok(Outcome::Ran(tally))
}

/// A program of the workspace as a development build. All of them are built at once: of a package alone the dependencies would be built again, with
/// other features.
pub(super) fn built(bench: &Bench, name: &str) -> Result<PathBuf> {
    let mut build = cargo(["build", "--quiet", "--workspace", "--bins", "--examples"]);
    ensure!(child::run(&mut build, CARGO_LIMIT)?.success, "the workspace does not compile");
    Ok(bench.metadata.target_directory.join("debug").join(name))
}

/// What a newcomer does first, but that it is a development build.
const README_COMMANDS: &[&[&str]] = &[&["demo"], &["demo", "travel"], &["demo", "channel"]];

/// Runs a command that counts its own checks. A failure that it did not count (a compile error) is one.
pub(super) fn counted(command: &mut Command, bench: &Bench) -> Result<Outcome> {
    let finished = child::run(command.env(FILE_VARIABLE, &bench.not_run_file), CARGO_LIMIT)?;
    let mut tally = Tally::from_output(finished.lines.iter().map(String::as_str));
    if !finished.success && tally.failed == 0 {
        tally.failed = 1;
    }
    ensure!(tally != Tally::default(), "no test ran");
    Ok(Outcome::Ran(tally))
}
