//! `nuncio audit verify`

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64;
use indicatif::{ProgressBar, ProgressStyle};
use nuncio_node::log::verify_against;
use serde_json::json;

use super::anchor;
use super::place::Log;
use super::read;
use crate::failure::Failure;
use crate::output;

/// Checks the whole log: each entry's signature and place in its agent's chain, each tile, the head, who cosigned it, and that what was anchored is in it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio audit verify\n  nuncio audit verify --anchor kept/1742        an anchor that you have kept: kept/1742 and kept/1742.ots"
)]
pub(super) struct Verify {
    /// A note of this log that you have kept, with its timestamp in FILE.ots beside it: a log that was rewritten since has other entries
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(&self, log: &Log, json: bool) -> Result<(), Failure> {
        let kept = self.anchor.as_ref().map(|path| anchor::kept(path, &log.key)).transpose()?;
        let (_, head) = log.files.checkpoint(&log.key)?;
        let bar = bar(head.size);
        let verdict = verify_against(&log.files, &log.key, kept.as_slice(), |done| bar.set_position(done));
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
                "kept_anchor": kept.as_ref().map(anchor::told),
            }))?;
        } else {
            output::line(format_args!(
                "{}: {} entries of {agents} agents, every signature, chain and tile as it must be",
                verdict.head.origin, verdict.head.size
            ))?;
            for (witness, at_s) in &witnessed.by {
                output::line(read::witness_line(witness, *at_s))?;
            }
            for anchored in verdict.anchor.iter().chain(&kept) {
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
