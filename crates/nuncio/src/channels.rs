//! Groups of agents that share letters, as an application has them (contracts/channel.md).
//!
//! ```text
//!   create_channel ─► invite_to_channel ─► the other's channel_invitations, join_channel ─► it is a member
//!   send_to_channel ─► each member's inbox, Incoming::channel ─► tally: who has it
//! ```

use nuncio_proto::channel::{Change, Reach, Roster};
use nuncio_proto::error::PeerError;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ChannelError, ChannelNews as News};
use nuncio_proto::step::Step;
use nuncio_proto::time::UnixMillis;
use tokio::sync::{mpsc, watch};

use crate::actor::Actor;
use crate::agent::Agent;
use crate::command::{Command, Reply};
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::message::Message;
use crate::said;
use crate::tally::Tally;

/// A channel that this agent is or was in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// Its id, which no other has.
    pub id: ChannelId,
    /// What its owner calls it; others may be called the same.
    pub name: String,
    /// Who decides who is in.
    pub owner: AgentId,
    /// What this agent is in it.
    pub role: Role,
    /// Everybody in it, the owner and this agent among them.
    pub members: Vec<ChannelMember>,
    /// How often the record has moved: members of one number have the same roster.
    pub number: u32,
    /// Its letters are signed, and events of all who keep an audit log.
    pub audits: bool,
    /// Whom the owner has asked to be the next: this agent ([`Agent::take_over_channel`]), or, where this is the owner, another.
    pub heir: Option<AgentId>,
}

/// Somebody in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelMember {
    /// Who.
    pub agent: AgentId,
    /// Its short name here, if it has one.
    pub name: Option<String>,
    /// What it is.
    pub role: Role,
}

/// What an agent is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It says who is in, and what the channel is called.
    Owner,
    /// It invites, and proposes to the owner.
    Admin,
    /// It reads and writes.
    Member,
    /// It has left, and hears nothing more; the owner has still to say so in the record.
    Leaving,
    /// It was in, and is no more.
    Gone,
}

/// An invitation that came: [`Agent::join_channel`], or [`Agent::decline_channel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInvitation {
    /// Into which channel.
    pub channel: ChannelId,
    /// What it is called, by the word of who invites.
    pub name: String,
    /// Who invites.
    pub by: AgentId,
    /// Its short name here, if it has one.
    pub by_name: Option<String>,
    /// Until when it may be answered.
    pub expires: UnixMillis,
    /// It was answered: the owner has still to take this agent in.
    pub joining: bool,
}

/// Something is new of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelNews {
    /// Which.
    pub channel: ChannelId,
    /// What.
    pub happened: Happened,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happened {
    /// This agent was invited.
    Invited {
        /// By whom.
        by: AgentId,
    },
    /// The owner asks this agent to be the next: [`Agent::take_over_channel`], or nothing.
    Offered {
        /// The owner.
        by: AgentId,
    },
    /// Members, admins, owner or name are others now, or this agent has left.
    Changed {
        /// [`ChannelInfo::number`].
        number: u32,
    },
    /// A member has told others another thing under one number, or who says so lies.
    Equivocated {
        /// The member whose letters they are.
        sender: AgentId,
    },
    /// Its owner has signed two records: its key is in two hands, or it lies. The first that came is kept.
    Forked,
}

/// What is new of channels, as it happens.
#[derive(Debug)]
pub struct ChannelWatch {
    news: mpsc::UnboundedReceiver<ChannelNews>,
}

impl ChannelWatch {
    /// The next; waits for it. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub async fn next(&mut self) -> Result<ChannelNews, Error> {
        self.news.recv().await.ok_or(Error::Stopped)
    }
}

/// What a handle asks of channels.
#[derive(Debug)]
pub(crate) enum Asked {
    Create { name: String, audits: bool, reply: Reply<ChannelId> },
    Invite { channel: ChannelId, agent: AgentId, reply: Reply<()> },
    Join { channel: ChannelId, reply: Reply<()> },
    Decline { channel: ChannelId, reply: Reply<bool> },
    Change { channel: ChannelId, change: Change, reply: Reply<()> },
    TakeOver { channel: ChannelId, reply: Reply<()> },
    Leave { channel: ChannelId, reply: Reply<()> },
    Forget { channel: ChannelId, reply: Reply<()> },
    History { channel: ChannelId, to: AgentId, numbers: [Vec<u64>; 2], reply: Reply<Vec<LetterId>> },
    Send { channel: ChannelId, letter: Box<Letter>, reply: Reply<LetterId> },
    Tally { letter: LetterId, reply: Reply<Option<Tally>> },
    Tallied { reply: Reply<watch::Receiver<u64>> },
    Cancel { channel: ChannelId, letter: LetterId, reply: Reply<usize> },
    List { reply: Reply<Vec<ChannelInfo>> },
    Invitations { reply: Reply<Vec<ChannelInvitation>> },
    Watch { reply: Reply<mpsc::UnboundedReceiver<ChannelNews>> },
}

impl Agent {
    /// A new channel, of which this agent is the owner and the only member. A name has 1 to 128 bytes and no control characters.
    ///
    /// # Errors
    /// A name of another form, too many channels, or a store that cannot write.
    pub async fn create_channel(&self, name: &str) -> Result<ChannelId, Error> {
        let name = name.to_owned();
        self.ask(|reply| Command::Channel(Asked::Create { name, audits: false, reply })).await
    }

    /// A new channel that audits, for good: every letter is signed by its author and is an event of each member that keeps an audit log. Nobody can deny
    /// what it said there.
    ///
    /// # Errors
    /// As [`Agent::create_channel`].
    pub async fn create_audited_channel(&self, name: &str) -> Result<ChannelId, Error> {
        let name = name.to_owned();
        self.ask(|reply| Command::Channel(Asked::Create { name, audits: true, reply })).await
    }

    /// Asks a peer to join. The owner and admins may; the peer is a member once it has joined.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`]: not allowed, not a member, a member already, a full channel.
    pub async fn invite_to_channel(&self, channel: ChannelId, agent: AgentId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Invite { channel, agent, reply })).await
    }

    /// Answers an invitation: this agent is a member as soon as the owner has heard of it, and its endpoints and mailbox are told to the other members.
    ///
    /// # Errors
    /// [`ChannelError::NotInvited`] in [`Error::Peer`].
    pub async fn join_channel(&self, channel: ChannelId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Join { channel, reply })).await
    }

    /// Forgets an invitation; nobody is told. `false` if there is none.
    ///
    /// # Errors
    /// A store that cannot write.
    pub async fn decline_channel(&self, channel: ChannelId) -> Result<bool, Error> {
        self.ask(|reply| Command::Channel(Asked::Decline { channel, reply })).await
    }

    /// Takes a member out: it reads nothing that is sent from then on by whoever has heard of it. By the owner at once, by an admin as a proposal to
    /// the owner.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`].
    pub async fn remove_from_channel(&self, channel: ChannelId, agent: AgentId) -> Result<(), Error> {
        self.change_channel(channel, Change::Remove(vec![agent])).await
    }

    /// Makes a member an admin, or one no more. By the owner, or an admin's proposal.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`].
    pub async fn set_channel_admin(&self, channel: ChannelId, agent: AgentId, admin: bool) -> Result<(), Error> {
        self.change_channel(channel, Change::Admin { agent, admin }).await
    }

    /// Calls a channel something else, for all. By the owner, or an admin's proposal.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`].
    pub async fn rename_channel(&self, channel: ChannelId, name: &str) -> Result<(), Error> {
        self.change_channel(channel, Change::Rename(name.to_owned())).await
    }

    /// Asks another member to be the owner; this agent stays a member. By the owner alone, and done once the other consents.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`].
    pub async fn hand_over_channel(&self, channel: ChannelId, to: AgentId) -> Result<(), Error> {
        self.change_channel(channel, Change::HandOver(to)).await
    }

    async fn change_channel(&self, channel: ChannelId, change: Change) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Change { channel, change, reply })).await
    }

    /// Consents to be the owner, as the owner has asked ([`Happened::Offered`]).
    ///
    /// # Errors
    /// [`ChannelError::NotOffered`] in [`Error::Peer`].
    pub async fn take_over_channel(&self, channel: ChannelId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::TakeOver { channel, reply })).await
    }

    /// Leaves a channel, from now on: nothing of it is sealed, or delivered here. The owner is told, and the others by it. The owner hands it over first.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`].
    pub async fn leave_channel(&self, channel: ChannelId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Leave { channel, reply })).await
    }

    /// Forgets a channel that this agent has left, was taken out of, or is alone in, and who is known by it alone. Its letters stay in the inbox.
    ///
    /// # Errors
    /// [`ChannelError`] in [`Error::Peer`].
    pub async fn forget_channel(&self, channel: ChannelId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Forget { channel, reply })).await
    }

    /// Accepts a letter for all other members: it is on disk when this returns, and from then on delivered to each once or reported as failed. Under a
    /// transaction it carries one token, which is good for the members of this channel alone, and with which none of them can go on.
    ///
    /// # Errors
    /// [`Error::NotForChannels`] of one over 48 KiB; as [`Agent::send`] where it is under a transaction; not a member; a full outbox; a store that cannot write.
    pub async fn send_to_channel(&self, channel: ChannelId, message: Message) -> Result<LetterId, Error> {
        let (under, raw_token) = (message.under.clone(), message.raw_token.clone());
        let mut letter = Box::new(message.for_channel()?);
        self.put_under(&mut letter, channel.into(), under.as_ref(), raw_token).await?;
        self.ask(|reply| Command::Channel(Asked::Send { channel, letter, reply })).await
    }

    /// Who has a letter that was sent to a channel, also after a restart, for as long as a letter may live; `None` of any other letter.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn tally(&self, letter: LetterId) -> Result<Option<Tally>, Error> {
        self.ask(|reply| Command::Channel(Asked::Tally { letter, reply })).await
    }

    /// Takes a letter to a channel back from all who do not have it, as [`Agent::cancel`] does from one: from how many.
    ///
    /// # Errors
    /// A store that cannot write.
    pub async fn cancel_in_channel(&self, channel: ChannelId, letter: LetterId) -> Result<usize, Error> {
        self.ask(|reply| Command::Channel(Asked::Cancel { channel, letter, reply })).await
    }

    /// A number that grows whenever a letter to a channel was sent, or has ended for a member: what waiting for a tally waits on.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn tallied(&self) -> Result<watch::Receiver<u64>, Error> {
        self.ask(|reply| Command::Channel(Asked::Tallied { reply })).await
    }

    /// The channels that this agent is or was in.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn channels(&self) -> Result<Vec<ChannelInfo>, Error> {
        self.ask(|reply| Command::Channel(Asked::List { reply })).await
    }

    /// Invitations that are not answered, or that are and without effect so far.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn channel_invitations(&self) -> Result<Vec<ChannelInvitation>, Error> {
        self.ask(|reply| Command::Channel(Asked::Invitations { reply })).await
    }

    /// What is new of channels, from now on.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn channel_news(&self) -> Result<ChannelWatch, Error> {
        let news = self.ask(|reply| Command::Channel(Asked::Watch { reply })).await?;
        Ok(ChannelWatch { news })
    }

    /// The channel that a text names: its 64 hexadecimal digits, or its name where no other that this agent is in has it.
    ///
    /// # Errors
    /// [`Error::NoSuchChannel`], [`Error::SeveralChannels`].
    pub async fn resolve_channel(&self, text: &str) -> Result<ChannelId, Error> {
        let channels = self.channels().await?;
        let (mine, gone): (Vec<_>, Vec<_>) = channels.into_iter().partition(|channel| channel.role.is_in());
        let names =
            |channels: Vec<ChannelInfo>| channels.into_iter().map(|channel| (channel.id, channel.name)).collect();
        // One that this agent has left is named only where no other can be meant.
        match named(text, names(mine)) {
            Err(Error::NoSuchChannel(_)) => named(text, names(gone)),
            found => found,
        }
    }

    /// The channel that a text names, of those into which this agent is invited.
    ///
    /// # Errors
    /// [`Error::NoSuchChannel`], [`Error::SeveralChannels`].
    pub async fn resolve_invitation(&self, text: &str) -> Result<ChannelId, Error> {
        let invitations = self.channel_invitations().await?;
        named(text, invitations.into_iter().map(|invitation| (invitation.channel, invitation.name)).collect())
    }
}

/// An id is itself; a name is that of one.
fn named(text: &str, channels: Vec<(ChannelId, String)>) -> Result<ChannelId, Error> {
    if let Some((id, _)) = channels.iter().find(|(id, _)| id.to_string() == text) {
        return Ok(*id);
    }
    let mut found = channels.into_iter().filter(|(_, name)| name == text);
    match (found.next(), found.next()) {
        (Some((id, _)), None) => Ok(id),
        (Some(_), Some(_)) => Err(Error::SeveralChannels(text.to_owned())),
        (None, _) => Err(Error::NoSuchChannel(text.to_owned())),
    }
}

impl Actor {
    pub(crate) fn channel_command(&mut self, asked: Asked) {
        if !self.has_randomness() {
            return;
        }
        match asked {
            Asked::Create { name, audits, reply } => {
                match self.peer.channel_create(&name, audits, now(), &mut self.entropy) {
                    Ok((channel, step)) => self.commit_with(step, vec![answer(reply, channel)]),
                    Err(error) => tell(reply, Err(error.into())),
                }
            }
            Asked::Invite { channel, agent, reply } => {
                let step = self.invite(channel, agent);
                self.finish(step, reply);
            }
            Asked::Join { channel, reply } => {
                let reach = Reach { endpoints: self.endpoints(), mailbox: self.peer.mailbox().cloned() };
                self.finish(self.peer.channel_join(channel, reach, now()).map_err(Error::from), reply);
            }
            Asked::Decline { channel, reply } => match self.peer.channel_decline(channel) {
                Some(step) => self.commit_with(step, vec![answer(reply, true)]),
                None => tell(reply, Ok(false)),
            },
            Asked::Change { channel, change, reply } => {
                self.finish(self.peer.channel_change(channel, change, now()).map_err(Error::from), reply);
            }
            Asked::TakeOver { channel, reply } => {
                self.finish(self.peer.channel_take_over(channel, now()).map_err(Error::from), reply);
            }
            Asked::Leave { channel, reply } => {
                self.finish(self.peer.channel_leave(channel, now()).map_err(Error::from), reply);
            }
            Asked::Forget { channel, reply } => self.forget_channel(channel, reply),
            Asked::History { channel, to, numbers: [came, said], reply } => {
                self.hand_over_history(channel, to, [&came, &said], reply);
            }
            Asked::Send { channel, letter, reply } => self.send_to_channel(channel, &letter, reply),
            Asked::Tally { letter, reply } => tell(reply, self.tally(letter)),
            Asked::Cancel { channel, letter, reply } => self.cancel_in_channel(channel, letter, reply),
            Asked::Tallied { reply } => tell(reply, Ok(self.tallies.bell())),
            Asked::List { reply } => tell(reply, Ok(self.channel_infos())),
            Asked::Invitations { reply } => tell(reply, Ok(self.channel_invitations())),
            Asked::Watch { reply } => {
                let (sender, news) = mpsc::unbounded_channel();
                self.channel_news.push(sender);
                tell(reply, Ok(news));
            }
        }
    }

    fn invite(&mut self, channel: ChannelId, agent: AgentId) -> Result<Step, Error> {
        if agent != self.peer.id() && self.peer.contact(&agent).is_none() {
            return Err(PeerError::UnknownAgent(agent).into());
        }
        Ok(self.peer.channel_invite(channel, agent, now(), &mut self.entropy)?)
    }

    fn finish(&mut self, step: Result<Step, Error>, reply: Reply<()>) {
        match step {
            Ok(step) => self.commit_with(step, vec![answer(reply, ())]),
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// What this agent said there is forgotten with the channel.
    fn forget_channel(&mut self, channel: ChannelId, reply: Reply<()>) {
        let step = self.peer.channel_forget(channel, now()).map_err(Error::from);
        let forgotten = step.and_then(|step| Ok((step, said::of_channel(&self.store, &channel)?)));
        match forgotten {
            Ok((step, keys)) => {
                self.said.forget(&keys);
                let rows = keys.into_iter().map(|key| nuncio_store::Op::Delete { key }).collect();
                self.commit_rows(step, rows, vec![answer(reply, ())]);
            }
            Err(error) => tell(reply, Err(error)),
        }
    }

    fn send_to_channel(&mut self, channel: ChannelId, letter: &Letter, reply: Reply<LetterId>) {
        let step = match self.peer.channel_send(channel, letter, now(), &mut self.entropy) {
            Ok(step) => step,
            Err(error) => return tell(reply, Err(error.into())),
        };
        let Some(record) = self.peer.channel(&channel) else {
            return tell(reply, Err(ChannelError::NotMember.into()));
        };
        let (me, id) = (self.peer.id(), letter.id);
        let is_for = |agent: &AgentId| *agent != me && self.peer.contact(agent).is_some_and(|info| !info.retired);
        let members: Vec<AgentId> = record.roster().members().map(|(agent, _)| *agent).filter(is_for).collect();
        let mut rows = vec![self.tallies.sent(&channel, id, &members)];
        rows.extend(self.said.keep(&channel, letter));
        self.commit_rows(step, rows, vec![answer(reply, id), self.tallies.ring()]);
    }

    fn cancel_in_channel(&mut self, channel: ChannelId, letter: LetterId, reply: Reply<usize>) {
        let is_of = match self.tally(letter) {
            Ok(tally) => tally.is_some_and(|tally| tally.channel == channel),
            Err(error) => return tell(reply, Err(error)),
        };
        let left = if is_of { self.peer.channel_left(&channel, &letter) } else { Vec::new() };
        let mut cancelled = 0;
        for to in left {
            if let Some(step) = self.peer.cancel(to, letter) {
                self.commit(step);
                cancelled += 1;
            }
        }
        self.when_durable(answer(reply, cancelled));
    }

    fn name_of(&self, agent: &AgentId) -> Option<String> {
        self.peer.contact(agent).and_then(|info| info.name.clone())
    }

    fn channel_infos(&self) -> Vec<ChannelInfo> {
        let me = self.peer.id();
        let info = |record: &nuncio_proto::channel::Record| {
            let roster = record.roster();
            let member =
                |agent: &AgentId| ChannelMember { agent: *agent, name: self.name_of(agent), role: role(roster, agent) };
            ChannelInfo {
                id: record.channel(),
                name: roster.name().to_owned(),
                owner: roster.owner(),
                role: if roster.has(&me) && self.peer.channel_left_by_word(&record.channel()) {
                    Role::Leaving
                } else {
                    role(roster, &me)
                },
                members: roster.members().map(|(agent, _)| member(agent)).collect(),
                number: roster.number(),
                audits: roster.audits(),
                heir: self.peer.channel_heir(&record.channel()),
            }
        };
        self.peer.channels().map(info).collect()
    }

    fn channel_invitations(&self) -> Vec<ChannelInvitation> {
        let now = now();
        let fresh = self.peer.channel_invitations().filter(|(_, invited)| invited.expires >= now);
        let told = fresh.map(|(channel, invited)| ChannelInvitation {
            channel,
            name: invited.name.clone(),
            by: invited.by,
            by_name: self.name_of(&invited.by),
            expires: invited.expires,
            joining: invited.joining,
        });
        told.collect()
    }

    pub(crate) fn tell_of_channel(&mut self, channel: ChannelId, news: News) {
        let happened = match news {
            News::Invited { by } => {
                tracing::info!(%channel, peer = %by, "invited into a channel");
                Happened::Invited { by }
            }
            News::Offered { by } => {
                tracing::info!(%channel, peer = %by, "asked to be a channel's owner");
                Happened::Offered { by }
            }
            News::Changed { number } => {
                tracing::info!(%channel, number, "a channel has changed");
                Happened::Changed { number }
            }
            News::Forked(_) => {
                tracing::warn!(%channel, "a channel's owner has signed two records: trust it no more, and ask by another way");
                Happened::Forked
            }
            News::Equivocated(found) => {
                let sender = found.sender;
                tracing::warn!(%channel, peer = %sender, "members were told different things by one, or one of them says so falsely");
                Happened::Equivocated { sender }
            }
            other => return tracing::debug!(?other, "news of a later version"),
        };
        let news = ChannelNews { channel, happened };
        self.channel_news.retain(|watch| watch.send(news.clone()).is_ok());
    }
}

impl Role {
    /// Whether an agent of this role is in.
    #[must_use]
    pub const fn is_in(self) -> bool {
        !matches!(self, Self::Leaving | Self::Gone)
    }
}

fn role(roster: &Roster, agent: &AgentId) -> Role {
    match agent {
        agent if !roster.has(agent) => Role::Gone,
        agent if roster.owner() == *agent => Role::Owner,
        agent if roster.is_admin(agent) => Role::Admin,
        _ => Role::Member,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_channels_have_names_neither() {
        let (one, other) = (ChannelId::from_bytes([1; 32]), ChannelId::from_bytes([2; 32]));
        let channels = || vec![(one, "crew".to_owned()), (other, "crew".to_owned()), (other, "alone".to_owned())];
        assert_eq!(named("alone", channels()).unwrap(), other);
        assert_eq!(named(&one.to_string(), channels()).unwrap(), one);
        assert!(matches!(named("crew", channels()), Err(Error::SeveralChannels(_))));
        assert!(matches!(named("crews", channels()), Err(Error::NoSuchChannel(_))));
        // A name that is written like another channel's id does not stand for it.
        let posing = vec![(other, one.to_string()), (one, "crew".to_owned())];
        assert_eq!(named(&one.to_string(), posing).unwrap(), one);
    }
}
