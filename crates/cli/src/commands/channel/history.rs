//! `nuncio channel history`

use clap::Args;

use super::note_without_agent;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Channel, HandedHistory, InboxPage, NewHistory, SaidPage};

/// Letters of one page of the log.
const PAGE: usize = 1_000;

/// Hands earlier letters of a channel to a member that was not there: those in this agent's inbox, and what it said itself. Nobody does that by itself.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel history crew --to cleo --last 20\n  nuncio channel history crew --to cleo 17 18 21\n\nThe numbers are those that `nuncio channel log crew --json` prints, as `no` and as `said`. They go on their way like any letter: `nuncio outbox` says who has them. Cleo sees who is said to have written each, and that it was this agent who says so:\nnothing shows it, so whoever reads it believes this agent. What was handed over to this agent is not handed on. At most 256 at once."
)]
pub(super) struct History {
    /// The channel's name or id
    channel: String,
    /// To which member: its short name or DID
    #[arg(long, value_name = "WHO")]
    to: String,
    /// Numbers of letters in the inbox
    #[arg(value_name = "NUMBER", required_unless_present_any = ["last", "said"], conflicts_with = "last")]
    numbers: Vec<u64>,
    /// The number of a letter of this agent's own; may be given more than once
    #[arg(long, value_name = "NUMBER", conflicts_with = "last")]
    said: Vec<u64>,
    /// The newest so many, at most 256
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    last: Option<u16>,
    /// Also letters that were handed over to that member before, in the last 7 days
    #[arg(long)]
    again: bool,
}

impl History {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let channel: Channel = api.get(&format!("/v1/channels/{}", segment(&self.channel))).await?;
        let (letters, said) = match self.last {
            Some(count) => newest(api, &channel.channel, usize::from(count)).await?,
            None => (self.numbers.clone(), self.said.clone()),
        };
        let new = NewHistory { to: self.to.clone(), letters, said, again: self.again };
        let handed: HandedHistory = api.post(&format!("/v1/channels/{}/history", channel.channel), &new).await?;
        if options.json {
            output::json(&handed)?;
        } else {
            let count = match (handed.letters.len(), handed.before) {
                (0, 0) => "no letter: nothing of this channel is in the inbox, and nothing was said to it from here"
                    .to_owned(),
                (0, _) => "no letter".to_owned(),
                (1, _) => "1 letter, on its way".to_owned(),
                (more, _) => format!("{more} letters, on their way"),
            };
            output::line(format_args!("handed over to {}: {count}", self.to))?;
            if handed.before > 0 {
                let (were, it) = if handed.before == 1 { ("was", "it") } else { ("were", "them") };
                output::note(format_args!(
                    "{} {were} handed over to it before, and not again: --again for one that has lost {it}",
                    handed.before
                ));
            }
        }
        note_without_agent(api);
        Ok(())
    }
}

/// Numbers of the newest letters of a channel, of those that came from their authors themselves and of this agent's own.
async fn newest(api: &Api, channel: &str, count: usize) -> Result<(Vec<u64>, Vec<u64>), Failure> {
    let page = |what: &str, after: Option<u64>| {
        let from = after.map(|no| format!("&after={no}")).unwrap_or_default();
        format!("/v1/channels/{channel}/{what}?max={PAGE}{from}")
    };
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let InboxPage { letters, .. } = api.get(&page("letters", after)).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.no);
        let own_word = letters.iter().filter(|letter| letter.handed_over.is_none());
        all.extend(own_word.map(|letter| (letter.sent_ms, letter.no, false)));
    }
    after = None;
    loop {
        let SaidPage { letters, .. } = api.get(&page("said", after)).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.said);
        all.extend(letters.iter().map(|letter| (letter.sent_ms, letter.said, true)));
    }
    all.sort_unstable();
    let newest = all.split_off(all.len().saturating_sub(count));
    let (said, came): (Vec<_>, Vec<_>) = newest.into_iter().partition(|(.., is_own)| *is_own);
    let numbers = |of: Vec<(u64, u64, bool)>| of.into_iter().map(|(_, no, _)| no).collect();
    Ok((numbers(came), numbers(said)))
}
