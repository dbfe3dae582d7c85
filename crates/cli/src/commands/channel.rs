//! `nuncio channel`

mod history;
mod list;
mod log;
mod owner;
mod send;

use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::{Instant, sleep};

use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::wire::{
    Channel as Known, ChannelCancelled, ChannelChange, ChannelNamed, Channels, Named, NewChannel, NewMember, Role,
};
use crate::{output, span};

/// Between two looks at whether the owner has answered.
const LOOK_EVERY: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
A channel of three, made by anna, who knows ben and cleo (`nuncio peers add`):
  nuncio channel create crew
  nuncio channel invite crew ben
  nuncio channel invite crew cleo
  nuncio channel join crew                        each of the two, who need not know each other
  nuncio channel send crew 'the ship leaves at six'
  nuncio channel log crew
Cleo came later, and is to know what was said before; then she goes for good:
  nuncio channel history crew --to cleo --last 20
  nuncio channel leave crew                       cleo; nothing more of it reaches her
  nuncio channel forget crew                      cleo; with all that is kept of it
Ben is to be the owner:
  nuncio channel hand-over crew ben               anna
  nuncio channel take-over crew                   ben; it says when it is so

CHANNEL is the name, where no other channel here has it, or the 64 hexadecimal digits of its id. A name is its owner's word and may change;
scripts that must not meet another channel use the id (`nuncio channel list --json`).";

/// Groups of agents that share letters. A letter is sealed end to end for every member; no node reads it, and nobody joins whom the owner has not taken in.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Channel {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a channel: this agent is its owner
    #[command(
        after_help = "Examples:\n  nuncio channel create crew\n  nuncio channel create board --audits\n\nIt prints the channel's id. In a channel that audits a letter under a transaction has one token for all, which lives some minutes: a member that is away\nlonger never has it, and the sender is told."
    )]
    Create {
        /// What it is called, for all: 1 to 128 bytes
        name: String,
        /// Every letter is signed by its author, and an event of each member that keeps an audit log; this cannot be changed later
        #[arg(long)]
        audits: bool,
    },
    /// List channels, and invitations into others
    #[command(after_help = "Example:\n  nuncio channel list --json")]
    List,
    /// Ask a peer to join; the owner and admins may
    #[command(after_help = "Example:\n  nuncio channel invite crew ben\n\nBen joins with: nuncio channel join crew")]
    Invite {
        /// The channel's name or id
        channel: String,
        /// A peer's short name or DID
        agent: String,
    },
    /// Answer an invitation: be a member
    #[command(
        after_help = "Example:\n  nuncio channel join crew\n\nThe other members are told this agent's addresses and its mailbox. What was said before it joined stays closed to it."
    )]
    Join {
        /// The channel's name or id, as `nuncio channel list` shows the invitation
        channel: String,
        /// How long to wait for the owner, who takes it in; it goes on by itself after that
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::parse)]
        wait: Duration,
    },
    /// Forget an invitation; nobody is told
    #[command(after_help = "Example:\n  nuncio channel decline crew")]
    Decline {
        /// The channel's name or id
        channel: String,
    },
    /// Say who is in a channel
    #[command(after_help = "Example:\n  nuncio channel members crew")]
    Members {
        /// The channel's name or id
        channel: String,
    },
    /// Take a member out: by the owner at once, by an admin as a proposal to the owner
    #[command(
        after_help = "Example:\n  nuncio channel remove crew ben\n\nIt reads nothing that a member sends after that member has heard of it. What it has read, it has."
    )]
    Remove {
        /// The channel's name or id
        channel: String,
        /// A member's short name or DID
        agent: String,
    },
    /// Make a member an admin, who invites and proposes; with --no, one no more
    #[command(
        after_help = "Examples:\n  nuncio channel admin crew ben\n  nuncio channel admin crew ben --no\n\nMore than half of the admins can take the channel over from its owner: name none, or three."
    )]
    Admin {
        /// The channel's name or id
        channel: String,
        /// A member's short name or DID
        agent: String,
        /// It is none any more
        #[arg(long)]
        no: bool,
    },
    /// Call a channel something else, for all
    #[command(after_help = "Example:\n  nuncio channel rename crew 'night watch'")]
    Rename {
        /// The channel's name or id
        channel: String,
        /// What it is called from now on
        name: String,
    },
    /// Ask another member to be the owner; this agent stays a member
    #[command(
        after_help = "Example:\n  nuncio channel hand-over crew ben\n\nBen consents with: nuncio channel take-over crew"
    )]
    HandOver {
        /// The channel's name or id
        channel: String,
        /// A member's short name or DID
        agent: String,
    },
    /// Be the owner of a channel, as its owner has asked
    TakeOver(owner::TakeOver),
    /// Be the owner where the owner is gone or its key is another's; an admin may, with more than half of the admins
    Succeed(owner::Succeed),
    /// Support an admin that would be the owner
    Support(owner::Support),
    /// Leave a channel, at once; the owner hands it over first, or forgets it where it is alone
    #[command(
        after_help = "Example:\n  nuncio channel leave crew\n\nFrom here on nothing of the channel is taken or sent. The owner is told as soon as it can be reached, and tells the others: so long they count this agent in."
    )]
    Leave {
        /// The channel's name or id
        channel: String,
    },
    /// Forget a channel that this agent has left, was taken out of, or is alone in
    #[command(
        after_help = "Example:\n  nuncio channel forget crew\n\nWhat is kept of the channel goes, and agents that are known by it alone. Its letters stay in the inbox until `nuncio done`."
    )]
    Forget {
        /// The channel's name or id
        channel: String,
    },
    /// Hand earlier letters of a channel to a member that was not there
    History(history::History),
    /// Send a letter to all other members, and say who has it
    Send(send::Send),
    /// Take a letter back from all who do not have it yet; it may arrive all the same
    #[command(
        after_help = "Example:\n  nuncio channel cancel crew 01a2189277f077d1a1be1ff4b8bf8ce3\n\nThe id is what `nuncio channel send` printed; `nuncio outbox` lists whom the letter has not reached. Whoever has it, keeps it. From one member alone:\n  nuncio outbox cancel ben 01a2189277f077d1a1be1ff4b8bf8ce3"
    )]
    Cancel {
        /// The channel's name or id
        channel: String,
        /// The letter's id
        #[arg(value_name = "ID", value_parser = super::send::letter_id)]
        letter: String,
    },
    /// Print what was said in a channel: the letters that came and this agent's own, in their order
    Log(log::Log),
}

impl Channel {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        options.with(async |api| self.action.run(options, api).await).await
    }
}

impl Action {
    async fn run(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        match self {
            Self::Create { name, audits } => create(options, api, name, *audits).await,
            Self::List => list::all(options, api).await,
            Self::Invite { channel, agent } => invite(options, api, channel, agent).await,
            Self::Join { channel, wait } => join(options, api, channel, *wait).await,
            Self::Decline { channel } => tell(options, api, channel, "decline", "declined").await,
            Self::Members { channel } => list::members(options, api, channel).await,
            Self::TakeOver(take_over) => take_over.run(options, api).await,
            Self::Succeed(succeed) => succeed.run(options, api).await,
            Self::Support(support) => support.run(options, api).await,
            Self::Leave { channel } => tell(options, api, channel, "leave", "left").await,
            Self::Forget { channel } => tell(options, api, channel, "forget", "forgotten:").await,
            Self::History(history) => history.run(options, api).await,
            Self::Send(send) => send.run(options, api).await,
            Self::Cancel { channel, letter } => cancel(options, api, channel, letter).await,
            Self::Log(log) => log.run(options, api).await,
            other => other.change(options, api).await,
        }
    }

    /// What the owner does, and an admin proposes.
    async fn change(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let nothing = ChannelChange::default();
        let (channel, change, done) = match self {
            Self::Remove { channel, agent } => {
                (channel, ChannelChange { remove: Some(agent.clone()), ..nothing }, format!("removed {agent}"))
            }
            Self::Admin { channel, agent, no: false } => {
                (channel, ChannelChange { admin: Some(agent.clone()), ..nothing }, format!("{agent} is an admin"))
            }
            Self::Admin { channel, agent, no: true } => {
                (channel, ChannelChange { no_admin: Some(agent.clone()), ..nothing }, format!("{agent} is no admin"))
            }
            Self::Rename { channel, name } => {
                (channel, ChannelChange { rename: Some(name.clone()), ..nothing }, format!("renamed to {name}"))
            }
            Self::HandOver { channel, agent } => (
                channel,
                ChannelChange { hand_over: Some(agent.clone()), ..nothing },
                format!("asked {agent} to be the owner: it consents with `nuncio channel take-over`"),
            ),
            _ => return Err(Failure::Broken("no change of a channel".to_owned())),
        };
        let before: Known = api.get(&format!("/v1/channels/{}", segment(channel))).await?;
        let changed: ChannelNamed =
            api.post(&format!("/v1/channels/{}/changes", segment(&before.channel)), &change).await?;
        if options.json {
            output::json(&changed)?;
        } else if before.role == Role::Owner {
            output::line(output::harmless_line(&done))?;
        } else {
            output::line(format_args!("proposed to the owner: {}", output::harmless_line(&done)))?;
        }
        note_without_agent(api);
        Ok(())
    }
}

async fn create(options: &Options, api: &Api, name: &str, audits: bool) -> Result<(), Failure> {
    let made: Known = api.post("/v1/channels", &NewChannel { name: name.to_owned(), audits }).await?;
    if options.json {
        output::json(&made)?;
    } else {
        output::line(&made.channel)?;
    }
    if audits {
        output::note(AUDITS);
    }
    note_of_one_name(api, &made).await
}

/// What a person has to know before it relies on such a channel.
// contracts/channel.md C73.
const AUDITS: &str = "every letter here is signed, for good. One under a transaction (--under) is not sealed again once its token has expired: a member that is away for\nmore than some minutes never has it, and `nuncio outbox` says so";

/// Names are not guessed: from here on commands want the id.
async fn note_of_one_name(api: &Api, channel: &Known) -> Result<(), Failure> {
    let channels = api.get::<Channels>("/v1/channels").await?.channels;
    let is_in = |one: &&Known| !matches!(one.role, Role::Leaving | Role::Gone);
    let called: Vec<&Known> = channels.iter().filter(is_in).filter(|one| one.name == channel.name).collect();
    if called.len() > 1 {
        let (name, count) = (output::harmless_line(&channel.name), called.len());
        output::note(format_args!("{count} channels are called {name} here: commands want the id from now on"));
        called.iter().for_each(|one| output::note(format_args!("  {}", one.channel)));
    }
    Ok(())
}

async fn invite(options: &Options, api: &Api, channel: &str, agent: &str) -> Result<(), Failure> {
    let path = format!("/v1/channels/{}/invitations", segment(channel));
    let invited: Named = api.post(&path, &NewMember { agent: agent.to_owned() }).await?;
    if options.json {
        output::json(&invited)?;
    } else {
        output::line(format_args!("invited {agent}: it joins with `nuncio channel join`"))?;
    }
    note_without_agent(api);
    Ok(())
}

async fn join(options: &Options, api: &Api, text: &str, wait: Duration) -> Result<(), Failure> {
    let until = Instant::now() + wait;
    let named: ChannelNamed = api.post(&format!("/v1/channels/{}/join", segment(text)), &()).await?;
    loop {
        let channels = api.get::<Channels>("/v1/channels").await?.channels;
        let is_in = |one: &Known| one.channel == named.channel && !matches!(one.role, Role::Leaving | Role::Gone);
        if let Some(joined) = channels.into_iter().find(is_in) {
            if options.json {
                output::json(&joined)?;
            } else {
                let (name, members) = (output::harmless_line(&joined.name), joined.members.len());
                output::line(format_args!("joined {name}: {members} members"))?;
            }
            return note_of_one_name(api, &joined).await;
        }
        if Instant::now() >= until {
            note_without_agent(api);
            let waits = "the owner has not taken this agent in yet: it goes on by itself, and `nuncio channel list` says when it is so";
            return Err(Failure::NotYet(waits.to_owned()));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn tell(options: &Options, api: &Api, channel: &str, what: &str, done: &str) -> Result<(), Failure> {
    let named: ChannelNamed = api.post(&format!("/v1/channels/{}/{what}", segment(channel)), &()).await?;
    if options.json {
        output::json(&named)
    } else {
        output::line(format_args!("{done} {}", output::harmless_line(channel)))
    }
}

async fn cancel(options: &Options, api: &Api, channel: &str, letter: &str) -> Result<(), Failure> {
    let path = format!("/v1/channels/{}/letters/{letter}", segment(channel));
    let taken: ChannelCancelled = api.delete(&path).await?;
    if taken.cancelled == 0 {
        let hint = "`nuncio outbox` lists those that are";
        return Err(Failure::usage("no such letter to this channel is on its way to anybody", hint));
    }
    if options.json {
        return output::json(&taken);
    }
    let members = if taken.cancelled == 1 { "member" } else { "members" };
    output::line(format_args!("cancelled {letter} for {} {members}", taken.cancelled))
}

/// What has to reach somebody waits where no agent runs.
fn note_without_agent(api: &Api) {
    if !api.is_daemon() {
        output::note("no agent runs here: the others hear of it when one does (`nuncio agent`)");
    }
}
