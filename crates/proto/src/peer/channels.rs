//! Channels of an agent: their records, kept and told; its own changes (contracts/channel.md section 10).
//!
//! ```text
//!   create · change · invite · join · leave ─► an entry by the owner, or a word to the owner
//!   an entry, whoever brings it ─► Record::check ─► apply_entry: kept, members known, told on, letters looked at again
//! ```

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{code, limit, time};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::{Change, Out, Peer};
use crate::channel::{
    self, Equivocation, Fork, Invite, Join, Next, Proposal, Reach, Record, RecordError, Roster, Says, Word,
};
use crate::codec;
use crate::ids::{AgentId, ChannelId};
use crate::letter::Letter;
use crate::rows;
use crate::step::{Effect, Op, Step};
use crate::time::UnixMillis;

mod aside;
mod group;
mod heir;
mod history;
mod letters;
mod mistakes;
mod parting;
mod succession;
mod words;

use aside::Aside;
pub use group::{ChannelGap, SharedMail};
use group::{Group, GroupChange};
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

/// An invitation that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// Who invites.
    pub by: AgentId,
    /// What the channel was called then.
    pub name: String,
    /// Until when it may be answered.
    pub expires: UnixMillis,
    /// It was answered.
    pub joining: bool,
    bytes: Vec<u8>,
    /// Whose invitations were answered: any of them may bring the record.
    answered: BTreeSet<AgentId>,
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

#[derive(Serialize, Deserialize)]
struct EntryRow(u8, u64, ByteBuf);
#[derive(Serialize, Deserialize)]
struct InvitedRow(u8, ByteArray<32>, String, u64, bool, ByteBuf, Vec<ByteArray<32>>);

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

    /// Invitations into channels of which this agent is no member yet.
    pub fn channel_invitations(&self) -> impl Iterator<Item = (ChannelId, &Invited)> {
        self.channels.invited.iter().map(|(channel, invited)| (*channel, invited))
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

    /// Asks an agent that is known to join: the owner, or an admin.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn channel_invite<R: CryptoRng + ?Sized>(
        &self,
        channel: ChannelId,
        agent: AgentId,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Step, ChannelError> {
        let record = self.member_of(&channel)?;
        let roster = record.roster();
        if roster.owner() != self.id() && !roster.is_admin(&self.id()) {
            return Err(ChannelError::NotAllowed);
        }
        let change = channel::Change::Add(vec![agent]);
        Mistake::check(roster, &change)?;
        if self.contact(&agent).is_none() {
            return Err(ChannelError::Unknown);
        }
        // What the record would refuse later is refused now.
        let _after = record.draft(&record.epoch(), change, now)?;
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let expires = now.plus(time::LETTER_LIFE_MAX);
        let invite = Invite { channel, epoch: record.epoch(), by: self.id(), agent, expires, id };
        let says = Says::Invited { invite: invite.sign(self.identity.signing()), name: roster.name().to_owned() };
        Ok(self.step(Change::Channel(ChannelChange::Say { to: agent, word: Word { channel, says }, now })))
    }

    /// Answers an invitation. Others reach this agent as it says.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn channel_join(&self, channel: ChannelId, reach: Reach, now: UnixMillis) -> Result<Step, ChannelError> {
        let invited = self.channels.invited.get(&channel).ok_or(ChannelError::NotInvited)?;
        if now > invited.expires {
            return Err(ChannelError::NotInvited);
        }
        if self.channels.all.len() >= limit::CHANNELS_MAX && !self.channels.all.contains_key(&channel) {
            return Err(ChannelError::TooMany);
        }
        Ok(self.step(Change::Channel(ChannelChange::Joining { channel, reach, now })))
    }

    /// Forgets an invitation; `None` where there is none. Nobody is told.
    #[must_use]
    pub fn channel_decline(&self, channel: ChannelId) -> Option<Step> {
        let is_there = self.channels.invited.contains_key(&channel);
        is_there.then(|| self.step(Change::Channel(ChannelChange::Declined(channel))))
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

    fn apply_joining(&mut self, channel: ChannelId, reach: Reach, now: UnixMillis, out: &mut Out) {
        let Some(invited) = self.channels.invited.get_mut(&channel) else { return };
        invited.joining = true;
        invited.answered.insert(invited.by);
        out.ops.push(Op::Put { key: rows::channel_invited(&channel), value: invited.to_row() });
        self.come_back(channel, out);
        let Some(invited) = self.channels.invited.get(&channel) else { return };
        let (by, invite) = (invited.by, invited.bytes.clone());
        let join = Join { channel, agent: self.id(), invite: Invite::hash(&invite) };
        let join = join.sign(self.identity.signing());
        self.say(by, Word { channel, says: Says::Joined { join, invite, reach } }, now, out);
    }

    pub(super) fn forget_invitation(&mut self, channel: &ChannelId, out: &mut Out) {
        if self.channels.invited.remove(channel).is_some() {
            out.ops.push(Op::Delete { key: rows::channel_invited(channel) });
            let early = self.channels.early.remove(channel);
            drop(early.map(|mut aside| aside.take(channel, |_, _| true, out)));
        }
    }

    /// Moves a record by an entry that was judged; `false` where it has moved meanwhile.
    pub(super) fn apply_entry(
        &mut self,
        id: ChannelId,
        bytes: &[u8],
        next: Next,
        now: UnixMillis,
        out: &mut Out,
    ) -> bool {
        let me = self.id();
        let Some(channel) = self.channels.all.get_mut(&id) else { return false };
        let before = channel.record.roster().clone();
        let Ok(dropped) = channel.record.apply(next) else { return false };
        let after = channel.record.roster().clone();
        // A succession takes the place of entries.
        for number in 1..dropped.len() {
            let number = after.number().saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
            out.ops.push(Op::Delete { key: rows::channel_entry(&id, number) });
        }
        let taken = channel.record.taken(after.number()).unwrap_or(now);
        put_entry(&id, after.number(), taken, bytes, out);
        channel.told.retain(|agent, number| after.has(agent) && *number < after.number());
        channel.asked.clear();
        channel.giving.retain(|agent, _| after.has(agent));
        let asks = |by: &AgentId, entry: &channel::Entry| {
            *by != after.owner() && channel.record.number_of(&entry.prev).is_some()
        };
        channel.asking.retain(|by, entry| asks(by, entry));
        self.channels.again.insert(id);
        out.effects.push(Effect::Channel { channel: id, news: ChannelNews::Changed { number: after.number() } });
        self.tell_difference(id, &before, &after, now, out);
        // contracts/channel.md C53: nothing more goes to who was taken out, and nothing at all where this agent was.
        let gone = before.members().map(|(agent, _)| *agent).filter(|agent| !after.has(agent) || !after.has(&me));
        let gone = gone.collect::<Vec<_>>();
        for agent in &gone {
            self.take_back_letters(&id, agent, out);
            self.give_up_frames(id, agent, code::NOT_MEMBER, out);
            // A newcomer is told the record in the session in which it was invited; others hear it from members.
            let session = || self.sessions.get(&self.contacts.get(agent)?.current?);
            let hears = || session().is_some_and(|session| session.confirmed);
            let keeps_entries = after.owner() == me || after.has(agent) && hears();
            self.take_back_words(&id, agent, |says| keeps_entries && matches!(says, Says::Entries { .. }), out);
        }
        self.give_up_old(id, out);
        self.follow_record(id, now, out);
        self.forget_letters(id, out);
        self.follow_heir(id, before.owner(), out);
        self.part_from(gone, out);
        if self.channel_left_by_word(&id) {
            self.stay_away(id, before.owner(), now, out);
        } else if after.has(&me) {
            self.forget_invitation(&id, out);
            after.members().filter(|(agent, _)| **agent != me).for_each(|(agent, _)| self.meet(*agent, None, out));
        }
        true
    }

    /// Every change is an event, about each agent that it is about.
    fn tell_difference(&mut self, id: ChannelId, before: &Roster, after: &Roster, now: UnixMillis, out: &mut Out) {
        let differs = |agent: &AgentId| before.member(agent) != after.member(agent);
        let agents = before.members().chain(after.members()).map(|(agent, _)| *agent).filter(differs);
        let mut agents: BTreeSet<AgentId> = agents.collect();
        if agents.is_empty() {
            agents.insert(after.owner());
        }
        agents.into_iter().for_each(|agent| self.tell_channel_changed(id, agent, now, out));
    }

    /// An agent with which a channel is shared is known from now on, and where it is, if that was not known.
    fn meet(&mut self, agent: AgentId, reach: Option<&Reach>, out: &mut Out) {
        let contact = self.contacts.entry(agent).or_default();
        let is_met = contact.info == super::ContactInfo::default();
        contact.info.met |= is_met;
        let endpoints = reach.filter(|_| contact.info.endpoints.is_empty()).map(|reach| reach.endpoints.clone());
        let is_new = endpoints.is_some_and(|endpoints| {
            let is_new = !endpoints.is_empty();
            contact.info.endpoints = endpoints;
            is_new
        });
        if is_new {
            out.effects.push(Effect::Whereabouts { of: agent });
        }
        if is_new || is_met || contact.timer.is_none() && contact.current.is_none() {
            out.ops.push(Op::Put { key: rows::contact(&agent), value: contact.info.to_row() });
        }
        out.contacts.insert(agent);
        if let Some(at) = reach.and_then(|reach| reach.mailbox.clone()) {
            self.learn_mailbox(agent, at, out);
        }
    }

    /// Where an agent is, as far as it is known here.
    fn reach_of(&self, agent: &AgentId) -> Reach {
        let endpoints = self.contact(agent).map(|info| info.endpoints.clone()).unwrap_or_default();
        Reach { endpoints, mailbox: self.mailbox_of(agent).map(|(at, _)| at.clone()) }
    }

    pub(super) fn load_channel_entry(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, number) = rows::split_of_channel::<4>(key)?;
        let EntryRow(version, taken, bytes) = codec::decode(value, limit::CHANNEL_ENTRY_LEN_MAX + 64).ok()?;
        let (number, taken) = (u32::from_be_bytes(number), UnixMillis(taken));
        if version != ROW_VERSION {
            return None;
        }
        if number == 0 {
            let record = Record::begin(&bytes, taken).ok().filter(|record| record.channel() == id)?;
            self.channels.all.insert(id, Channel::new(record, self.id()));
            return Some(());
        }
        let record = &mut self.channels.all.get_mut(&id)?.record;
        let channel::Judged::Next(next) = record.check(&bytes, taken).ok()? else { return None };
        record.apply(*next).ok().filter(|_| record.roster().number() == number).map(drop)
    }

    pub(super) fn load_invited(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, []) = rows::split_of_channel::<0>(key)?;
        let InvitedRow(version, by, name, expires, joining, bytes, answered) =
            codec::decode(value, INVITED_LEN_MAX).ok()?;
        let by = AgentId::from_bytes(by.into_array()).ok().filter(|_| version == ROW_VERSION)?;
        let answered = answered.into_iter().map(|agent| AgentId::from_bytes(agent.into_array()).ok());
        let (answered, bytes) = (answered.collect::<Option<_>>()?, bytes.into_vec());
        let invited = Invited { by, name, expires: UnixMillis(expires), joining, bytes, answered };
        self.channels.invited.insert(id, invited);
        Some(())
    }
}

/// What a letter's place and row add to its payload is shorter.
const ROW_LEN_MAX: usize = 1_024;
/// An invitation, and whose were answered.
const INVITED_LEN_MAX: usize = 2_048;

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

impl Invited {
    fn to_row(&self) -> Vec<u8> {
        let (by, bytes) = (ByteArray::new(*self.by.as_bytes()), ByteBuf::from(self.bytes.as_slice()));
        let answered = self.answered.iter().map(|agent| ByteArray::new(*agent.as_bytes())).collect();
        let row = InvitedRow(ROW_VERSION, by, self.name.clone(), self.expires.0, self.joining, bytes, answered);
        codec::encode(&row)
    }
}

fn put_entry(channel: &ChannelId, number: u32, taken: UnixMillis, bytes: &[u8], out: &mut Out) {
    let value = codec::encode(&EntryRow(ROW_VERSION, taken.0, ByteBuf::from(bytes)));
    out.ops.push(Op::Put { key: rows::channel_entry(channel, number), value });
}
