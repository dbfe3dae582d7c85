//! `nuncio audit verify`

use std::io::IsTerminal as _;

use clap::Args;
use data_encoding::BASE64;
use indicatif::{ProgressBar, ProgressStyle};
use nuncio_node::log::verify_files;
use serde_json::json;

use super::anchor;
use super::place::Log;
use super::read;
use crate::failure::Failure;
use crate::output;

/// Checks the whole log: each entry's signature and place in its agent's chain, each tile, the head, who cosigned it, and that what was anchored is in it.
#[derive(Args)]
pub(super) struct Verify {}

impl Verify {
    pub(super) fn run(&self, log: &Log, json: bool) -> Result<(), Failure> {
        let (_, head) = log.files.checkpoint(&log.key)?;
        let bar = bar(head.size);
        let verdict = verify_files(&log.files, &log.key, |done| bar.set_position(done));
        bar.finish_and_clear();
        let verdict = verdict?;
        let witnessed = log.witnessed(&verdict.note)?;
        let agents = verdict.chains.len();
        if json {
            let root = BASE64.encode(&verdict.head.root);
            output::json(&json!({
                "origin": verdict.head.origin, "size": verdict.head.size, "root": root, "agents": agents,
                "other_stories": verdict.other_stories, "witnessed": witnessed.by, "quorum": witnessed.is_quorum,
                "missing": witnessed.missing, "anchor": verdict.anchor.as_ref().map(anchor::told),
            }))?;
        } else {
            output::line(format_args!(
                "{}: {} entries of {agents} agents, every signature, chain and tile as it must be",
                verdict.head.origin, verdict.head.size
            ))?;
            for (witness, at_s) in &witnessed.by {
                output::line(read::witness_line(witness, *at_s))?;
            }
            if let Some(anchored) = &verdict.anchor {
                anchor::print(anchored)?;
            }
        }
        witnessed.enough()?;
        match verdict.other_stories.as_slice() {
            [] => Ok(()),
            stories => {
                let named: Vec<String> = stories.iter().take(10).map(ToString::to_string).collect();
                Err(Failure::Unsound(format!(
                    "the log is whole, and holds proof that agents told two stories, at {} entries: {}",
                    stories.len(),
                    named.join(", ")
                )))
            }
        }
    }
}

fn bar(len: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} entries, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
