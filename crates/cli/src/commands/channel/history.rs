//! `nuncio channel history`

use clap::Args;

use super::note_without_agent;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Channel, HandedHistory, InboxPage, NewHistory};

/// Letters of one page of the log.
const PAGE: usize = 1_000;

/// Hands earlier letters of a channel to a member that was not there, out of this agent's inbox. Nobody does that by itself.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel history crew --to cleo --last 20\n  nuncio channel history crew --to cleo 17 18 21\n\nThe numbers are those that `nuncio channel log crew --json` prints. Cleo sees who is said to have written each, and that it was this agent who says so:\nnothing shows it, so whoever reads it believes this agent. What was handed over to this agent is not handed on. At most 256 at once."
)]
pub(super) struct History {
    /// The channel's name or id
    channel: String,
    /// To which member: its short name or DID
    #[arg(long, value_name = "WHO")]
    to: String,
    /// Numbers of letters in the inbox
    #[arg(value_name = "NUMBER", required_unless_present = "last", conflicts_with = "last")]
    numbers: Vec<u64>,
    /// The newest so many
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

impl History {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let channel: Channel = api.get(&format!("/v1/channels/{}", segment(&self.channel))).await?;
        let letters = match self.last {
            Some(count) => newest(api, &channel.channel, count).await?,
            None => self.numbers.clone(),
        };
        let new = NewHistory { to: self.to.clone(), letters };
        let handed: HandedHistory = api.post(&format!("/v1/channels/{}/history", channel.channel), &new).await?;
        if options.json {
            output::json(&handed)?;
        } else {
            output::line(format_args!("handed over to {}: {} letters", self.to, handed.letters.len()))?;
        }
        note_without_agent(api);
        Ok(())
    }
}

/// Numbers of the newest letters of a channel that came from their authors themselves.
async fn newest(api: &Api, channel: &str, count: usize) -> Result<Vec<u64>, Failure> {
    let (mut after, mut all) = (None::<u64>, Vec::new());
    loop {
        let from = after.map(|no| format!("&after={no}")).unwrap_or_default();
        let page: InboxPage = api.get(&format!("/v1/channels/{channel}/letters?max={PAGE}{from}")).await?;
        let Some(last) = page.letters.last() else { break };
        after = Some(last.no);
        all.extend(page.letters.iter().filter(|letter| letter.handed_over.is_none()).map(|letter| letter.no));
    }
    Ok(all.split_off(all.len().saturating_sub(count)))
}
