//! `nuncio demo channel`: eight agents share a channel. The story is that of examples/channel, the same code.

#[path = "../../../../examples/channel/ledger.rs"]
mod ledger;
#[path = "../../../../examples/channel/member.rs"]
mod member;
#[path = "../../../../examples/channel/process.rs"]
mod process;
#[path = "../../../../examples/channel/story.rs"]
mod story;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ledger::Row;
use process::Words;
use serde::Serialize;
use story::{NAMES, Story};

use super::Teller;
use super::travel::untrue;
use crate::failure::Failure;
use crate::output;

/// Shows eight agents that share a channel: one is away for a while, one is removed, one joins late, and one is killed.
///
/// Each is a process with a home in a temporary directory. At the end all are asked what they have read, and that is held against what was said. Nothing is
/// left behind.
#[derive(Args)]
pub(crate) struct Channel;

/// One of the agents of `nuncio demo channel`.
#[derive(Args)]
pub(crate) struct Member {
    home: PathBuf,
    port: u16,
}

/// What was shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    agents: [&'static str; 8],
    /// Who has read what: for each agent how many letters, and how many it was to read.
    scenes: Vec<Row>,
    shown: Vec<String>,
}

impl Member {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        member::play(&self.home, self.port).await.map_err(untrue)
    }
}

pub(super) async fn tell(dir: &Path, teller: Teller) -> Result<Shown> {
    let say = |line: String| Ok(teller.say(line)?);
    let story = Story::begin(Words(&["demo", "member"]), dir, say).await?;
    let (scenes, shown) = story.tell().await?;
    Ok(Shown { agents: NAMES, scenes, shown })
}

impl Shown {
    pub(super) fn print(&self) -> Result<(), Failure> {
        let letters: usize = self.scenes.iter().map(|row| row.letters).sum();
        output::line(format_args!(
            "\nWho has read what, of what was said by others and for it ({letters} letters):\n"
        ))?;
        output::line(Row::heading())?;
        self.scenes.iter().try_for_each(output::line)
    }
}
