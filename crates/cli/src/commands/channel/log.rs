//! `nuncio channel log`

use std::collections::VecDeque;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::super::inbox;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Channel, ChannelTally, Delivery, InboxLetter, InboxPage, MemberTold, SaidLetter, SaidPage};

/// How long one request waits for letters.
const WAIT_MS: u64 = 30_000;
/// Letters of this agent's own that are looked at again as members have them; of more the newest.
const FOLLOWED_MAX: usize = 64;
/// Between two looks at them: what many members say in a moment is one line.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// Prints what was said in a channel: the letters that are in the inbox, those among them that a member has handed over, and beside them what this agent
/// said itself, with how many have it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel log crew\n  nuncio channel log crew --follow --json | while read -r letter; do …; done\n\nLetters that came stay in the inbox until `nuncio done NUMBER`. Of this agent's own the newest 1,000 are kept, for a week. With --json a letter that\ncame has its number in the inbox as `no`, and one of this agent's own has `said`, and `delivered` and `of`: who has it now, of how many. With --follow\nsuch a letter is told again as more have it; when the agent stops the command ends with exit code 1, kind `stopped`, and goes on from where it was when\nit is given again."
)]
pub(super) struct Log {
    /// The channel's name or id
    channel: String,
    /// Go on with letters as they come and go, until interrupted
    #[arg(long)]
    follow: bool,
}

/// What is known of this agent's own letters.
#[derive(Default)]
struct Own {
    /// The last number.
    last: Option<u64>,
    /// What the bell of the agent said then.
    moved: u64,
    /// Those that are on their way to somebody, the oldest first.
    waiting: VecDeque<SaidLetter>,
}

impl Own {
    /// One that was looked at again stays in its place.
    fn take_back(&mut self, letter: SaidLetter) {
        if letter.waiting > 0 {
            self.waiting.push_back(letter);
        }
    }

    fn take(&mut self, letter: SaidLetter) {
        self.last = Some(letter.said);
        if letter.waiting > 0 {
            self.waiting.push_back(letter);
        }
        if self.waiting.len() > FOLLOWED_MAX {
            self.waiting.pop_front();
        }
    }
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
            if came.is_none() && said.last.is_none() && !options.json {
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
    async fn so_far(&self) -> Result<(Option<u64>, Own), Failure> {
        let (mut said, mut own) = (VecDeque::new(), Own::default());
        loop {
            let page = self.said(&own, false).await?;
            own.moved = page.moved;
            if page.letters.is_empty() {
                break;
            }
            page.letters.iter().for_each(|letter| own.take(letter.clone()));
            said.extend(page.letters);
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
        Ok((last_came, own))
    }

    async fn follow_came(&self, mut after: Option<u64>) -> Result<(), Failure> {
        loop {
            for letter in self.came(after, WAIT_MS).await? {
                self.show_came(&letter)?;
                after = Some(letter.no);
            }
        }
    }

    /// What is said from here on, and who comes to have what was.
    async fn follow_said(&self, mut own: Own) -> Result<(), Failure> {
        loop {
            let page = self.said(&own, true).await?;
            let has_moved = page.moved != own.moved;
            own.moved = page.moved;
            for letter in page.letters {
                self.show_said(&letter)?;
                own.take(letter);
            }
            if has_moved {
                self.look_again(&mut own).await?;
                sleep(LOOK_PAUSE).await;
            }
        }
    }

    /// Tells of those letters that more have now, or that somebody will never have.
    async fn look_again(&self, own: &mut Own) -> Result<(), Failure> {
        for mut letter in std::mem::take(&mut own.waiting) {
            let path = format!("/v1/channels/{}/letters/{}", self.channel, letter.id);
            let tally: ChannelTally = self.api.get(&path).await?;
            if (tally.delivered, tally.waiting) != (letter.delivered, letter.waiting) {
                (letter.delivered, letter.waiting) = (tally.delivered, tally.waiting);
                letter.failed = tally.members.into_iter().filter(|one| one.state == Delivery::Failed).collect();
                self.show_again(&letter)?;
            }
            own.take_back(letter);
        }
        Ok(())
    }

    async fn came(&self, after: Option<u64>, wait_ms: u64) -> Result<Vec<InboxLetter>, Failure> {
        Ok(self.api.get::<InboxPage>(&self.path("letters", after, wait_ms)).await?.letters)
    }

    /// What is new of this agent's own: with `waits` once something is, or has moved.
    async fn said(&self, own: &Own, waits: bool) -> Result<SaidPage, Failure> {
        let path = self.path("said", own.last, if waits { WAIT_MS } else { 0 });
        let moved = if waits { format!("&moved={}", own.moved) } else { String::new() };
        self.api.get(&format!("{path}{moved}")).await
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
        output::line(format_args!("{}  this agent, {}", output::time(letter.sent_ms), who_has(letter)))?;
        match &letter.text {
            Some(text) => inbox::shown(text),
            None => output::line(format_args!("    {}", output::size(letter.len))),
        }
    }

    /// One line for a letter that was shown before.
    fn show_again(&self, letter: &SaidLetter) -> Result<(), Failure> {
        if self.json {
            return output::json(letter);
        }
        let (now, sent) = (output::now(), output::time(letter.sent_ms));
        output::line(format_args!("{now}  this agent's letter of {sent}: {}", who_has(letter)))
    }
}

fn who_has(letter: &SaidLetter) -> String {
    let (delivered, of) = (letter.delivered, letter.of);
    let never: Vec<String> = letter.failed.iter().map(never).collect();
    let never = if never.is_empty() { String::new() } else { format!(", never to {}", never.join("; ")) };
    format!("delivered to {delivered} of {of}{never}")
}

/// Who will never have it, and why.
pub(super) fn never(member: &MemberTold) -> String {
    let who = member.name.as_ref().unwrap_or(&member.agent);
    let why = member.reason.as_deref().unwrap_or_default().trim_start_matches("the letter was not delivered: ");
    format!("{who}: {}", output::harmless_line(why))
}
