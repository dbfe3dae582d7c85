//! The table of figures: each row ours, the peer or floor beside it measured in the same run, and the ratio of speeds, higher is better.
//!
//! No figure is written down here: every number comes from the run that prints it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

mod audit_rows;
mod build_rows;
mod change_rows;
mod channel_rows;
mod core_rows;
mod cpu;
mod crew_rows;
mod durable_rows;
mod floors;
mod growth_rows;
mod http;
mod issue_rows;
mod line;
mod log_rows;
mod machine;
mod mailbox_rows;
mod measure;
mod memory_rows;
mod mls;
mod owner;
mod pair;
mod plot;
mod primitive_rows;
mod receipt_rows;
mod report;
mod serving;
mod sidecar;
mod sidecar_rows;
mod token_rows;
mod token_service;
mod twin;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::line::Line;
use crate::machine::Machine;
use crate::measure::{Row, Rows};
use crate::report::Report;

/// Prints one table of figures. `ratio` is our speed divided by the one beside it: higher is better.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// One JSON object a line: on what it was measured, then for each row name, unit, ours, beside, `beside_value`, ratio.
    #[arg(long)]
    json: bool,
    /// Only these rows; where none is called so, those whose names begin so.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write PERFORMANCE.md and its picture into this folder when all is measured.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
    /// Measure nothing: take the rows that runs with --json have said, a later one before an earlier of the same name.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    read: Vec<PathBuf>,
}

type Measure = fn() -> Result<Row>;
type MeasureAll = fn() -> Result<Rows>;

const ROWS: &[(&str, Measure)] = &[
    ("seal-32", core_rows::seal_32),
    ("seal-1k", core_rows::seal_1k),
    ("open-32", core_rows::open_32),
    ("open-1k", core_rows::open_1k),
    ("turn-32", core_rows::turn_32),
    ("handshake", core_rows::handshake),
    ("reject-forged", core_rows::reject_forged),
    ("wire-overhead-35", core_rows::wire_overhead_35),
    ("state-bytes", core_rows::state_bytes),
    ("channel-32", channel_rows::channel_32),
    ("channel-32-quic", crew_rows::channel_32_quic),
    ("durable-letters", durable_rows::letters),
    ("durable-round-trip", durable_rows::round_trip),
    ("large-payload", durable_rows::large_payload),
    ("sessions-10000", memory_rows::sessions),
    ("token-issue", issue_rows::issue),
    ("token-issue-p99", issue_rows::issue_p99),
    ("token-replace", issue_rows::replace),
    ("token-verify-first", token_rows::verify_first),
    ("token-verify-cached", token_rows::verify_cached),
    ("audit-append", log_rows::append),
    ("audit-append-growth", log_rows::growth),
    ("audit-bytes-per-event", log_rows::bytes),
    ("audit-receipt-p99", receipt_rows::p99),
    ("audit-verify", log_rows::verified),
    ("audit-agent-cpu", audit_rows::agent_cpu),
    ("audit-resident", audit_rows::resident),
    ("mailbox-deposit", mailbox_rows::deposit),
    ("sidecar-mcp", sidecar_rows::mcp),
    ("sidecar-mcp-readonly", sidecar_rows::mcp_readonly),
    ("sidecar-a2a", sidecar_rows::a2a),
];

/// What is measured together: the ends of their rows' names come with them.
const TABLES: &[(&str, MeasureAll)] = &[
    ("primitives", primitive_rows::all),
    ("channel-change-8", change_rows::of_8),
    ("channel-change-32", change_rows::of_32),
    ("channel-change-128", change_rows::of_128),
    ("channel-change-1000", change_rows::of_1000),
    ("build", build_rows::build),
    ("grow-payload", growth_rows::payload),
    ("grow-skipped", growth_rows::skipped),
    ("grow-kept", growth_rows::kept),
    ("grow-sessions", growth_rows::sessions),
    ("grow-members-seal", growth_rows::members_seal),
    ("grow-members-open", growth_rows::members_open),
    ("grow-log", log_rows::curve),
];

fn main() -> Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == memory_rows::BECOME) {
        return Ok(nuncio_cli::main(words.into_iter().skip(1)));
    }
    if let Some(home) = std::env::var_os(twin::CHILD_HOME) {
        twin::be_the_other(std::path::Path::new(&home))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(home) = std::env::var_os(crew_rows::CHILD_HOME) {
        crew_rows::be_some(std::path::Path::new(&home))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(home) = std::env::var_os(sidecar::CHILD_HOME) {
        sidecar::be_the_far_end(std::path::Path::new(&home))?;
        return Ok(ExitCode::SUCCESS);
    }
    let args = Args::parse();
    if let Some(unknown) = args.only.iter().find(|only| !names().any(|name| is_meant(only, name))) {
        anyhow::bail!("no row is called {unknown}; there are {}", names().collect::<Vec<_>>().join(", "));
    }
    let report = if args.read.is_empty() { measured(&args)? } else { Report::read(&args.read)? };
    if let Some(folder) = &args.write {
        report.write(folder)?;
    } else if !args.read.is_empty() {
        report.lines.iter().for_each(|line| println!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures what is asked for, and prints each row as soon as it is there.
fn measured(args: &Args) -> Result<Report> {
    let mut report = Report { machine: Machine::this()?, lines: Vec::new() };
    println!("{}", if args.json { serde_json::to_string(&report.machine)? } else { Line::head() });
    let mut say = |name: String, row: &Row| {
        let line = Line::of(name, row);
        println!("{}", if args.json { serde_json::to_string(&line)? } else { line.to_string() });
        report.lines.push(line);
        anyhow::Ok(())
    };
    let is_wanted = |name| args.only.is_empty() || args.only.iter().any(|only| is_meant(only, name));
    for (name, measure) in ROWS.iter().filter(|(name, _)| is_wanted(name)) {
        eprint!("measuring {name} …\r");
        say((*name).to_owned(), &measure()?)?;
    }
    for (name, measure) in TABLES.iter().filter(|(name, _)| is_wanted(name)) {
        eprint!("measuring {name} …\r");
        measure()?.iter().try_for_each(|(end, row)| say(format!("{name}-{end}"), row))?;
    }
    Ok(report)
}

fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, _)| *name).chain(TABLES.iter().map(|(name, _)| *name))
}

/// Whether a word on the command line means a row or a table: the one that is called so, else all whose names go on behind it.
fn is_meant(only: &str, name: &str) -> bool {
    let goes_on = || name.strip_prefix(only).is_some_and(|end| end.starts_with('-'));
    name == only || (goes_on() && !names().any(|name| name == only))
}
