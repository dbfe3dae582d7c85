//! Entries of a channel's record: taken, kept, and what follows of each.

use std::collections::BTreeSet;

use nuncio_contracts::registry::{code, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::{ContactInfo, Out, Peer};
use super::{Channel, ChannelNews, ROW_VERSION};
use crate::channel::{self, Next, Reach, Record, Roster, Says};
use crate::codec;
use crate::ids::{AgentId, ChannelId};
use crate::rows;
use crate::step::{Effect, Op};
use crate::time::UnixMillis;

#[derive(Serialize, Deserialize)]
struct EntryRow(u8, u64, ByteBuf);

impl Peer {
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
    pub(super) fn meet(&mut self, agent: AgentId, reach: Option<&Reach>, out: &mut Out) {
        let contact = self.contacts.entry(agent).or_default();
        let is_met = contact.info == ContactInfo::default();
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

    pub(in super::super) fn load_channel_entry(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
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
}

pub(super) fn put_entry(channel: &ChannelId, number: u32, taken: UnixMillis, bytes: &[u8], out: &mut Out) {
    let value = codec::encode(&EntryRow(ROW_VERSION, taken.0, ByteBuf::from(bytes)));
    out.ops.push(Op::Put { key: rows::channel_entry(channel, number), value });
}
