//! What a handle asks of channels, and how the actor answers it.

use nuncio_proto::channel::{Change, Reach, RecordError, Roster};
use nuncio_proto::error::PeerError;
use nuncio_proto::ids::{AgentId, ChannelId, LetterId};
use nuncio_proto::letter::Letter;
use nuncio_proto::peer::{ChannelError, ChannelNews as News};
use nuncio_proto::step::Step;
use tokio::sync::{broadcast, watch};

use super::{ChannelInfo, ChannelInvitation, ChannelMember, ChannelNews, Happened, Role};
use crate::actor::Actor;
use crate::command::Reply;
use crate::effects::{answer, tell};
use crate::entropy::now;
use crate::error::Error;
use crate::history::{self, AskedHistory, HandedHistory};
use crate::said;
use crate::tally::Tally;

/// What a handle asks of channels.
#[derive(Debug)]
pub(crate) enum Asked {
    Create { name: String, audits: bool, reply: Reply<ChannelId> },
    Invite { channel: ChannelId, agent: AgentId, reply: Reply<()> },
    Join { channel: ChannelId, reply: Reply<()> },
    Decline { channel: ChannelId, reply: Reply<bool> },
    Change { channel: ChannelId, change: Change, reply: Reply<()> },
    TakeOver { channel: ChannelId, reply: Reply<()> },
    Succeed { channel: ChannelId, behind: Option<u32>, reply: Reply<()> },
    Support { channel: ChannelId, by: AgentId, reply: Reply<()> },
    Leave { channel: ChannelId, reply: Reply<()> },
    Forget { channel: ChannelId, reply: Reply<()> },
    History { asked: AskedHistory, reply: Reply<HandedHistory> },
    Send { channel: ChannelId, letter: Box<Letter>, reply: Reply<LetterId> },
    Tally { letter: LetterId, reply: Reply<Option<Tally>> },
    Tallied { reply: Reply<watch::Receiver<u64>> },
    Cancel { channel: ChannelId, letter: LetterId, reply: Reply<usize> },
    List { reply: Reply<Vec<ChannelInfo>> },
    Invitations { reply: Reply<Vec<ChannelInvitation>> },
    Watch { reply: Reply<broadcast::Receiver<ChannelNews>> },
}

impl Asked {
    /// The channel whose members are to hear of it.
    const fn about(&self) -> Option<ChannelId> {
        match self {
            Self::Invite { channel, .. }
            | Self::Join { channel, .. }
            | Self::Change { channel, .. }
            | Self::TakeOver { channel, .. }
            | Self::Succeed { channel, .. }
            | Self::Support { channel, .. }
            | Self::Leave { channel, .. }
            | Self::History { asked: AskedHistory { channel, .. }, .. }
            | Self::Send { channel, .. } => Some(*channel),
            _ => None,
        }
    }
}

impl Actor {
    pub(crate) fn channel_command(&mut self, asked: Asked) {
        if !self.has_randomness() {
            return;
        }
        asked.about().iter().for_each(|channel| self.hurry_channel(channel));
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
            Asked::Succeed { channel, behind, reply } => {
                let step = self.succeed(channel, behind);
                self.finish(step, reply);
            }
            Asked::Support { channel, by, reply } => {
                self.finish(self.peer.channel_support(channel, by, now()).map_err(Error::from), reply);
            }
            Asked::Leave { channel, reply } => {
                self.finish(self.peer.channel_leave(channel, now()).map_err(Error::from), reply);
            }
            Asked::Forget { channel, reply } => self.forget_channel(channel, reply),
            Asked::History { asked, reply } => self.hand_over_history(&asked, reply),
            Asked::Send { channel, letter, reply } => self.send_to_channel(channel, &letter, reply),
            Asked::Tally { letter, reply } => tell(reply, self.tally(letter)),
            Asked::Cancel { channel, letter, reply } => self.cancel_in_channel(channel, letter, reply),
            Asked::Tallied { reply } => tell(reply, Ok(self.tallies.bell())),
            Asked::List { reply } => tell(reply, Ok(self.channel_infos())),
            Asked::Invitations { reply } => tell(reply, Ok(self.channel_invitations())),
            Asked::Watch { reply } => tell(reply, Ok(self.channel_news.subscribe())),
        }
    }

    fn invite(&mut self, channel: ChannelId, agent: AgentId) -> Result<Step, Error> {
        if agent != self.peer.id() && self.peer.contact(&agent).is_none() {
            return Err(PeerError::UnknownAgent(agent).into());
        }
        self.hurry(agent);
        Ok(self.peer.channel_invite(channel, agent, now(), &mut self.entropy)?)
    }

    fn succeed(&self, channel: ChannelId, behind: Option<u32>) -> Result<Step, Error> {
        let epoch = behind.map(|number| {
            let record = self.peer.channel(&channel).ok_or(ChannelError::NotMember)?;
            record.epoch_of(number).ok_or(ChannelError::Record(RecordError::UnknownEpoch))
        });
        Ok(self.peer.channel_succeed(channel, epoch.transpose()?, now())?)
    }

    fn finish(&mut self, step: Result<Step, Error>, reply: Reply<()>) {
        match step {
            Ok(step) => self.commit_with(step, vec![answer(reply, ())]),
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// What this agent said there, and what it handed over, is forgotten with the channel.
    fn forget_channel(&mut self, channel: ChannelId, reply: Reply<()>) {
        let step = self.peer.channel_forget(channel, now()).map_err(Error::from);
        let forgotten = step.and_then(|step| {
            let said = said::of_channel(&self.store, &channel)?;
            Ok((step, [said, history::of_channel(&self.store, &channel)?].concat()))
        });
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
                asking: self.peer.channel_asking(&record.channel()).collect(),
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
            News::SupportWanted { by, .. } => {
                tracing::info!(%channel, peer = %by, "an admin would be a channel's owner and asks for support");
                Happened::SupportWanted { by }
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
        // Nobody may be listening.
        let _ = self.channel_news.send(news);
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
