//! `nuncio channel take-over`, `succeed` and `support`: another owner.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::{LOOK_EVERY, note_without_agent};
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::wire::{Channel, ChannelNamed, NewMember, NewSuccession, Problem, Role};
use crate::{output, span};

/// Be the owner of a channel, as its owner has asked.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel take-over crew\n  nuncio channel take-over crew --wait 5m\n\nThe owner says who is in, and cannot leave before it has handed the channel over. Exit code 3 where the owner of before has not answered yet:\nit goes on by itself, once that one can be reached."
)]
pub(super) struct TakeOver {
    /// The channel's name or id
    channel: String,
    /// How long to wait for the owner of before, whose agent has the last word
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::parse)]
    wait: Duration,
}

/// Be the owner where the owner is gone or its key is another's; an admin may, with more than half of the admins.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio channel succeed crew\n  nuncio channel succeed crew --behind 12\n\nMore than half of the admins are wanted, this one among them: of one it is enough, of three another says `nuncio channel support crew DID`.\nThe owner of before is taken out, as its key may be another's; invite it again if it is not. There is no list of who succeeds in which order: the\nowner names admins (`nuncio channel admin`), none or three, and they decide.\n\nWith --behind what the owner has appended to the record after that entry is undone, where it is not more than 7 days old: also that it took the admins out.\n`nuncio channel members crew --json` says the number of the newest entry."
)]
pub(super) struct Succeed {
    /// The channel's name or id
    channel: String,
    /// The number of the record's last good entry [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    behind: Option<u32>,
    /// How long to wait for the other admins; it goes on by itself after that
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::parse)]
    wait: Duration,
}

/// Support an admin that would be the owner; ask by another way whether it is right.
#[derive(Args)]
#[command(
    after_help = "Example:\n  nuncio channel support crew ben\n\n`nuncio channel list` says who asks. Once more than half of the admins are for it, that admin is the owner, and the one before is out. An agent that was\nstarted again since is asked once more: `nuncio channel succeed`, by the one that would be owner."
)]
pub(super) struct Support {
    /// The channel's name or id
    channel: String,
    /// The admin's short name or DID
    agent: String,
}

impl TakeOver {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let path = format!("/v1/channels/{}/take-over", segment(&self.channel));
        let named: ChannelNamed = api.post(&path, &()).await?;
        let waited_for = "the owner of before has not answered yet: this agent is the owner once it has";
        is_owner(options, api, &named.channel, Wanted { wait: self.wait, waited_for, by_consent: true }).await
    }
}

impl Succeed {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let path = format!("/v1/channels/{}/succession", segment(&self.channel));
        let named: ChannelNamed = api.post(&path, &NewSuccession { behind: self.behind }).await?;
        let waited_for =
            "not more than half of the admins support this agent yet: ask them for `nuncio channel support`";
        is_owner(options, api, &named.channel, Wanted { wait: self.wait, waited_for, by_consent: false }).await
    }
}

impl Support {
    pub(super) async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let path = format!("/v1/channels/{}/supports", segment(&self.channel));
        let named: ChannelNamed = api.post(&path, &NewMember { agent: self.agent.clone() }).await?;
        if options.json {
            output::json(&named)?;
        } else {
            output::line(format_args!(
                "supported {}: it is the owner once more than half of the admins have",
                self.agent
            ))?;
        }
        note_without_agent(api);
        Ok(())
    }
}

/// What is waited for.
struct Wanted {
    wait: Duration,
    waited_for: &'static str,
    /// Whether another owner may have asked somebody else.
    by_consent: bool,
}

async fn is_owner(options: &Options, api: &Api, id: &str, wanted: Wanted) -> Result<(), Failure> {
    let until = Instant::now() + wanted.wait;
    loop {
        let channel: Channel = api.get(&format!("/v1/channels/{id}")).await?;
        if channel.role == Role::Owner {
            if options.json {
                return output::json(&channel);
            }
            let (name, members) = (output::harmless_line(&channel.name), channel.members.len());
            return output::line(format_args!("this agent is the owner of {name}: {members} members"));
        }
        if wanted.by_consent && channel.heir.is_none() {
            let message = "the channel has another owner by now, or this agent is in it no more".to_owned();
            return Err(Failure::Api(Problem { code: "channel_refused".to_owned(), message, letter_code: None }));
        }
        if Instant::now() >= until {
            note_without_agent(api);
            return Err(Failure::NotYet(wanted.waited_for.to_owned()));
        }
        sleep(LOOK_EVERY).await;
    }
}
