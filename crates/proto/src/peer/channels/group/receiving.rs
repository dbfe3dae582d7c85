//! What comes of a channel's other members: chains, frames, and what they have moved, kept and loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_contracts::registry::{limit, time};
use zeroize::Zeroizing;

use super::super::letters::{Held, Sealed};
use super::super::{Channel, ChannelChange, ChannelNews};
use super::{ASIDE_MAX, GroupChange, OutFrame};
use crate::channel::{ChannelFrame, KeyError, Opened, Outgoing, ReceiveError, SenderKey, SenderRows};
use crate::error::Refusal;
use crate::ids::{AgentId, ChannelId, Seq};
use crate::letter::Letter;
use crate::peer::audit::opening_of;
use crate::peer::judge::Verdict;
use crate::peer::{Change, Out, Peer, Seen};
use crate::replay::ReplayError;
use crate::rows;
use crate::step::{Effect, Op, Step};
use crate::time::UnixMillis;
use crate::token::Genuine;

impl Peer {
    /// Takes a frame of a channel.
    // contracts/channel.md C37.
    pub(in crate::peer) fn receive_group(
        &self,
        from: Option<AgentId>,
        bytes: &[u8],
        now: UnixMillis,
        seen: &dyn Seen,
    ) -> Result<Step, Refusal> {
        let frame = ChannelFrame::decode(bytes)?;
        if self.inbox.len() >= limit::INBOX_LETTERS_MAX || self.inbox_bytes >= limit::INBOX_BYTES_MAX {
            return Err(Refusal::InboxFull);
        }
        let (id, channel) = self.channel_of(&frame).ok_or(Refusal::Channel(ReceiveError::UnknownTag))?;
        // contracts/audit.md V29.
        if channel.record.roster().audits() && self.is_log_full() {
            return Err(Refusal::SpoolFull);
        }
        let sender = channel.group.incoming.sender_of(&frame.tag);
        if let Some(sender) = sender.filter(|sender| from.is_some_and(|from| from != **sender)) {
            return Err(Refusal::WrongPeer(*sender));
        }
        // contracts/identity.md I9.
        if sender.and_then(|sender| self.contact(sender)).is_some_and(|info| info.retired) {
            return Err(Refusal::Channel(ReceiveError::UnknownTag));
        }
        let kept: usize = self.channels.all.values().map(|channel| channel.group.incoming.kept()).sum();
        let room = room_for_keys(kept, channel.group.incoming.kept());
        let opened = channel.group.incoming.receive(&frame, room).map_err(Refusal::Channel)?;
        let verdict = self.judge_group(id, &opened, now, seen)?;
        let change = GroupChange::Opened { opened: Box::new(opened), verdict };
        Ok(self.step(Change::Channel(ChannelChange::Group { channel: id, change, now })))
    }

    pub(super) fn channel_of(&self, frame: &ChannelFrame<'_>) -> Option<(ChannelId, &Channel)> {
        let mut all = self.channels.all.iter();
        all.find(|(_, channel)| channel.group.incoming.sender_of(&frame.tag).is_some()).map(|(id, one)| (*id, one))
    }

    /// A frame came again: its sender has not heard that it is here.
    pub(in crate::peer) fn ack_group_again(&self, refusal: &Refusal, bytes: &[u8]) -> Option<Step> {
        let Refusal::Channel(ReceiveError::Replay(ReplayError::Replayed(_))) = refusal else { return None };
        let frame = ChannelFrame::decode(bytes).ok()?;
        let (channel, found) = self.channel_of(&frame)?;
        let change = GroupChange::AckDue(*found.group.incoming.sender_of(&frame.tag)?);
        Some(self.step(Change::Channel(ChannelChange::Group { channel, change, now: UnixMillis(0) })))
    }

    pub(super) fn apply_group_opened(
        &mut self,
        id: ChannelId,
        mut opened: Opened,
        verdict: Verdict,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let (sender, seq, bytes) = (opened.sender, opened.header.seq, opened.letter.clone());
        let sealed = Sealed { chain: opened.chain, nonce: opened.nonce };
        let key = opened.commitment_key.take().filter(|_| self.keeps_log());
        let header = opened.header.to_bytes();
        out.ops.extend(key.and_then(|key| opening_of(&sender, key, &header, &bytes, &verdict)));
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let group = &mut channel.group;
        let own = opened.header.attestation.and_then(|said| group.outgoing.compare(&sender, &said));
        let other = opened.equivocation;
        let moved = group.incoming.apply(opened, now);
        group.note_holes(sender, seq, now);
        group.acks.entry(sender).or_insert(now.plus(time::ACK_DELAY));
        for equivocation in [own, other, moved.equivocation].into_iter().flatten() {
            let news = ChannelNews::Equivocated(Box::new(equivocation));
            out.effects.push(Effect::Channel { channel: id, news });
        }
        self.counters.opened += 1;
        self.keep_sender(id, &sender, out);
        self.pass_holes(id, sender, &moved.holes, now, out);
        if matches!(verdict, Verdict::Duplicate | Verdict::Refuse(_)) {
            self.pass_refused(id, sender, seq, now, out);
        }
        match verdict {
            Verdict::Nothing | Verdict::Refuse(None) => {}
            Verdict::Duplicate => self.counters.duplicates += 1,
            Verdict::Take(letter, token) => {
                self.note_taken(sender, &letter, token.as_ref(), now, out);
                let way = (now, Some(sealed));
                if let Some(letter) = self.take_channel_letter(sender, *letter, &bytes, token.as_ref(), way, out) {
                    self.deliver(sender, letter, &bytes, token, now, out);
                }
            }
            Verdict::Wait(need, _) => {
                let read = Letter::decode(&bytes).ok();
                let held = read.map(|letter| Held::new(now, letter, bytes, Some(sealed)));
                held.into_iter().for_each(|held| self.wait_in_channel(id, sender, held, need, out));
            }
            Verdict::Refuse(Some((told, letter))) => {
                self.tell_frame_refused(id, sender, &told, letter.as_deref(), now, out);
            }
        }
    }

    /// A letter that was sealed once is this agent's from now on: it is taken no second time.
    pub(in crate::peer::channels) fn note_taken(
        &mut self,
        from: AgentId,
        letter: &Letter,
        token: Option<&Arc<Genuine>>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        out.ops.push(Op::Put { key: rows::seen(&from, &letter.id), value: Vec::new() });
        self.channels.taken.note(from, letter.id);
        self.keep_token(token, &from, now);
    }

    /// A chain was handed over.
    // contracts/channel.md C28 to C30.
    pub(in crate::peer::channels) fn take_key(
        &mut self,
        from: AgentId,
        id: ChannelId,
        bytes: Zeroizing<Vec<u8>>,
        now: UnixMillis,
        out: &mut Out,
    ) {
        // What is kept is a chain of this channel, and no longer than one.
        let Some(key) = SenderKey::parse(&bytes, &from).ok().filter(|key| key.channel == id) else { return };
        let Some(channel) = self.channels.all.get_mut(&id) else {
            return self.keep_aside(from, id, key, now, out);
        };
        if channel.left.is_some() {
            return;
        }
        if channel.record.number_of(&key.epoch).is_some() {
            return self.take_known_key(from, id, key, now, out);
        }
        if channel.record.roster().has(&from) || channel.group.aside.has_room(&from, ASIDE_MAX) {
            self.keep_aside(from, id, key, now, out);
            self.ask_entries(from, id, now, out);
        }
    }

    fn take_known_key(&mut self, from: AgentId, id: ChannelId, key: SenderKey, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let (first, group) = (key.first, &mut channel.group);
        let taken = match group.incoming.take_key(from, key, &channel.record, now) {
            Ok(taken) => taken,
            // A sender that was restored from a copy uses numbers again: it is told where to go on.
            // contracts/channel.md C56.
            Err(KeyError::Number) => {
                group.acks.insert(from, now);
                return;
            }
            // It seals in an epoch that is over, or was begun before this agent came back: it has not heard of the newest.
            Err(KeyError::Stale | KeyError::NotMember) => return self.tell_member(from, id, now, out),
            Err(_) => return,
        };
        let equivocation = group.incoming.apply_key(taken);
        let thinned = group.incoming.thinned();
        channel.letters.begins(from, first);
        if let Some(equivocation) = equivocation {
            let news = ChannelNews::Equivocated(Box::new(equivocation));
            out.effects.push(Effect::Channel { channel: id, news });
        }
        self.keep_sender(id, &from, out);
        thinned.iter().filter(|other| **other != from).for_each(|other| self.keep_sender(id, other, out));
    }

    /// Numbers of a member's letters are sent no more.
    // contracts/channel.md C38, C55.
    pub(in crate::peer::channels) fn take_floor(
        &mut self,
        from: AgentId,
        id: ChannelId,
        floor: Seq,
        now: UnixMillis,
        out: &mut Out,
    ) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let Some(moved) = channel.group.incoming.raise(&from, floor) else { return };
        channel.group.acks.insert(from, now);
        if let Some(equivocation) = moved.equivocation {
            let news = ChannelNews::Equivocated(Box::new(equivocation));
            out.effects.push(Effect::Channel { channel: id, news });
        }
        self.keep_sender(id, &from, out);
        self.pass_holes(id, from, &moved.holes, now, out);
    }

    /// This agent is no member any more: nothing of the others opens here.
    pub(in crate::peer::channels) fn forget_chains(&mut self, id: ChannelId, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let group = &mut channel.group;
        let senders: Vec<AgentId> = group.incoming.senders().copied().collect();
        group.incoming.forget();
        group.outgoing.fall_silent();
        drop(group.aside.take(&id, |_, _| true, out));
        group.acks.clear();
        group.acking.clear();
        group.flooring.clear();
        senders.iter().for_each(|sender| self.keep_sender(id, sender, out));
    }

    /// The record has moved: chains of who is in it no more are forgotten, and those that waited for it are looked at.
    pub(in crate::peer::channels) fn follow_record(&mut self, id: ChannelId, now: UnixMillis, out: &mut Out) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let is_heard = channel.left.is_none();
        let senders: Vec<AgentId> = channel.group.incoming.senders().copied().collect();
        channel.group.incoming.follow(&channel.record);
        let roster = channel.record.roster();
        channel.group.acks.retain(|agent, _| roster.has(agent));
        channel.group.holes.forget(|agent| !roster.has(agent));
        let record = &channel.record;
        let known = channel.group.aside.take(&id, |epoch, _| record.number_of(epoch).is_some(), out);
        senders.iter().for_each(|sender| self.keep_sender(id, sender, out));
        if is_heard {
            known.into_iter().for_each(|(from, key)| self.take_known_key(from, id, key, now, out));
        }
    }

    /// Keys and chains go whose letters would be too old.
    // contracts/channel.md C30.
    pub(in crate::peer::channels) fn expire_keys(&mut self, now: UnixMillis, out: &mut Out) {
        let channels: Vec<ChannelId> = self.channels.all.keys().copied().collect();
        for id in channels {
            let Some(channel) = self.channels.all.get_mut(&id) else { continue };
            let senders: Vec<AgentId> = channel.group.incoming.senders().copied().collect();
            channel.group.incoming.expire(now);
            senders.iter().for_each(|sender| self.keep_sender(id, sender, out));
            self.expire_aside(&id, now, out);
        }
        self.expire_forgotten(now, out);
    }

    /// A letter has this number, whichever way it came.
    pub(in crate::peer::channels) fn came_in_session(
        &mut self,
        id: ChannelId,
        from: &AgentId,
        seq: Seq,
        out: &mut Out,
    ) {
        let Some(channel) = self.channels.all.get_mut(&id) else { return };
        let Some(moved) = channel.group.incoming.came(from, seq) else { return };
        if let Some(equivocation) = moved.equivocation {
            let news = ChannelNews::Equivocated(Box::new(equivocation));
            out.effects.push(Effect::Channel { channel: id, news });
        }
        self.keep_sender(id, from, out);
    }

    pub(super) fn keep_sender(&mut self, id: ChannelId, sender: &AgentId, out: &mut Out) {
        let rows = self.channels.all.get_mut(&id).map(|channel| channel.group.incoming.keep(sender));
        let SenderRows { row, chains, early } = rows.unwrap_or_default();
        for (first, row) in chains {
            let key = rows::channel_chain(&id, sender, first);
            out.ops.push(match row {
                Some(value) => Op::Put { key, value },
                None => Op::Delete { key },
            });
        }
        for (seq, row) in early {
            let key = rows::channel_early(&id, sender, seq);
            out.ops.push(match row {
                Some(value) => Op::Put { key, value },
                None => Op::Delete { key },
            });
        }
        let key = rows::channel_sender(&id, sender);
        out.ops.push(match row {
            Some(value) => Op::Put { key, value },
            None => Op::Delete { key },
        });
    }

    pub(in crate::peer::channels) fn load_channel_sender(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, agent) = rows::split_of_channel::<32>(key)?;
        let (agent, channel) = (AgentId::from_bytes(agent).ok()?, self.channels.all.get_mut(&id)?);
        channel.group.incoming.load(agent, value)?;
        // contracts/channel.md C45: what is not here yet is waited for, also behind a start.
        let next = channel.group.incoming.next_of(&agent)?;
        channel.letters.begins(agent, next);
        Some(())
    }

    pub(in crate::peer::channels) fn load_channel_chain(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, at) = rows::split_of_channel::<40>(key)?;
        let (agent, first) = at.split_first_chunk::<32>()?;
        let (agent, first) = (AgentId::from_bytes(*agent).ok()?, u64::from_be_bytes(first.try_into().ok()?));
        self.channels.all.get_mut(&id)?.group.incoming.load_chain(agent, first, value)
    }

    pub(in crate::peer::channels) fn load_channel_early(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, at) = rows::split_of_channel::<40>(key)?;
        let (agent, seq) = at.split_first_chunk::<32>()?;
        let (agent, seq) = (AgentId::from_bytes(*agent).ok()?, u64::from_be_bytes(seq.try_into().ok()?));
        self.channels.all.get_mut(&id)?.group.incoming.load_early(agent, seq, value)
    }

    pub(in crate::peer::channels) fn load_channel_out(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, seq) = rows::split_of_channel::<8>(key)?;
        let channel = self.channels.all.get_mut(&id)?;
        let (group, roster) = (&mut channel.group, channel.record.roster());
        let (mut frame, seq) = (OutFrame::from_row(value)?, u64::from_be_bytes(seq));
        // contracts/channel.md C53, C55: the row names also those who have acknowledged, and some may have been taken out since.
        frame.left.retain(|agent, _| {
            let is_of_it = roster.member(agent).is_some_and(|member| member.since <= frame.number);
            is_of_it && !group.has_letter(agent, seq)
        });
        if frame.left.is_empty() {
            return Some(());
        }
        frame.left.keys().for_each(|agent| {
            group.resend.entry(*agent).or_insert((UnixMillis(0), time::RESEND_FIRST));
        });
        group.insert(seq, frame);
        Some(())
    }

    pub(in crate::peer::channels) fn load_outgoing(&mut self, id: &ChannelId, row: &[u8]) -> Option<()> {
        let me = self.id();
        let channel = self.channels.all.get_mut(id)?;
        let mut acked = BTreeMap::new();
        for (seq, frame) in &channel.group.out {
            frame.left.keys().for_each(|agent| {
                acked.entry(*agent).or_insert(*seq);
            });
        }
        channel.group.outgoing = Outgoing::from_row(&channel.record, me, row, acked)?;
        channel.group.began = channel.letters.next();
        Some(())
    }
}

/// How many more keys of letters that were passed over a channel may keep, where all keep so many, and it itself so many of these: no channel more than a
/// share of all, and each a few, whatever others keep.
// contracts/channel.md C30.
fn room_for_keys(all: usize, own: usize) -> usize {
    let share = (limit::SKIPPED_TOTAL_MAX / 8).saturating_sub(own).min(limit::SKIPPED_TOTAL_MAX.saturating_sub(all));
    share.max((limit::SKIPPED_TOTAL_MAX / limit::CHANNELS_MAX).saturating_sub(own))
}
