//! What members tell each other of a channel, sent and taken (contracts/channel.md section 10).

use std::collections::BTreeMap;

use nuncio_contracts::registry::{limit, time};

use super::super::{Out, Peer};
use super::{Channel, ChannelNews, Invited};
use crate::channel::{
    Change, Entry, Invite, Join, Judged, Leave, Next, Proposal, Reach, Record, RecordError, Roster, Says, Word,
};
use crate::control::Control;
use crate::ids::{AgentId, ChannelId, LetterId};
use crate::rows;
use crate::step::{Effect, Op};
use crate::time::UnixMillis;

impl Peer {
    pub(super) fn say(&mut self, to: AgentId, word: Word, now: UnixMillis, out: &mut Out) {
        let about = LetterId::new(now, *word.channel.as_bytes().first_chunk().unwrap_or(&[0; 10]));
        self.queue_control(to, &Control::Channel(Box::new(word)), about, now, out);
    }

    /// Whether a word of this agent is listened to: of one that was added, or that shares a channel.
    fn listens_to(&self, from: &AgentId) -> bool {
        self.contact(from).is_some_and(|info| info.allowed && !info.retired) || self.is_fellow(from)
    }

    pub(in super::super) fn take_word(&mut self, from: AgentId, word: Word, now: UnixMillis, out: &mut Out) {
        let Word { channel, says } = word;
        // contracts/channel.md C61: whoever has left hears what the record says, and nothing else.
        if self.channel_left_by_word(&channel) && !matches!(says, Says::Entries { .. } | Says::Invited { .. }) {
            return;
        }
        // contracts/channel.md C47: what only members say is heard of members alone.
        let roster = self.member_of(&channel).map(Record::roster);
        let was_member = roster.as_ref().is_ok_and(|roster| roster.gone(&from).is_some());
        let is_member = roster.is_ok_and(|roster| roster.has(&from))
            || was_member && matches!(says, Says::Wanted { .. } | Says::Left(_));
        let is_for_owners = matches!(says, Says::Left(_) | Says::Proposed(_) | Says::Accepted(_));
        let is_for_members =
            is_for_owners || matches!(says, Says::Wanted { .. } | Says::Acked(_) | Says::Floor(_) | Says::Offered);
        if is_for_members && !is_member {
            return;
        }
        match says {
            Says::Invited { invite, name } => self.take_invited(from, channel, invite, name, now, out),
            Says::Joined { join, invite, reach } => self.take_joined(from, channel, [join, invite], &reach, now, out),
            Says::Entries { entries, reach } => self.take_entries(from, channel, &entries, &reach, now, out),
            Says::Wanted { from: number } => self.give_wanted(from, channel, number, now, out),
            Says::Left(leave) => self.take_left(from, channel, leave, now, out),
            Says::Proposed(proposal) => self.take_proposed(channel, &proposal, now, out),
            Says::Key(key) => self.take_key(from, channel, key, now, out),
            Says::Acked(next) => self.take_acked(from, channel, next, now, out),
            Says::Drafted(entry) => self.take_drafted(from, channel, &entry, out),
            Says::Supported(support) => self.take_supported(from, channel, support, now, out),
            Says::Offered => self.take_offered(from, channel, out),
            Says::Accepted(heir) => self.take_accepted(channel, heir, now, out),
            Says::Floor(floor) => self.take_floor(from, channel, floor, now, out),
        }
    }

    // contracts/channel.md C48.
    fn take_invited(
        &mut self,
        from: AgentId,
        channel: ChannelId,
        bytes: Vec<u8>,
        name: String,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Ok(invite) = Invite::parse(&bytes) else { return };
        let is_mine = invite.channel == channel && invite.by == from && invite.agent == self.id();
        let is_member = self.channel(&channel).is_some_and(|record| record.roster().has(&self.id()));
        let is_welcome = self.listens_to(&from) && !self.was_answered(&channel, &bytes);
        if !is_mine || is_member || invite.expires < now || !is_welcome {
            return;
        }
        // One that was answered before may still bring the record.
        let before = self.channels.invited.get(&channel).map(|invited| invited.answered.clone());
        let answered = before.filter(|answered| answered.len() < limit::CHANNEL_ADMINS_MAX).unwrap_or_default();
        while self.channels.invited.len() >= limit::CHANNEL_INVITES_MAX {
            let Some(oldest) = self.oldest_of_who_invites_most() else { return };
            self.forget_invitation(&oldest, out);
        }
        let latest = now.plus(time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW);
        let expires = invite.expires.min(latest);
        let invited = Invited { by: from, name, expires, joining: false, bytes, answered };
        out.ops.push(Op::Put { key: rows::channel_invited(&channel), value: invited.to_row() });
        self.channels.invited.insert(channel, invited);
        out.effects.push(Effect::Channel { channel, news: ChannelNews::Invited { by: from } });
    }

    /// Of the invitations that nobody has answered, the first to be over of whoever has made most.
    // contracts/channel.md C48.
    fn oldest_of_who_invites_most(&self) -> Option<ChannelId> {
        let open = || self.channels.invited.iter().filter(|(_, one)| !one.joining && one.answered.is_empty());
        let mut made: BTreeMap<AgentId, usize> = BTreeMap::new();
        open().for_each(|(_, one)| *made.entry(one.by).or_default() += 1);
        let (most, _) = made.into_iter().max_by_key(|(_, count)| *count)?;
        open().filter(|(_, one)| one.by == most).min_by_key(|(_, one)| one.expires).map(|(id, _)| *id)
    }

    /// A consent: the owner adds its agent, an admin hands it on to the owner.
    fn take_joined(
        &mut self,
        from: AgentId,
        channel: ChannelId,
        [join, invite]: [Vec<u8>; 2],
        reach: &Reach,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Ok(record) = self.member_of(&channel) else { return };
        let Ok(joined) = Join::parse(&join) else { return };
        let roster = record.roster();
        let (owner, agent) = (roster.owner(), joined.agent);
        if joined.channel != channel || (agent != from && !roster.is_admin(&from)) {
            return;
        }
        if roster.has(&agent) {
            // It does not know yet that it is.
            if agent == from {
                self.give_wanted(agent, channel, 0, now, out);
            }
            return;
        }
        if owner != self.id() {
            let by_me = Invite::parse(&invite).is_ok_and(|invite| invite.by == self.id());
            if by_me && agent == from {
                self.meet(agent, Some(reach), out);
                self.relay(channel, agent, Says::Joined { join, invite, reach: reach.clone() }, now, out);
            }
            return;
        }
        let appended = record.append(Change::Add(vec![agent]), vec![join, invite], now, self.identity.signing());
        if let Ok((bytes, next)) = appended {
            self.meet(agent, Some(reach), out);
            self.apply_own_entry(channel, &bytes, next, now, out);
        }
    }

    /// A farewell: the owner follows it, whoever was the owner hands it on.
    // contracts/channel.md C62.
    fn take_left(&mut self, from: AgentId, channel: ChannelId, leave: Vec<u8>, now: UnixMillis, out: &mut Out) {
        let Some(said) = Leave::parse(&leave).ok().filter(|said| said.channel == channel) else { return };
        let Ok(record) = self.member_of(&channel) else { return };
        let (roster, known) = (record.roster(), record.number_of(&said.epoch));
        if !roster.has(&said.agent) {
            // It is out already, and has not heard of it.
            let from_there = known.filter(|_| from == said.agent && roster.gone(&from).is_some());
            if let Some(number) = from_there {
                self.give_wanted(from, channel, number.saturating_add(1), now, out);
            }
            return;
        }
        if roster.owner() == self.id() {
            self.append(channel, Change::Leave(vec![said.agent]), vec![leave], now, out);
        } else if from == said.agent {
            self.relay(channel, from, Says::Left(leave), now, out);
        }
    }

    /// Hands a word of an agent on to the owner: one is under way at a time.
    fn relay(&mut self, id: ChannelId, of: AgentId, says: Says, now: UnixMillis, out: &mut Out) {
        let Ok(owner) = self.member_of(&id).map(|record| record.roster().owner()) else { return };
        let (next, outbox) = (self.next_entry, &self.outbox);
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        channel.relaying.retain(|_, no| outbox.contains_key(no));
        if channel.relaying.contains_key(&of) {
            return;
        }
        channel.relaying.insert(of, next);
        self.say(owner, Word { channel: id, says }, now, out);
    }

    // contracts/channel.md C16.
    fn take_proposed(&mut self, channel: ChannelId, bytes: &[u8], now: UnixMillis, out: &mut Out) {
        let Ok(proposal) = Proposal::parse(bytes) else { return };
        let is_followed = self.member_of(&channel).is_ok_and(|record| record.check_proposal(&proposal).is_ok());
        // Whom an admin would have added has not consented by that: the record refuses it.
        if is_followed {
            self.append(channel, proposal.change, Vec::new(), now, out);
        }
    }

    /// The owner's next entry, where this agent is the owner and the record takes it.
    pub(super) fn append(
        &mut self,
        id: ChannelId,
        change: Change,
        consents: Vec<Vec<u8>>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Ok(record) = self.member_of(&id) else { return };
        if record.roster().owner() != self.id() {
            return;
        }
        let Ok((bytes, next)) = record.append(change, consents, now, self.identity.signing()) else { return };
        self.apply_own_entry(id, &bytes, next, now, out);
    }

    /// The owner's own entry: everybody is told, whoever it takes out as well.
    pub(super) fn apply_own_entry(&mut self, id: ChannelId, bytes: &[u8], next: Next, now: UnixMillis, out: &mut Out) {
        let (after, before) = (next.roster(), self.channels.all.get(&id).map(|channel| channel.record.roster()));
        // A succession takes out the owner of before too.
        let gone = before.into_iter().flat_map(Roster::members).map(|(agent, _)| *agent);
        let gone: Vec<AgentId> = gone.filter(|agent| !after.has(agent)).collect();
        let number = after.number();
        if self.apply_entry(id, bytes, next, now, out) {
            self.tell_all(id, now, out);
            gone.into_iter().for_each(|agent| self.send_entries(agent, id, [number; 2], now, out));
        }
    }

    /// Tells every member what is new in the record.
    // contracts/channel.md C49.
    pub(super) fn tell_all(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let me = self.id();
        let Some(channel) = self.channels.all.get(&id) else { return };
        let others: Vec<AgentId> =
            channel.record.roster().members().map(|(agent, _)| *agent).filter(|agent| *agent != me).collect();
        for agent in others {
            self.tell_member(agent, id, now, out);
        }
    }

    /// Tells a member what it is not known to have: a newcomer all of it, others the newest entry.
    pub(super) fn tell_member(&mut self, agent: AgentId, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        let roster = channel.record.roster();
        let Some(member) = roster.member(&agent) else { return };
        let from = match channel.told.get(&agent) {
            Some(told) if *told >= roster.number() => return,
            Some(told) => told.saturating_add(1),
            None if member.since == roster.number() && self.is_invited_by_me(channel, roster.number()) => 0,
            // Its inviter gives it the record.
            None if member.since == roster.number() && roster.number() > 0 => return,
            None => roster.number(),
        };
        self.give_entries(agent, id, from, now, out);
    }

    /// Whether a newcomer of the newest entry was invited by this agent.
    fn is_invited_by_me(&self, channel: &Channel, number: u32) -> bool {
        let entry = usize::try_from(number).ok().and_then(|number| channel.record.entries().nth(number));
        let entry = entry.and_then(|bytes| Entry::parse(bytes).ok());
        let mut invites = entry.iter().flat_map(|entry| &entry.consents).filter_map(|bytes| Invite::parse(bytes).ok());
        invites.any(|invite| invite.by == self.id())
    }

    /// Gives an agent the entries from a number on, if it is a member, or was: up to the one that took it out.
    // contracts/channel.md C49.
    fn give_entries(&mut self, agent: AgentId, id: ChannelId, from: u32, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let roster = channel.record.roster();
        let last = match roster.gone(&agent) {
            Some(number) if !roster.has(&agent) => number,
            None if !roster.has(&agent) => return,
            _ => roster.number(),
        };
        if roster.has(&agent) {
            channel.told.insert(agent, last);
        }
        self.send_entries(agent, id, [from, last], now, out);
    }

    /// Answers who asked: one answer is under way at a time, and of a long record its next part.
    // contracts/channel.md C49.
    fn give_wanted(&mut self, agent: AgentId, id: ChannelId, from: u32, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        if channel.giving.get(&agent).is_some_and(|no| self.outbox.contains_key(no)) {
            return;
        }
        channel.giving.insert(agent, self.next_entry);
        channel.told.remove(&agent);
        let roster = channel.record.roster();
        let last = roster.gone(&agent).filter(|_| !roster.has(&agent)).unwrap_or(roster.number());
        self.send_entries_up_to(agent, id, [from, last], PARTS_MAX, now, out);
    }

    fn send_entries(&mut self, agent: AgentId, id: ChannelId, numbers: [u32; 2], now: UnixMillis, out: &mut Out) {
        self.send_entries_up_to(agent, id, numbers, usize::MAX, now, out);
    }

    fn send_entries_up_to(
        &mut self,
        agent: AgentId,
        id: ChannelId,
        [from, last]: [u32; 2],
        most: usize,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        let (mut parts, mut len) = (vec![Vec::new()], 0_usize);
        let at = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        for entry in channel.record.entries().take(at(last).saturating_add(1)).skip(at(from)) {
            if len + entry.len() > limit::CHANNEL_WORD_LEN_MAX {
                parts.push(Vec::new());
                len = 0;
            }
            len += entry.len();
            parts.last_mut().into_iter().for_each(|part: &mut Vec<Vec<u8>>| part.push(entry.to_vec()));
        }
        // Where members are is told to members.
        let roster = channel.record.roster();
        let members = roster.members().map(|(member, _)| *member).filter(|_| roster.has(&agent));
        let mut reach: Vec<_> = members.filter(|member| *member != agent && *member != self.id()).collect();
        reach.truncate(REACH_MAX);
        let mut room = REACH_LEN_MAX;
        let mut reach: Vec<_> = reach
            .into_iter()
            .map(|member| (member, self.reach_of(&member)))
            .take_while(|(_, reach)| {
                let len = reach.len();
                room = room.saturating_sub(len);
                len > 0 && room > 0
            })
            .collect();
        for entries in parts.into_iter().filter(|part| !part.is_empty()).take(most) {
            let says = Says::Entries { entries, reach: core::mem::take(&mut reach) };
            self.say(agent, Word { channel: id, says }, now, out);
        }
    }

    /// Entries that another has: each is judged by itself.
    fn take_entries(
        &mut self,
        from: AgentId,
        id: ChannelId,
        entries: &[Vec<u8>],
        reach: &[(AgentId, Reach)],
        now: UnixMillis,
        out: &mut Out,
    ) {
        let me = self.id();
        let is_answered = self.channels.invited.get(&id).is_some_and(|one| one.answered.contains(&from));
        for bytes in entries {
            let Some(channel) = self.channels.all.get_mut(&id) else {
                // contracts/channel.md C48: only a channel that this agent has consented to join, from whoever invited.
                if !is_answered || self.channels.all.len() >= limit::CHANNELS_MAX {
                    return;
                }
                let taken = Entry::parse(bytes).map_or(now, |entry| entry.at.min(now));
                match Record::begin(bytes, taken) {
                    Ok(record) if record.channel() == id => {
                        super::put_entry(&id, 0, taken, bytes, out);
                        let mut channel = Channel::new(record, me);
                        channel.group.aside = self.channels.early.remove(&id).unwrap_or_default();
                        self.channels.all.insert(id, channel);
                        continue;
                    }
                    _ => return,
                }
            };
            // contracts/channel.md C21: what was there before this agent was counts as taken then.
            let is_member = channel.record.roster().has(&me);
            let taken = if is_member { now } else { Entry::parse(bytes).map_or(now, |entry| entry.at.min(now)) };
            match channel.record.check(bytes, taken) {
                Ok(Judged::Known) => {}
                Ok(Judged::Next(next)) => {
                    if self.apply_entry(id, bytes, *next, now, out) && !self.channel_left_by_word(&id) {
                        self.welcome(id, now, out);
                    }
                }
                Ok(Judged::Fork(fork)) => {
                    let news = ChannelNews::Forked(Box::new(fork));
                    out.effects.push(Effect::Channel { channel: id, news });
                }
                Err(RecordError::UnknownEpoch) => {
                    self.ask_entries(from, id, now, out);
                    break;
                }
                // One that is refused says nothing of those behind it: they stand on it.
                Err(_) => break,
            }
        }
        if self.member_of(&id).is_err() {
            return;
        }
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let roster = channel.record.roster().clone();
        if let Some(last) = entries.last().and_then(|bytes| Entry::parse(bytes).ok()) {
            let known = channel.record.number_of(&last.epoch()).filter(|_| roster.has(&from));
            channel.told.extend(known.map(|number| (from, number)));
        }
        // Where others are is the owner's word, or that of whom this agent has joined through.
        if from == roster.owner() || is_answered {
            for (agent, reach) in reach.iter().filter(|(agent, _)| *agent != me && roster.has(agent)) {
                self.meet(*agent, Some(reach), out);
            }
        }
    }

    /// Gives the record to those whom this agent has invited.
    fn welcome(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get(&id) else { return };
        let number = channel.record.roster().number();
        if !self.is_invited_by_me(channel, number) {
            return;
        }
        let newcomers: Vec<AgentId> = channel
            .record
            .roster()
            .members()
            .filter(|(agent, member)| member.since == number && **agent != self.id())
            .map(|(agent, _)| *agent)
            .collect();
        newcomers.into_iter().for_each(|agent| self.give_entries(agent, id, 0, now, out));
    }

    /// Entries are missing here that another has.
    pub(super) fn ask_entries(&mut self, of: AgentId, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let me = self.id();
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let roster = channel.record.roster();
        // Whoever brings the news may be a newcomer of whom nothing is known here, or nobody: then the owner is asked too.
        let asked = [Some(of), Some(roster.owner()).filter(|_| !roster.has(&of))];
        let from = roster.number().saturating_add(1);
        for of in asked.into_iter().flatten().filter(|of| *of != me) {
            // Each once, so that none that does not answer is asked in the place of all others.
            let Some(channel) = self.channels.all.get_mut(&id) else { return };
            if channel.asked.len() < limit::CHANNEL_MEMBERS_MAX && channel.asked.insert(of) {
                // contracts/channel.md C62.
                if channel.left.is_some() {
                    self.say_left(id, Some(of), now, out);
                    continue;
                }
                self.say(of, Word { channel: id, says: Says::Wanted { from } }, now, out);
            }
        }
    }
}

/// Members whose whereabouts go with entries, and their bytes: what a letter holds beside entries.
const REACH_MAX: usize = 32;
const REACH_LEN_MAX: usize = 6_000;
/// Letters that answer one question for entries; whoever lacks more asks again.
const PARTS_MAX: usize = 4;
