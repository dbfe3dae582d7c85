//! A member in a process of its own: an agent that does what it is told, in lines of JSON, and answers each order once.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nuncio::{Agent, ChannelId, Config, Error, Message, Role};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// What the channel is called.
pub(crate) const CHANNEL: &str = "crew";
/// Between two letters of many.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two looks at what has to come about.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a member is told; agents by their DIDs. It ends with its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// This is another: its invitation.
    Meet(String),
    /// Make the channel.
    Create,
    /// Ask another to join.
    Invite(String),
    /// Wait for an invitation, answer it, and wait until the owner has taken this one in.
    Join,
    /// Take a member out.
    Remove(String),
    /// Say something to all.
    Say(String),
    /// Say so many things to all, one after the other; each is answered by itself.
    SayMany(String, usize),
    /// Who is in, as far as it knows.
    Members,
    /// What it has read of the channel.
    Read,
    /// Who has a letter of its own.
    Tally(String),
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// It runs: its invitation, and its port.
    Ready(String),
    /// It is done.
    Done,
    /// The letter's id, and its text.
    Said(String, String),
    /// It cannot, and why.
    Refused(String),
    /// Everybody who is in, and whether it is itself.
    Members(Vec<String>, bool),
    /// Letters, in the order in which they came.
    Letters(Vec<Heard>),
    /// Who has it, to whom it is on its way, and who never gets it.
    Tally { delivered: usize, waiting: usize, failed: usize },
}

/// A letter that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) from: String,
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Is a member until standard input ends.
pub(crate) async fn play(home: &Path, port: u16) -> Result<()> {
    let config = Config::new(home).listen(([127, 0, 0, 1], port).into()).letters_without_token();
    let agent = Agent::open(config).await?;
    tell(&Told::Ready(agent.invitation().await?.to_string()))?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        let told = follow(&agent, serde_json::from_str(&line)?).await;
        tell(&told.unwrap_or_else(|error| Told::Refused(error.to_string())))?;
    }
    Ok(agent.shutdown().await?)
}

async fn follow(agent: &Agent, order: Order) -> Result<Told> {
    match order {
        Order::Meet(invitation) => drop(agent.add_peer(&invitation.parse()?, None).await?),
        Order::Create => drop(agent.create_channel(CHANNEL).await?),
        Order::Invite(other) => agent.invite_to_channel(channel(agent).await?, other.parse()?).await?,
        Order::Join => join(agent).await?,
        Order::Remove(other) => agent.remove_from_channel(channel(agent).await?, other.parse()?).await?,
        Order::Say(text) => return say(agent, text).await,
        Order::SayMany(text, count) => {
            for no in 1..count {
                tell(&say(agent, format!("{text} {no}")).await?)?;
                tokio::time::sleep(PAUSE).await;
            }
            return say(agent, format!("{text} {count}")).await;
        }
        Order::Members => {
            let known = agent.channels().await?.into_iter().find(|one| one.name == CHANNEL).context("no channel")?;
            let members = known.members.iter().map(|member| member.agent.to_string()).collect();
            return Ok(Told::Members(members, known.role != Role::Gone));
        }
        Order::Read => return Ok(Told::Letters(read(agent).await?)),
        Order::Tally(id) => {
            let tally = agent.tally(id.parse()?).await?.context("no such letter")?;
            let (delivered, waiting) = (tally.delivered(), tally.waiting());
            return Ok(Told::Tally { delivered, waiting, failed: tally.members.len() - delivered - waiting });
        }
    }
    Ok(Told::Done)
}

async fn channel(agent: &Agent) -> Result<ChannelId, Error> {
    agent.resolve_channel(CHANNEL).await
}

async fn say(agent: &Agent, text: String) -> Result<Told> {
    let id = agent.send_to_channel(channel(agent).await?, Message::text(text.as_str())).await?;
    Ok(Told::Said(id.to_string(), text))
}

async fn join(agent: &Agent) -> Result<()> {
    let invitation = loop {
        match agent.resolve_invitation(CHANNEL).await {
            Err(Error::NoInvitation(_)) => tokio::time::sleep(LOOK_EVERY).await,
            found => break found?,
        }
    };
    agent.join_channel(invitation).await?;
    let is_in = async || {
        let channels = agent.channels().await?;
        Ok::<_, Error>(channels.iter().any(|one| one.id == invitation && one.role != Role::Gone))
    };
    while !is_in().await? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn read(agent: &Agent) -> Result<Vec<Heard>> {
    let letters = agent.letters(None, usize::MAX).await?;
    let heard = letters.iter().map(|letter| {
        Ok(Heard { from: letter.from.to_string(), id: letter.id.to_string(), text: letter.payload.text()?.to_owned() })
    });
    heard.collect()
}

fn tell(told: &Told) -> Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    Ok(std::io::stdout().lock().write_all(&line)?)
}
