//! Parting from a channel: left by this agent's own word, forgotten, and agents that were known by it alone (contracts/channel.md section 12).
//!
//! ```text
//!   channel_leave ─► nothing more is sealed, heard or asked ─► left, to the owner, until the record says it
//!   channel_forget ─► its rows go; the invitations that were answered are remembered for a while
//!   known by channels alone, and none is shared any more ─► forgotten, once nothing is owed to it
//! ```

use std::collections::BTreeSet;

use nuncio_contracts::registry::{code, limit, time};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::super::{Change, ContactInfo, Out, Peer};
use super::{Channel, ChannelChange, ChannelError, ChannelNews, Mistake, ROW_VERSION};
use crate::channel::{self, ChannelPlace, Entry, Invite, Leave, Record, Says, Word};
use crate::codec;
use crate::control::Control;
use crate::ids::{AgentId, ChannelId, SessionId};
use crate::letter::Letter;
use crate::rows;
use crate::session::Session;
use crate::step::{Effect, Op, Step};
use crate::time::UnixMillis;

/// What is left of a channel that was forgotten.
#[derive(Debug)]
pub(super) struct Forgotten {
    until: UnixMillis,
    /// Hashes of the invitations that were answered.
    invites: BTreeSet<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct ForgottenRow(u8, u64, Vec<ByteArray<32>>);

/// Invitations of one channel that are remembered.
const INVITES_MAX: usize = 64;
/// As many hashes.
const ROW_LEN_MAX: usize = 64 + 40 * INVITES_MAX;

impl Peer {
    /// Leaves a channel, from now on and by this agent's own word: the owner is told, and says so in the record.
    ///
    /// # Errors
    /// [`ChannelError`].
    // contracts/channel.md C61.
    pub fn channel_leave(&self, channel: ChannelId, now: UnixMillis) -> Result<Step, ChannelError> {
        let record = self.member_of(&channel)?;
        if record.roster().owner() == self.id() {
            let is_alone = record.roster().members().len() == 1;
            return Err(if is_alone { Mistake::Alone.into() } else { ChannelError::OwnerStays });
        }
        Ok(self.step(Change::Channel(ChannelChange::Left { channel, now })))
    }

    /// Whether this agent has left a channel by its own word, whatever the record says.
    #[must_use]
    pub fn channel_left_by_word(&self, channel: &ChannelId) -> bool {
        self.channels.all.get(channel).is_some_and(|channel| channel.left.is_some())
    }

    /// Forgets a channel that this agent has left, was taken out of, or is alone in, with all that is kept of it.
    ///
    /// # Errors
    /// [`ChannelError`].
    // contracts/channel.md C63.
    pub fn channel_forget(&self, channel: ChannelId, now: UnixMillis) -> Result<Step, ChannelError> {
        let found = self.channels.all.get(&channel).ok_or(ChannelError::NotMember)?;
        let (me, roster) = (self.id(), found.record.roster());
        if found.left.is_none() && roster.has(&me) && roster.members().len() > 1 {
            return Err(if roster.owner() == me { ChannelError::OwnerStays } else { ChannelError::StillMember });
        }
        Ok(self.step(Change::Channel(ChannelChange::Forgotten { channel, now })))
    }

    pub(super) fn apply_left(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        (channel.left, channel.heir) = (Some(now), None);
        let number = channel.record.roster().number();
        self.fall_silent(id, out);
        self.say_left(id, None, now, out);
        out.effects.push(Effect::Channel { channel: id, news: ChannelNews::Changed { number } });
    }

    /// What is under way between this agent and the members ends, but its farewell.
    fn fall_silent(&mut self, id: ChannelId, out: &mut Out) {
        let me = self.id();
        let Some(channel) = self.channels.all.get(&id) else { return };
        let members: Vec<AgentId> =
            channel.record.roster().members().map(|(agent, _)| *agent).filter(|agent| *agent != me).collect();
        for agent in &members {
            self.take_back_letters(&id, agent, out);
            self.give_up_frames(id, agent, code::NOT_MEMBER, out);
            self.take_back_words(&id, agent, |says| matches!(says, Says::Left(_)), out);
        }
        self.forget_chains(id, out);
        self.forget_all_letters(id, out);
        if let Some(Channel { draft, asking, asked, giving, .. }) = self.channels.all.get_mut(&id) {
            *draft = None;
            asking.clear();
            asked.clear();
            giving.clear();
        }
        self.channels.again.remove(&id);
        self.part_from(members, out);
    }

    /// Says to the owner, or to whom else, that this agent has left.
    // contracts/channel.md C62.
    pub(super) fn say_left(&mut self, id: ChannelId, to: Option<AgentId>, now: UnixMillis, out: &mut Out) {
        let me = self.id();
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let roster = channel.record.roster();
        let (owner, epoch) = (roster.owner(), channel.record.epoch());
        if channel.left.is_none() || !roster.has(&me) || owner == me {
            return;
        }
        channel.left = Some(now);
        self.keep_own(id, out);
        let leave = Leave { channel: id, epoch, agent: me };
        let says = Says::Left(leave.sign(self.identity.signing()));
        self.say(to.unwrap_or(owner), Word { channel: id, says }, now, out);
    }

    /// The record of a channel that this agent has left has moved: another owner is told. One that was handed the channel by a consent of before stays
    /// away all the same.
    pub(super) fn stay_away(&mut self, id: ChannelId, before: AgentId, now: UnixMillis, out: &mut Out) {
        if self.channel(&id).is_some_and(|record| record.roster().owner() != before) {
            self.say_left(id, None, now, out);
        }
    }

    /// This agent would be in the channel again.
    pub(super) fn come_back(&mut self, id: ChannelId, out: &mut Out) {
        if let Some(channel) = self.channels.all.get_mut(&id).filter(|channel| channel.left.is_some()) {
            channel.left = None;
            self.keep_own(id, out);
        }
    }

    /// The owner keeps this agent in: whoever was told may not have been the owner yet, and whom it handed that on to not any more.
    pub(super) fn say_left_again(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let is_left = |letter: &[u8]| {
            let control = Letter::decode(letter).ok().and_then(|letter| Control::decode(&letter.payload));
            matches!(control, Some(Control::Channel(word)) if word.channel == id && matches!(word.says, Says::Left(_)))
        };
        let is_under_way = self.outbox.values().any(|entry| entry.control && is_left(&entry.letter));
        match self.channels.all.get_mut(&id).filter(|_| is_under_way) {
            Some(channel) => channel.left = Some(now),
            None => self.say_left(id, None, now, out),
        }
    }

    /// When the owner is told once more of a channel that this agent has left.
    // contracts/channel.md C62.
    pub(super) fn left_due(&self, channel: &Channel) -> Option<UnixMillis> {
        let roster = channel.record.roster();
        let is_kept_in = roster.has(&self.id()) && roster.owner() != self.id();
        channel.left.filter(|_| is_kept_in).map(|said| said.plus(time::LEFT_AGAIN))
    }

    pub(super) fn apply_forgotten(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        self.fall_silent(id, out);
        let invited = self.channels.invited.get(&id).filter(|invited| !invited.answered.is_empty());
        let last = invited.map(|invited| Invite::hash(&invited.bytes));
        self.forget_invitation(&id, out);
        let Some(channel) = self.channels.all.remove(&id) else { return };
        let invites = answered(&channel.record, &self.id()).chain(last).take(INVITES_MAX).collect();
        let entries = 0..=channel.record.roster().number();
        out.ops.extend(entries.map(|number| Op::Delete { key: rows::channel_entry(&id, number) }));
        out.ops.push(Op::Delete { key: rows::channel_own(&id) });
        let until = now.plus(time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW);
        self.remember_forgotten(id, Forgotten { until, invites }, out);
        self.part_from(channel.record.roster().members().map(|(agent, _)| *agent).collect(), out);
    }

    fn remember_forgotten(&mut self, id: ChannelId, forgotten: Forgotten, out: &mut Out) {
        while self.channels.forgotten.len() >= limit::CHANNELS_MAX {
            let earliest = self.channels.forgotten.iter().min_by_key(|(_, one)| one.until).map(|(id, _)| *id);
            earliest.into_iter().for_each(|id| self.forget_forgotten(&id, out));
        }
        out.ops.push(Op::Put { key: rows::channel_forgotten(&id), value: forgotten.to_row() });
        self.channels.forgotten.insert(id, forgotten);
    }

    fn forget_forgotten(&mut self, id: &ChannelId, out: &mut Out) {
        self.channels.forgotten.remove(id);
        out.ops.push(Op::Delete { key: rows::channel_forgotten(id) });
    }

    /// Whether an invitation was answered before, into a channel that this agent has forgotten since.
    // contracts/channel.md C63.
    pub(super) fn was_answered(&self, id: &ChannelId, invite: &[u8]) -> bool {
        self.channels.forgotten.get(id).is_some_and(|one| one.invites.contains(&Invite::hash(invite)))
    }

    /// Whether something of channels that were forgotten is remembered for long enough.
    pub(super) fn has_old_forgotten(&self, now: UnixMillis) -> bool {
        self.channels.forgotten.values().any(|one| one.until < now)
    }

    pub(super) fn expire_forgotten(&mut self, now: UnixMillis, out: &mut Out) {
        let old = self.channels.forgotten.iter().filter(|(_, one)| one.until < now).map(|(id, _)| *id);
        old.collect::<Vec<_>>().iter().for_each(|id| self.forget_forgotten(id, out));
    }

    /// Some may be known by nothing any more.
    pub(super) fn part_from(&mut self, agents: Vec<AgentId>, out: &mut Out) {
        let me = self.id();
        for agent in agents.into_iter().filter(|agent| *agent != me) {
            self.may_go(&agent);
            out.contacts.insert(agent);
        }
    }

    /// Lists an agent that is to be forgotten, if it is.
    // contracts/channel.md C64.
    pub(in super::super) fn may_go(&mut self, agent: &AgentId) {
        if self.is_over_with(agent) {
            self.channels.strangers.insert((self.shared_until(agent), *agent));
        }
    }

    /// Until when a succession may bring two back into a channel that they shared: so long they hear each other's words.
    // contracts/channel.md C64.
    fn shared_until(&self, agent: &AgentId) -> UnixMillis {
        let me = self.id();
        let until = |channel: &Channel| {
            let roster = channel.record.roster();
            let ended = [agent, &me].into_iter().filter(|one| !roster.has(one)).map(|one| roster.gone(one));
            let ended = ended.collect::<Option<Vec<_>>>()?.into_iter().min()?;
            let taken = channel.record.taken(ended).filter(|_| channel.left.is_none())?;
            Some(taken.plus(time::CHANNEL_SUCCESSION_WINDOW))
        };
        self.channels.all.values().filter_map(until).max().unwrap_or(UnixMillis(0))
    }

    /// Whether an agent was known by channels alone, of which none is shared any more, and nothing is owed to it.
    fn is_over_with(&self, agent: &AgentId) -> bool {
        let Some(contact) = self.contacts.get(agent).filter(|contact| contact.info.met) else { return false };
        let is_done = contact.ack_in.is_empty() && !contact.info.retired;
        let has_any = || contact.sessions().next().is_some() || !contact.drafts.is_empty();
        is_done && !self.is_fellow(agent) && (has_any() || !self.is_named(agent)) && !self.owes(agent)
    }

    /// Whether a control letter is under way to an agent. A refusal is none: it would stay for as long as something is sent that is refused.
    // contracts/channel.md C64.
    fn owes(&self, agent: &AgentId) -> bool {
        let is_refusal = |letter: &[u8]| {
            let control = Letter::decode(letter).ok().and_then(|letter| Control::decode(&letter.payload));
            matches!(control, Some(Control::Refused { .. }))
        };
        let has_controls = self.contacts.get(agent).is_some_and(|contact| contact.controls > 0);
        let mut theirs = self.outbox.values().filter(|one| one.to == *agent && one.control);
        has_controls && theirs.any(|one| !is_refusal(&one.letter))
    }

    /// Whether an agent that is known by channels alone is to be told something still.
    // contracts/channel.md C49.
    #[must_use]
    pub fn owes_words(&self, agent: &AgentId) -> bool {
        self.contacts.get(agent).is_some_and(|contact| contact.info.met && contact.controls > 0)
    }

    /// Whether the record of a channel has this agent and another, also of one that this agent has left by its own word.
    fn is_named(&self, agent: &AgentId) -> bool {
        let me = self.id();
        self.channels
            .all
            .values()
            .map(|channel| channel.record.roster())
            .any(|roster| roster.has(agent) && roster.has(&me))
    }

    /// Another has said why it takes nothing of this agent.
    // contracts/channel.md C64, contracts/handshake.md H8.
    pub(in super::super) fn apply_noticed(
        &mut self,
        by: AgentId,
        code: u16,
        session: SessionId,
        now: UnixMillis,
        out: &mut Out,
    ) {
        out.effects.push(Effect::TurnedAway { by, code });
        if code != code::STRANGER {
            return;
        }
        let is_met = self.contact(&by).is_some_and(|info| info.met);
        let is_start = |session: &Session| session.parties.initiated && !session.confirmed;
        if is_met && !self.is_fellow(&by) {
            self.end_all(by, code, out);
            self.part_from(vec![by], out);
        } else if self.sessions.get(&session).is_some_and(is_start) {
            // The other has kept nothing of it: it must not stand in the way of the session that the other begins once it knows this agent.
            self.make_old(session, now, out);
            self.trim_old(by, out);
        }
    }

    pub(super) fn apply_stranger(&mut self, agent: AgentId, now: UnixMillis, out: &mut Out) {
        if self.is_over_with(&agent) && self.shared_until(&agent) <= now {
            // Where a channel that was left names it still, it may become the owner: where it is stays known.
            if self.is_named(&agent) {
                self.end_all(agent, code::STRANGER, out);
                out.contacts.insert(agent);
            } else {
                self.drop_contact(agent, code::STRANGER, out);
            }
            out.effects.push(Effect::Forgotten { agent });
        }
        self.channels.strangers.retain(|(_, other)| *other != agent);
        // They may have met again since, and parted.
        self.may_go(&agent);
    }

    /// Somebody removes an agent that shares a channel: what is between the two alone ends, and the channel goes on.
    // contracts/channel.md C65.
    pub(in super::super) fn keep_as_fellow(&mut self, agent: AgentId, out: &mut Out) {
        let Some(contact) = self.contacts.get_mut(&agent) else { return };
        let endpoints = core::mem::take(&mut contact.info.endpoints);
        contact.info = ContactInfo { endpoints, met: true, ..ContactInfo::default() };
        out.ops.push(Op::Put { key: rows::contact(&agent), value: contact.info.to_row() });
        out.contacts.insert(agent);
        let is_beside =
            |letter: &[u8]| Letter::decode(letter).is_ok_and(|letter| matches!(ChannelPlace::of(&letter), Ok(None)));
        let theirs = self.outbox.iter().filter(|(_, one)| one.to == agent && !one.control && is_beside(&one.letter));
        for no in theirs.map(|(no, _)| *no).collect::<Vec<_>>() {
            self.apply_expired(no, code::CANCELLED, out);
        }
    }

    /// Words to an agent are given up that are of no use to it: members are told the record, who was taken out by its owner alone, and nothing else.
    pub(super) fn take_back_words(
        &mut self,
        id: &ChannelId,
        agent: &AgentId,
        keeps: impl Fn(&Says) -> bool,
        out: &mut Out,
    ) {
        let is_over = |letter: &[u8]| {
            let control = Letter::decode(letter).ok().and_then(|letter| Control::decode(&letter.payload));
            let Some(Control::Channel(word)) = control else { return false };
            word.channel == *id && !keeps(&word.says)
        };
        let theirs = self.outbox.iter().filter(|(_, one)| one.to == *agent && one.control && is_over(&one.letter));
        for no in theirs.map(|(no, _)| *no).collect::<Vec<_>>() {
            self.apply_expired(no, code::NOT_MEMBER, out);
        }
    }

    /// Letters to an agent are given up that are not acknowledged.
    pub(super) fn take_back_letters(&mut self, channel: &ChannelId, agent: &AgentId, out: &mut Out) {
        let of = |letter: &[u8]| {
            let place = Letter::decode(letter).ok().and_then(|letter| ChannelPlace::of(&letter).ok().flatten());
            place.is_some_and(|place| place.channel == *channel)
        };
        let theirs = self.outbox.iter().filter(|(_, entry)| entry.to == *agent && !entry.control && of(&entry.letter));
        for no in theirs.map(|(no, _)| *no).collect::<Vec<_>>() {
            self.apply_expired(no, code::NOT_MEMBER, out);
        }
    }

    pub(super) fn load_forgotten(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, []) = rows::split_of_channel::<0>(key)?;
        let ForgottenRow(version, until, invites) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let invites = invites.into_iter().map(ByteArray::into_array).collect();
        let forgotten = Forgotten { until: UnixMillis(until), invites };
        self.channels.forgotten.insert(id, forgotten);
        (version == ROW_VERSION).then_some(())
    }

    /// Agents that were to be forgotten before a start still are.
    pub(in super::super) fn resume_parting(&mut self) {
        let met = self.contacts.iter().filter(|(_, contact)| contact.info.met).map(|(agent, _)| *agent);
        met.collect::<Vec<_>>().iter().for_each(|agent| self.may_go(agent));
    }
}

impl Forgotten {
    fn to_row(&self) -> Vec<u8> {
        let invites = self.invites.iter().map(|hash| ByteArray::new(*hash)).collect();
        codec::encode(&ForgottenRow(ROW_VERSION, self.until.0, invites))
    }
}

/// Hashes of the invitations by which an agent was put into a channel, the newest first.
fn answered(record: &Record, agent: &AgentId) -> impl Iterator<Item = [u8; 32]> {
    let entries = record.entries().rev().filter_map(|bytes| Entry::parse(bytes).ok());
    let adds = entries.filter(|entry| matches!(&entry.change, channel::Change::Add(agents) if agents.contains(agent)));
    let of_it = |bytes: &Vec<u8>| Invite::parse(bytes).is_ok_and(|invite| invite.agent == *agent);
    adds.flat_map(|entry| entry.consents).filter(of_it).map(|bytes| Invite::hash(&bytes))
}
