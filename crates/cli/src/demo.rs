//! `nuncio demo`: two agents in processes of their own, and one of them killed in the middle.
//!
//! Every sentence that it prints as true was looked at in what the two agents hold and count; the first that is not ends it with exit code 1.

mod figures;
mod story;

use std::time::Duration;

use clap::Args;
use figures::Summary;
use story::Story;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::process::Program;

/// Longer than it takes anywhere: something hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shows two agents talking over real QUIC on this machine: handshake, letters both ways, a file, and a SIGKILL in the middle of a burst.
///
/// The agents live in processes of their own with homes in a temporary directory. Nothing is left behind.
#[derive(Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let dir = tempfile::Builder::new()
            .prefix("nuncio-demo-")
            .tempdir()
            .map_err(Failure::io("make", std::env::temp_dir()))?;
        let told = tokio::select! {
            told = tokio::time::timeout(PATIENCE, tell(dir.path(), Teller { is_silent: options.json })) => told,
            _ = tokio::signal::ctrl_c() => return Err(Failure::Unsound("interrupted".to_owned())),
        };
        let summary =
            told.map_err(|_| Failure::Unsound(format!("the demo hangs: it was given {} s", PATIENCE.as_secs())))??;
        let path = dir.path().to_owned();
        dir.close().map_err(Failure::io("remove", &path))?;
        if options.json { output::json(&summary) } else { summary.print() }
    }
}

async fn tell(dir: &std::path::Path, teller: Teller) -> Result<Summary, Failure> {
    let mut story = Story::begin(&Program::this(&[])?, dir, teller).await?;
    story.first_letters().await?;
    story.one_at_a_time().await?;
    story.a_mebibyte_each_way().await?;
    story.a_file().await?;
    story.a_kill_in_the_middle().await?;
    story.end().await
}

/// Says what happens, as it happens.
#[derive(Clone, Copy)]
struct Teller {
    is_silent: bool,
}

impl Teller {
    fn say(self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if self.is_silent { Ok(()) } else { output::line(text) }
    }
}
