//! `nuncio channel send`

use std::io::Read as _;
use std::time::Duration;

use clap::Args;
use nuncio_contracts::registry::limit;
use tokio::time::Instant;

use super::super::send::{UnderArgs, letter_id};
use super::log::never;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::wire::{ChannelAccepted, ChannelTally, Delivery, MemberTold, NewChannelLetter};
use crate::{output, span};

/// The longest payload of a letter to a channel.
#[expect(clippy::as_conversions, reason = "usize to u64 in a constant")]
const LEN_MAX: u64 = limit::PAYLOAD_INLINE_MAX as u64;

/// How long one request waits.
const WAIT_STEP: Duration = Duration::from_secs(10);

/// Sends a letter to all other members, and says who has it on disk. It is delivered to each once, as soon as that one can be reached.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel send crew 'the ship leaves at six'\n  date | nuncio channel send crew - --wait 2m\n  nuncio channel send crew 'aye' --reply-to 01a2189277f077d1a1be1ff4b8bf8ce3\n  nuncio channel send crew 'book the seats' --under trip.token --scope travel.book\n\nUnder a transaction the letter has one token, good for the members of this channel alone; none of them can go on with it.\nIts id is printed, and below it who has the letter. Exit code 3 when some have not yet: it is still on its way to them."
)]
pub(super) struct Send {
    /// The channel's name or id
    channel: String,
    /// The text; `-` is standard input, up to 48 KiB
    text: String,
    /// Id of the letter that this one answers
    #[arg(long, value_name = "ID", value_parser = letter_id)]
    reply_to: Option<String>,
    /// Give up for whoever does not have it after so long: 30s, 5m, 2h; at most 7d
    #[arg(long, value_name = "DURATION", value_parser = span::up_to_a_week)]
    deadline: Option<Duration>,
    #[command(flatten)]
    under: UnderArgs,
    /// Wait so long for the members; 0s looks once, and is exit code 3 where somebody lacks it
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = span::parse)]
    wait: Duration,
}

impl Send {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let letter = NewChannelLetter {
            text: Some(self.read()?),
            reply_to: self.reply_to.clone(),
            expires_ms: self.deadline.map(span::ms),
            under: self.under.read()?,
            ..NewChannelLetter::default()
        };
        let begun = Instant::now();
        let sent: ChannelAccepted =
            api.post(&format!("/v1/channels/{}/letters", segment(&self.channel)), &letter).await?;
        let tally = tally(api, &sent, begun + self.wait).await?;
        if options.json {
            output::json(&tally)?;
        } else {
            output::line(&sent.id)?;
            let (delivered, of, took) = (tally.delivered, tally.of, span::told(begun.elapsed()));
            output::note(format_args!("delivered to {delivered} of {of} in {took}"));
            tally.members.iter().for_each(missing);
        }
        end(&tally, api)
    }

    fn read(&self) -> Result<String, Failure> {
        if self.text != "-" {
            return Ok(self.text.clone());
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(LEN_MAX + 1).read_to_end(&mut bytes);
        read.map_err(Failure::io("read", "standard input"))?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > LEN_MAX) {
            let hint = "send it to each member that it is for: nuncio send MEMBER FILE";
            return Err(Failure::usage(
                "standard input is longer than 48 KiB, which is all that a letter to a channel has",
                hint,
            ));
        }
        String::from_utf8(bytes).map_err(|_| {
            let hint = "send a file to each member that it is for: nuncio send MEMBER FILE";
            Failure::usage("standard input is no UTF-8 text", hint)
        })
    }
}

async fn tally(api: &Api, sent: &ChannelAccepted, until: Instant) -> Result<ChannelTally, Failure> {
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(WAIT_STEP);
        let path = format!("/v1/channels/{}/letters/{}?wait_ms={}", sent.channel, sent.id, span::ms(left));
        let tally: ChannelTally = api.get(&path).await?;
        if tally.waiting == 0 || left.is_zero() {
            return Ok(tally);
        }
    }
}

/// Who does not have it.
fn missing(member: &MemberTold) {
    match member.state {
        Delivery::Delivered => {}
        Delivery::Waiting => {
            let who = member.name.as_ref().unwrap_or(&member.agent);
            output::note(format_args!("  not yet: {who}"));
        }
        Delivery::Failed => output::note(format_args!("  never: {}", never(member))),
    }
}

fn end(tally: &ChannelTally, api: &Api) -> Result<(), Failure> {
    let failed = tally.members.iter().find(|member| member.state == Delivery::Failed);
    if let Some(failed) = failed {
        let count = tally.of - tally.delivered - tally.waiting;
        let reason = format!("the letter was not delivered to {count} of {}", tally.of);
        return Err(Failure::NotDelivered { reason, code: failed.code.clone() });
    }
    if tally.waiting == 0 {
        return Ok(());
    }
    if !api.is_daemon() {
        output::note("no agent runs here: the letter goes when one does (`nuncio agent`)");
    }
    Err(Failure::NotYet(format!("{} of {} do not have the letter yet", tally.waiting, tally.of)))
}
