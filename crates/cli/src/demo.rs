//! `nuncio demo`: two agents in processes of their own, and one of them killed in the middle; `nuncio demo travel`: a transaction through five; `nuncio demo
//! channel`: eight that share a channel.
//!
//! Every sentence that it prints as true was looked at in what the agents hold and count; the first that is not ends it with exit code 1.

mod channel;
mod figures;
mod story;
mod travel;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use figures::Summary;
use story::Story;

use crate::cli::Options;
use crate::failure::Failure;
use crate::output;
use crate::process::Program;

/// Longer than it takes anywhere: something hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same, where somebody looks at it meanwhile.
const PATIENCE_WATCHED: Duration = Duration::from_secs(24 * 60 * 60);

/// Shows two agents talking over real QUIC on this machine: handshake, letters both ways, a file, a transaction, and a SIGKILL in the middle of a burst.
///
/// The agents live in processes of their own with homes in a temporary directory. Nothing is left behind.
#[derive(Args)]
pub(crate) struct Demo {
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Show a transaction going through five agents, and four attacks on it that fail
    Travel(travel::Travel),
    /// Show eight agents that share a channel: one away for a while, one removed, one late, one killed
    Channel(channel::Channel),
    #[command(hide = true)]
    Member(channel::Member),
    #[command(hide = true)]
    Role(travel::Role),
}

impl Demo {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let teller = Teller { is_silent: options.json };
        match self.other {
            None => {
                let summary = in_a_directory(PATIENCE, async |dir| tell(&dir, teller).await).await?;
                if options.json { output::json(&summary) } else { summary.print() }
            }
            Some(Other::Travel(travel::Travel { watch })) => {
                let patience = if watch { PATIENCE_WATCHED } else { PATIENCE };
                let tell = async |dir: PathBuf| travel::tell(&dir, teller, watch).await.map_err(travel::untrue);
                let shown = in_a_directory(patience, tell).await?;
                if options.json { output::json(&shown) } else { shown.print() }
            }
            Some(Other::Channel(channel::Channel)) => {
                let tell = async |dir: PathBuf| channel::tell(&dir, teller).await.map_err(travel::untrue);
                let shown = in_a_directory(PATIENCE, tell).await?;
                if options.json { output::json(&shown) } else { shown.print() }
            }
            Some(Other::Member(member)) => member.run().await,
            Some(Other::Role(role)) => role.run().await,
        }
    }
}

/// Tells a story with homes in a directory of its own, which is gone afterwards, however it ends.
async fn in_a_directory<T>(
    patience: Duration,
    story: impl AsyncFnOnce(PathBuf) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = tempfile::Builder::new().prefix("nuncio-demo-").tempdir();
    let dir = dir.map_err(Failure::io("make", std::env::temp_dir()))?;
    let told = tokio::select! {
        told = tokio::time::timeout(patience, story(dir.path().to_owned())) => told,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Unsound("interrupted".to_owned())),
    };
    let told =
        told.map_err(|_| Failure::Unsound(format!("the demo hangs: it was given {} s", patience.as_secs())))??;
    let path = dir.path().to_owned();
    dir.close().map_err(Failure::io("remove", &path))?;
    Ok(told)
}

async fn tell(dir: &std::path::Path, teller: Teller) -> Result<Summary, Failure> {
    let mut story = Story::begin(&Program::this(&[])?, dir, teller).await?;
    story.first_letters().await?;
    story.one_at_a_time().await?;
    story.a_mebibyte_each_way().await?;
    story.a_file().await?;
    story.a_transaction().await?;
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
