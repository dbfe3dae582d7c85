//! Channels of an agent: their records, kept and told; its own changes (contracts/channel.md section 10).
//!
//! ```text
//!   create · change · invite · join · leave ─► an entry by the owner, or a word to the owner
//!   an entry, whoever brings it ─► Record::check ─► apply_entry: kept, members known, told on, letters looked at again
//! ```

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::limit;
use rand_core::CryptoRng;

use super::{Change, Out, Peer};
use crate::channel::{self, Equivocation, Fork, Next, Proposal, Reach, Record, RecordError, Says, Word};
use crate::ids::{AgentId, ChannelId};
use crate::letter::Letter;
use crate::step::{Effect, Step};
use crate::time::UnixMillis;

mod aside;
mod entries;
mod group;
mod heir;
mod history;
mod invited;
mod letters;
mod mistakes;
mod parting;
mod succession;
mod words;

use aside::Aside;
use entries::put_entry;
pub use group::{ChannelGap, SharedMail};
use group::{Group, GroupChange};
pub use invited::Invited;
pub(super) use letters::Judged;
use letters::{Letters, Taken};
pub use mistakes::Mistake;
use parting::Forgotten;
use succession::Draft;

/// All channels of one agent.
#[derive(Debug, Default)]
pub(super) struct Channels {
    all: BTreeMap<ChannelId, Channel>,
    invited: BTreeMap<ChannelId, Invited>,
    /// Chains that came before the record of a channel that this agent is joining.
    early: BTreeMap<ChannelId, Aside>,
    /// Letters of these are looked at again.
    again: BTreeSet<ChannelId>,
    forgotten: BTreeMap<ChannelId, Forgotten>,
    /// Ids of letters that were sealed once, and taken since the start.
    taken: Taken,
    /// Agents with which no channel is shared any more, and that are known by nothing else: when they are forgotten.
    strangers: BTreeSet<(UnixMillis, AgentId)>,
}

/// One channel, as this agent has it. It is a member where the record's roster says so, and it has not left by its own word.
#[derive(Debug)]
struct Channel {
    record: Record,
    letters: Letters,
    group: Box<Group>,
    /// The newest entry that each agent is known to have.
    told: BTreeMap<AgentId, u32>,
    /// Of whom entries were asked since the record moved last.
    asked: BTreeSet<AgentId>,
    /// The newest letter with entries that answers each agent's question.
    giving: BTreeMap<AgentId, u64>,
    /// The letter that hands an agent's word on to the owner.
    relaying: BTreeMap<AgentId, u64>,
    /// An entry by which this agent would be owner.
    draft: Option<Draft>,
    /// Admins that ask for support, each with its entry.
    asking: BTreeMap<AgentId, channel::Entry>,
    /// Who was asked to be the next owner.
    heir: Option<AgentId>,
    /// This agent has left by its own word: when it said so last.
    left: Option<UnixMillis>,
}

/// What moves of channels.
#[derive(Debug)]
pub(crate) enum ChannelChange {
    Founded(Box<Record>, UnixMillis),
    Entry { channel: ChannelId, bytes: Vec<u8>, next: Box<Next>, now: UnixMillis },
    Say { to: AgentId, word: Word, now: UnixMillis },
    Joining { channel: ChannelId, reach: Reach, now: UnixMillis },
    Declined(ChannelId),
    Offered { channel: ChannelId, heir: AgentId, now: UnixMillis },
    Left { channel: ChannelId, now: UnixMillis },
    SayLeft { channel: ChannelId, now: UnixMillis },
    Forgotten { channel: ChannelId, now: UnixMillis },
    Stranger { agent: AgentId, now: UnixMillis },
    Sent { channel: ChannelId, letter: Box<Letter>, now: UnixMillis },
    LookAgain { channel: ChannelId, now: UnixMillis },
    ExpireKeys(UnixMillis),
    Succeeding { channel: ChannelId, entry: Box<channel::Entry>, now: UnixMillis },
    Group { channel: ChannelId, change: GroupChange, now: UnixMillis },
}

/// What an application is told of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelNews {
    /// An invitation came: [`Peer::channel_join`], or [`Peer::channel_decline`].
    Invited {
        /// Who invites.
        by: AgentId,
    },
    /// An admin would be owner and asks this one for its support: [`Peer::channel_support`], or nothing.
    SupportWanted {
        /// The admin.
        by: AgentId,
        /// The number of the entry behind which it would stand; what stands there now would go.
        number: u32,
    },
    /// The owner asks this agent to be the next: [`Peer::channel_take_over`], or nothing.
    Offered {
        /// The owner.
        by: AgentId,
    },
    /// The record has moved: members, admins, owner or name; or this agent has left.
    Changed {
        /// The number of its newest entry.
        number: u32,
    },
    /// A member, or whoever says so, has told two members two things under one number.
    Equivocated(Box<Equivocation>),
    /// Two entries on one epoch: its owner's key is in two hands, or its owner lies.
    Forked(Box<Fork>),
}

/// Why a channel cannot be had as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Unknown, or left.
    #[error("this agent is no member of such a channel")]
    NotMember,
    /// The agent is no contact: nothing can be said to it.
    #[error("this agent does not know the other")]
    Unknown,
    /// Only the owner, or an admin, does this.
    #[error("only the channel's owner or one of its admins may do this")]
    NotAllowed,
    /// The owner hands the channel over before it leaves.
    #[error("the owner cannot leave: hand the channel over first")]
    OwnerStays,
    /// It is left before it is forgotten.
    #[error("this agent is in the channel: leave it first")]
    StillMember,
    /// That admin has not asked for support, or not since this agent was started.
    #[error("it has not asked this agent for its support, or not since this agent was started: it may ask again")]
    NotAsked,
    /// Nobody has asked this agent to be the owner.
    #[error("nobody has asked this agent to be the channel's owner")]
    NotOffered,
    /// The other agent is no member.
    #[error("the other is no member of the channel")]
    NoFellow,
    /// Nobody has invited, or the invitation is over.
    #[error("there is no invitation into such a channel, or its time is over")]
    NotInvited,
    /// As many channels as an agent keeps.
    #[error("too many channels")]
    TooMany,
    /// It asks for what is so, or cannot be.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// The record refuses it.
    #[error(transparent)]
    Record(#[from] RecordError),
}

const ROW_VERSION: u8 = 1;

impl Peer {
    /// The channels that this agent is or was in, each by its record.
    pub fn channels(&self) -> impl Iterator<Item = &Record> {
        self.channels.all.values().map(|channel| &channel.record)
    }

    /// The record of a channel.
    #[must_use]
    pub fn channel(&self, channel: &ChannelId) -> Option<&Record> {
        self.channels.all.get(channel).map(|channel| &channel.record)
    }

    /// Whether an agent shares a channel with this one: it may begin a session.
    // contracts/channel.md C51, C61.
    #[must_use]
    pub fn is_fellow(&self, agent: &AgentId) -> bool {
        self.channels.all.values().any(|channel| {
            let roster = channel.record.roster();
            let hears = channel.left.is_none() || roster.owner() == *agent;
            hears && roster.has(agent) && roster.has(&self.id())
        })
    }

    /// Whether an agent is known by a channel alone: nobody has added it, and it writes nothing but what is for the channel.
    pub(super) fn is_fellow_alone(&self, agent: &AgentId) -> bool {
        let nobody_added = |info: &crate::contact::ContactInfo| !info.allowed && info.name.is_none();
        let is_met = self.contact(agent).is_some_and(|info| info.met);
        !self.accept_strangers && (is_met || self.contact(agent).is_none_or(nobody_added) && self.is_fellow(agent))
    }

    /// A new channel, of which this agent is the owner and the only member.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn channel_create<R: CryptoRng + ?Sized>(
        &self,
        name: &str,
        audits: bool,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<(ChannelId, Step), ChannelError> {
        if self.channels.all.len() >= limit::CHANNELS_MAX {
            return Err(ChannelError::TooMany);
        }
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let record = Record::create(self.identity.signing(), name, audits, now, random)?;
        let change = ChannelChange::Founded(Box::new(record), now);
        let id = match &change {
            ChannelChange::Founded(record, _) => record.channel(),
            _ => return Err(ChannelError::NotMember),
        };
        Ok((id, self.step(Change::Channel(change))))
    }

    /// Changes a channel: the owner by an entry of the record, an admin by a proposal to the owner. Whom the owner would hand it to is asked first.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn channel_change(
        &self,
        channel: ChannelId,
        change: channel::Change,
        now: UnixMillis,
    ) -> Result<Step, ChannelError> {
        let record = self.member_of(&channel)?;
        let owner = record.roster().owner();
        if let (true, channel::Change::HandOver(heir)) = (owner == self.id(), &change) {
            return self.offer(channel, *heir, now);
        }
        if owner == self.id() {
            Mistake::check(record.roster(), &change)?;
            let (bytes, next) = record.append(change, Vec::new(), now, self.identity.signing())?;
            let next = Box::new(next);
            return Ok(self.step(Change::Channel(ChannelChange::Entry { channel, bytes, next, now })));
        }
        if !record.roster().is_admin(&self.id()) {
            return Err(ChannelError::NotAllowed);
        }
        Mistake::check_proposal(record.roster(), &change)?;
        let proposal = Proposal { channel, epoch: record.epoch(), by: self.id(), change };
        record.check_proposal(&proposal)?;
        let word = Word { channel, says: Says::Proposed(proposal.sign(self.identity.signing())) };
        Ok(self.step(Change::Channel(ChannelChange::Say { to: owner, word, now })))
    }

    /// Deletes keys of channels' letters that would be too old by now, as [`Peer::forget_skipped`] does those of sessions.
    #[must_use]
    pub fn forget_channel_keys(&self, now: UnixMillis) -> Option<Step> {
        let has_keys = self.channels.all.values().any(|channel| {
            let group = &channel.group;
            group.incoming.senders().next().is_some() || !group.aside.is_empty()
        });
        (has_keys || self.has_old_forgotten(now)).then(|| self.step(Change::Channel(ChannelChange::ExpireKeys(now))))
    }

    fn member_of(&self, channel: &ChannelId) -> Result<&Record, ChannelError> {
        let channel = self.channels.all.get(channel).filter(|channel| channel.left.is_none());
        let record = channel.map(|channel| &channel.record).filter(|record| record.roster().has(&self.id()));
        record.ok_or(ChannelError::NotMember)
    }

    /// What channels want to be done by themselves.
    pub(super) fn next_channel(&self, now: UnixMillis) -> Option<Step> {
        if let Some((_, agent)) = self.channels.strangers.first().filter(|(at, _)| *at <= now) {
            return Some(self.step(Change::Channel(ChannelChange::Stranger { agent: *agent, now })));
        }
        let is_left = |channel: &Channel| self.left_due(channel).is_some_and(|at| at <= now);
        if let Some((channel, _)) = self.channels.all.iter().find(|(_, channel)| is_left(channel)) {
            return Some(self.step(Change::Channel(ChannelChange::SayLeft { channel: *channel, now })));
        }
        let due = |channel: &Channel| channel.letters.wakes().is_some_and(|at| at <= now);
        let timed = || self.channels.all.iter().find(|(_, channel)| due(channel)).map(|(id, _)| *id);
        match self.channels.again.first().copied().or_else(timed) {
            Some(channel) => Some(self.step(Change::Channel(ChannelChange::LookAgain { channel, now }))),
            None => self.next_group(now),
        }
    }

    /// When [`Peer::next_channel`] has something to do.
    pub(super) fn channel_due(&self) -> Option<UnixMillis> {
        let dues = |channel: &Channel| {
            [channel.letters.wakes(), channel.group.due(), self.left_due(channel)].into_iter().flatten().min()
        };
        let stranger = self.channels.strangers.first().map(|(at, _)| *at);
        self.channels.all.values().filter_map(dues).chain(stranger).min()
    }

    pub(super) fn apply_channel(&mut self, change: ChannelChange, out: &mut Out) {
        match change {
            ChannelChange::Founded(record, now) => {
                let (id, first) = (record.channel(), record.entries().next().map(<[u8]>::to_vec));
                first.into_iter().for_each(|bytes| put_entry(&id, 0, now, &bytes, out));
                self.channels.all.insert(id, Channel::new(*record, self.id()));
                out.effects.push(Effect::Channel { channel: id, news: ChannelNews::Changed { number: 0 } });
                self.tell_channel_changed(id, self.id(), now, out);
            }
            ChannelChange::Entry { channel, bytes, next, now } => {
                self.apply_own_entry(channel, &bytes, *next, now, out)
            }
            ChannelChange::Say { to, word, now } => self.say(to, word, now, out),
            ChannelChange::Joining { channel, reach, now } => self.apply_joining(channel, reach, now, out),
            ChannelChange::Declined(channel) => self.forget_invitation(&channel, out),
            ChannelChange::Offered { channel, heir, now } => self.apply_offered(channel, heir, now, out),
            ChannelChange::Left { channel, now } => self.apply_left(channel, now, out),
            ChannelChange::SayLeft { channel, now } => self.say_left_again(channel, now, out),
            ChannelChange::Forgotten { channel, now } => self.apply_forgotten(channel, now, out),
            ChannelChange::Stranger { agent, now } => self.apply_stranger(agent, now, out),
            ChannelChange::Sent { channel, letter, now } => self.apply_channel_sent(channel, *letter, now, out),
            ChannelChange::ExpireKeys(now) => self.expire_keys(now, out),
            ChannelChange::Succeeding { channel, entry, now } => self.apply_succeeding(channel, *entry, now, out),
            ChannelChange::Group { channel, change, now } => self.apply_group(channel, change, now, out),
            ChannelChange::LookAgain { channel, now } => self.look_again(channel, now, out),
        }
    }

    /// Where an agent is, as far as it is known here.
    fn reach_of(&self, agent: &AgentId) -> Reach {
        let endpoints = self.contact(agent).map(|info| info.endpoints.clone()).unwrap_or_default();
        Reach { endpoints, mailbox: self.mailbox_of(agent).map(|(at, _)| at.clone()) }
    }
}

/// What a letter's place and row add to its payload is shorter.
const ROW_LEN_MAX: usize = 1_024;
impl Channel {
    fn new(record: Record, me: AgentId) -> Self {
        let group = Box::new(Group::new(&record, me));
        Self {
            record,
            letters: Letters::default(),
            group,
            told: BTreeMap::new(),
            asked: BTreeSet::new(),
            giving: BTreeMap::new(),
            relaying: BTreeMap::new(),
            draft: None,
            asking: BTreeMap::new(),
            heir: None,
            left: None,
        }
    }
}
