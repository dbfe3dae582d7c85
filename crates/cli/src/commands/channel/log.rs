//! `nuncio channel log`

use std::collections::VecDeque;

use clap::Args;

use super::super::inbox;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Channel, InboxLetter, InboxPage, SaidLetter, SaidPage};

/// How long one request waits for letters.
const WAIT_MS: u64 = 30_000;

/// Prints what was said in a channel: the letters that are in the inbox, those among them that a member has handed over, and beside them what this agent
/// said itself, with how many have it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel log crew\n  nuncio channel log crew --follow --json | while read -r letter; do …; done\n\nLetters that came stay in the inbox until `nuncio done NUMBER`. Of this agent's own the newest 1,000 are kept, for a week. With --json a letter that\ncame has its number in the inbox as `no`, and one of this agent's own has `said`, and `delivered` and `of`: who has it now, of how many."
)]
pub(super) struct Log {
    /// The channel's name or id
    channel: String,
    /// Go on with letters as they come and go, until interrupted
    #[arg(long)]
    follow: bool,
}

/// The log of one channel, as it is read and printed.
struct Reading<'a> {
    api: &'a Api,
    /// By its id: a name may change while it is followed.
    channel: String,
    json: bool,
}

impl Log {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let channel: Channel = api.get(&format!("/v1/channels/{}", segment(&self.channel))).await?;
        let reading = Reading { api, channel: channel.channel, json: options.json };
        let (came, said) = reading.so_far().await?;
        if !self.follow {
            if came.is_none() && said.is_none() && !options.json {
                output::note("nothing of this channel is in the inbox, and nothing was said to it from here");
            }
            return Ok(());
        }
        tokio::select! {
            ended = async { tokio::try_join!(reading.follow_came(came), reading.follow_said(said)) } => ended.map(drop),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }
}

impl Reading<'_> {
    /// Prints all that there is, by when it came or went: the last numbers.
    async fn so_far(&self) -> Result<(Option<u64>, Option<u64>), Failure> {
        let (mut said, mut last_said) = (VecDeque::new(), None);
        loop {
            let page = self.said(last_said, 0).await?;
            let Some(last) = page.last() else { break };
            last_said = Some(last.said);
            said.extend(page);
        }
        let mut last_came = None;
        loop {
            let page = self.came(last_came, 0).await?;
            for letter in &page {
                while let Some(own) = said.pop_front_if(|own| own.sent_ms <= letter.received_ms) {
                    self.show_said(&own)?;
                }
                self.show_came(letter)?;
            }
            let Some(last) = page.last() else { break };
            last_came = Some(last.no);
        }
        said.iter().try_for_each(|own| self.show_said(own))?;
        Ok((last_came, last_said))
    }

    async fn follow_came(&self, mut after: Option<u64>) -> Result<(), Failure> {
        loop {
            for letter in self.came(after, WAIT_MS).await? {
                self.show_came(&letter)?;
                after = Some(letter.no);
            }
        }
    }

    async fn follow_said(&self, mut after: Option<u64>) -> Result<(), Failure> {
        loop {
            for letter in self.said(after, WAIT_MS).await? {
                self.show_said(&letter)?;
                after = Some(letter.said);
            }
        }
    }

    async fn came(&self, after: Option<u64>, wait_ms: u64) -> Result<Vec<InboxLetter>, Failure> {
        Ok(self.api.get::<InboxPage>(&self.path("letters", after, wait_ms)).await?.letters)
    }

    async fn said(&self, after: Option<u64>, wait_ms: u64) -> Result<Vec<SaidLetter>, Failure> {
        Ok(self.api.get::<SaidPage>(&self.path("said", after, wait_ms)).await?.letters)
    }

    fn path(&self, what: &str, after: Option<u64>, wait_ms: u64) -> String {
        let from = after.map(|no| format!("&after={no}")).unwrap_or_default();
        format!("/v1/channels/{}/{what}?wait_ms={wait_ms}{from}", self.channel)
    }

    fn show_came(&self, letter: &InboxLetter) -> Result<(), Failure> {
        if self.json {
            return output::json(letter);
        }
        let from = letter.from_name.as_ref().unwrap_or(&letter.from);
        match &letter.handed_over {
            None => output::line(format_args!("{}  {from}", output::time(letter.sent_ms)))?,
            Some(earlier) => {
                let author = earlier.author_name.as_ref().unwrap_or(&earlier.author);
                let time = output::time(earlier.sent_ms);
                output::line(format_args!("{time}  said to be by {author}, handed over by {from}"))?;
            }
        }
        inbox::text(letter)
    }

    fn show_said(&self, letter: &SaidLetter) -> Result<(), Failure> {
        if self.json {
            return output::json(letter);
        }
        let lost = letter.of.saturating_sub(letter.delivered).saturating_sub(letter.waiting);
        let lost = if lost > 0 { format!(", never to {lost}") } else { String::new() };
        let (time, delivered, of) = (output::time(letter.sent_ms), letter.delivered, letter.of);
        output::line(format_args!("{time}  this agent, delivered to {delivered} of {of}{lost}"))?;
        match &letter.text {
            Some(text) => inbox::shown(text),
            None => output::line(format_args!("    {}", output::size(letter.len))),
        }
    }
}
