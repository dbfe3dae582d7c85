//! `nuncio channel log`

use clap::Args;

use super::super::inbox;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::output;
use crate::wire::{Channel, InboxLetter, InboxPage};

/// How long one request waits for letters.
const WAIT_MS: u64 = 30_000;

/// Prints the letters of a channel that are in the inbox, in the order in which they came, those among them that a member has handed over. What this
/// agent said itself is in no inbox.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel log crew\n  nuncio channel log crew --follow --json | while read -r letter; do …; done\n\nThe letters stay in the inbox until `nuncio done NUMBER`; --json prints the numbers, and who is answered."
)]
pub(super) struct Log {
    /// The channel's name or id
    channel: String,
    /// Go on with letters as they come, until interrupted
    #[arg(long)]
    follow: bool,
}

impl Log {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        // By its id from here on: a name may change while it is followed.
        let channel: Channel = api.get(&format!("/v1/channels/{}", segment(&self.channel))).await?;
        let (mut after, mut any) = (None::<u64>, false);
        loop {
            let from = after.map(|no| format!("&after={no}")).unwrap_or_default();
            let wait = if self.follow { WAIT_MS } else { 0 };
            let path = format!("/v1/channels/{}/letters?wait_ms={wait}{from}", channel.channel);
            let page = tokio::select! {
                page = api.get::<InboxPage>(&path) => page?,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            if page.letters.is_empty() && !self.follow {
                if !any && !options.json {
                    output::note("nothing of this channel is in the inbox");
                }
                return Ok(());
            }
            for letter in &page.letters {
                if options.json {
                    output::json(letter)?
                } else {
                    show(letter)?
                }
                (after, any) = (Some(letter.no), true);
            }
        }
    }
}

fn show(letter: &InboxLetter) -> Result<(), Failure> {
    let from = letter.from_name.as_ref().unwrap_or(&letter.from);
    match &letter.handed_over {
        None => output::line(format_args!("{}  {from}", output::time(letter.sent_ms)))?,
        Some(earlier) => {
            let (time, author) =
                (output::time(earlier.sent_ms), earlier.author_name.as_ref().unwrap_or(&earlier.author));
            output::line(format_args!("{time}  said to be by {author}, handed over by {from}"))?;
        }
    }
    inbox::text(letter)
}
