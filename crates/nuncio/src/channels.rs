//! Groups of agents that share letters, as an application has them (contracts/channel.md).
//!
//! ```text
//!   create_channel ─► invite_to_channel ─► the other's channel_invitations, join_channel ─► it is a member
//!   send_to_channel ─► each member's inbox, Incoming::channel ─► tally: who has it
//! ```

mod asked;

use nuncio_proto::channel::Change;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::time::UnixMillis;
use tokio::sync::{broadcast, watch};

pub(crate) use asked::Asked;

use crate::agent::Agent;
use crate::command::Command;
use crate::error::Error;
use crate::message::Message;
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
    /// Admins that would be owner and ask this agent, an admin too, for its support ([`Agent::support_in_channel`]).
    pub asking: Vec<AgentId>,
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
    /// An admin would be the owner and asks this one for its support: [`Agent::support_in_channel`], or nothing.
    SupportWanted {
        /// The admin.
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
    /// Nobody has read for so long that what was new of this channel or of others was passed over, but for the newest: [`Agent::channels`] and
    /// [`Agent::channel_invitations`] say how all is now.
    Missed,
}

/// What is new of channels, as it happens; of what nobody reads the newest stays.
#[derive(Debug)]
pub struct ChannelWatch {
    news: broadcast::Receiver<ChannelNews>,
    /// Some were passed over in front of what comes next.
    has_missed: bool,
    /// What stands behind the mark that some were.
    behind: Option<ChannelNews>,
}

/// News that wait for one that does not read them.
pub(crate) const NEWS_MAX: usize = 256;

impl ChannelWatch {
    /// The next; waits for it. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the agent has stopped.
    pub async fn next(&mut self) -> Result<ChannelNews, Error> {
        if let Some(news) = self.behind.take() {
            return Ok(news);
        }
        loop {
            match self.news.recv().await {
                Ok(news) if core::mem::take(&mut self.has_missed) => {
                    let missed = ChannelNews { channel: news.channel, happened: Happened::Missed };
                    self.behind = Some(news);
                    return Ok(missed);
                }
                Ok(news) => return Ok(news),
                Err(broadcast::error::RecvError::Lagged(_)) => self.has_missed = true,
                Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopped),
            }
        }
    }
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
    /// `ChannelError` in [`Error::Peer`]: not allowed, not a member, a member already, a full channel.
    pub async fn invite_to_channel(&self, channel: ChannelId, agent: AgentId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Invite { channel, agent, reply })).await
    }

    /// Answers an invitation: this agent is a member as soon as the owner has heard of it, and its endpoints and mailbox are told to the other members.
    ///
    /// # Errors
    /// `ChannelError::NotInvited` in [`Error::Peer`].
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
    /// `ChannelError` in [`Error::Peer`].
    pub async fn remove_from_channel(&self, channel: ChannelId, agent: AgentId) -> Result<(), Error> {
        self.change_channel(channel, Change::Remove(vec![agent])).await
    }

    /// Makes a member an admin, or one no more. By the owner, or an admin's proposal.
    ///
    /// # Errors
    /// `ChannelError` in [`Error::Peer`].
    pub async fn set_channel_admin(&self, channel: ChannelId, agent: AgentId, admin: bool) -> Result<(), Error> {
        self.change_channel(channel, Change::Admin { agent, admin }).await
    }

    /// Calls a channel something else, for all. By the owner, or an admin's proposal.
    ///
    /// # Errors
    /// `ChannelError` in [`Error::Peer`].
    pub async fn rename_channel(&self, channel: ChannelId, name: &str) -> Result<(), Error> {
        self.change_channel(channel, Change::Rename(name.to_owned())).await
    }

    /// Asks another member to be the owner; this agent stays a member. By the owner alone, and done once the other consents.
    ///
    /// # Errors
    /// `ChannelError` in [`Error::Peer`].
    pub async fn hand_over_channel(&self, channel: ChannelId, to: AgentId) -> Result<(), Error> {
        self.change_channel(channel, Change::HandOver(to)).await
    }

    async fn change_channel(&self, channel: ChannelId, change: Change) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Change { channel, change, reply })).await
    }

    /// Consents to be the owner, as the owner has asked ([`Happened::Offered`]).
    ///
    /// # Errors
    /// `ChannelError::NotOffered` in [`Error::Peer`].
    pub async fn take_over_channel(&self, channel: ChannelId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::TakeOver { channel, reply })).await
    }

    /// Asks the other admins to make this agent, an admin, the owner, where the owner is gone or its key is another's. More than half of the admins make it
    /// so, this one among them: a single admin is enough by itself. The owner before is taken out.
    ///
    /// `behind` is the number of the entry of the record ([`ChannelInfo::number`]) that is the last good one: what a stolen key has appended to it in the
    /// last days is undone, also that it took out the admins. `None` is the newest.
    ///
    /// # Errors
    /// `ChannelError` in [`Error::Peer`].
    pub async fn succeed_in_channel(&self, channel: ChannelId, behind: Option<u32>) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Succeed { channel, behind, reply })).await
    }

    /// Gives an admin the support that it asks for ([`Happened::SupportWanted`]).
    ///
    /// # Errors
    /// `ChannelError::NotAsked` in [`Error::Peer`].
    pub async fn support_in_channel(&self, channel: ChannelId, by: AgentId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Support { channel, by, reply })).await
    }

    /// Leaves a channel, from now on: nothing of it is sealed, or delivered here. The owner is told, and the others by it. The owner hands it over first.
    ///
    /// # Errors
    /// `ChannelError` in [`Error::Peer`].
    pub async fn leave_channel(&self, channel: ChannelId) -> Result<(), Error> {
        self.ask(|reply| Command::Channel(Asked::Leave { channel, reply })).await
    }

    /// Forgets a channel that this agent has left, was taken out of, or is alone in, and who is known by it alone. Its letters stay in the inbox.
    ///
    /// # Errors
    /// `ChannelError` in [`Error::Peer`].
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
        Ok(ChannelWatch { news, has_missed: false, behind: None })
    }

    /// The channel that a text names: its 64 hexadecimal digits, or its name where no other that this agent is in has it.
    ///
    /// # Errors
    /// [`Error::NoSuchChannel`], [`Error::SeveralChannels`]; of one into which this agent is invited [`Error::NotJoined`] or [`Error::Joining`].
    pub async fn resolve_channel(&self, text: &str) -> Result<ChannelId, Error> {
        let channels = self.channels().await?;
        let (mine, gone): (Vec<_>, Vec<_>) = channels.into_iter().partition(|channel| channel.role.is_in());
        let names =
            |channels: Vec<ChannelInfo>| channels.into_iter().map(|channel| (channel.id, channel.name)).collect();
        // One that this agent has left is named only where no other can be meant.
        let found = match named(text, names(mine)) {
            Err(Error::NoSuchChannel(_)) => named(text, names(gone)),
            found => found,
        };
        if !matches!(found, Err(Error::NoSuchChannel(_))) {
            return found;
        }
        let (joining, open): (Vec<_>, Vec<_>) =
            self.channel_invitations().await?.into_iter().partition(|invitation| invitation.joining);
        let is_of = |invitation: &ChannelInvitation| named(text, vec![invitation.named()]).is_ok();
        match (joining.iter().any(is_of), open.iter().any(is_of)) {
            (true, _) => Err(Error::Joining(text.to_owned())),
            (false, true) => Err(Error::NotJoined(text.to_owned())),
            (false, false) => found,
        }
    }

    /// The channel that a text names, of those into which this agent is invited.
    ///
    /// # Errors
    /// [`Error::NoInvitation`], [`Error::InChannel`], [`Error::SeveralChannels`].
    pub async fn resolve_invitation(&self, text: &str) -> Result<ChannelId, Error> {
        let invitations = self.channel_invitations().await?;
        match named(text, invitations.iter().map(ChannelInvitation::named).collect()) {
            Err(Error::NoSuchChannel(_)) => {}
            found => return found,
        }
        let mine = self.channels().await?.into_iter().filter(|channel| channel.role.is_in());
        match named(text, mine.map(|channel| (channel.id, channel.name)).collect()) {
            Err(Error::NoSuchChannel(_)) => Err(Error::NoInvitation(text.to_owned())),
            _ => Err(Error::InChannel(text.to_owned())),
        }
    }
}

impl ChannelInvitation {
    fn named(&self) -> (ChannelId, String) {
        (self.channel, self.name.clone())
    }
}

/// An id is itself; a name is that of one.
fn named(text: &str, channels: Vec<(ChannelId, String)>) -> Result<ChannelId, Error> {
    if let Some((id, _)) = channels.iter().find(|(id, _)| id.to_string() == text) {
        return Ok(*id);
    }
    let called: Vec<ChannelId> = channels.into_iter().filter(|(_, name)| name == text).map(|(id, _)| id).collect();
    match called.as_slice() {
        [id] => Ok(*id),
        [] => Err(Error::NoSuchChannel(text.to_owned())),
        _ => Err(Error::SeveralChannels { name: text.to_owned(), channels: called }),
    }
}

impl Role {
    /// Whether an agent of this role is in.
    #[must_use]
    pub const fn is_in(self) -> bool {
        !matches!(self, Self::Leaving | Self::Gone)
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
        let several = named("crew", channels()).unwrap_err().to_string();
        assert!([one, other].iter().all(|id| several.contains(&id.to_string())), "{several}");
        assert!(matches!(named("crews", channels()), Err(Error::NoSuchChannel(_))));
        // A name that is written like another channel's id does not stand for it.
        let posing = vec![(other, one.to_string()), (one, "crew".to_owned())];
        assert_eq!(named(&one.to_string(), posing).unwrap(), one);
    }

    #[tokio::test]
    async fn of_news_that_nobody_reads_the_newest_stay_behind_one_mark() {
        let sender = broadcast::Sender::new(NEWS_MAX);
        let mut watch = ChannelWatch { news: sender.subscribe(), has_missed: false, behind: None };
        let channel = ChannelId::from_bytes([7; 32]);
        let news = |number| ChannelNews { channel, happened: Happened::Changed { number } };
        let most = u32::try_from(NEWS_MAX).unwrap();
        for number in 0..most + 10 {
            sender.send(news(number)).unwrap();
        }
        assert_eq!(watch.next().await.unwrap().happened, Happened::Missed);
        for number in 10..most + 10 {
            assert_eq!(watch.next().await.unwrap(), news(number));
        }
        sender.send(news(7)).unwrap();
        assert_eq!(watch.next().await.unwrap(), news(7));
        drop(sender);
        assert!(matches!(watch.next().await, Err(Error::Stopped)));
    }
}
