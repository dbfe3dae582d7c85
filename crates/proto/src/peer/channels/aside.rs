//! Chains that wait for the record: of epochs that it has not yet, or of a channel of which there is nothing yet (contracts/channel.md C54).

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{limit, time};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::{Out, Peer};
use super::ROW_VERSION;
use crate::channel::SenderKey;
use crate::codec;
use crate::ids::{AgentId, ChannelId, EpochId, Seq};
use crate::rows;
use crate::step::Op;
use crate::time::UnixMillis;

/// Chains of one channel that wait: of each sender by the numbers of their first letters.
#[derive(Debug, Default)]
pub(super) struct Aside {
    of: BTreeMap<AgentId, BTreeMap<Seq, (SenderKey, UnixMillis)>>,
    /// Senders whose chains are in one row, as an earlier version kept them.
    together: BTreeSet<AgentId>,
}

/// `[version, since, sender key]`
#[derive(Serialize, Deserialize)]
struct KeyRow(u8, u64, ByteBuf);

const ROW_LEN_MAX: usize = 512;
/// Of an earlier version: eight chains.
const TOGETHER_LEN_MAX: usize = 8 * 1_024;

impl Aside {
    /// As many stay as may be over; of more the oldest of whoever has most goes.
    fn push(&mut self, id: &ChannelId, from: AgentId, key: SenderKey, now: UnixMillis, out: &mut Out) {
        self.take_apart(id, &from, out);
        let (first, value) = (key.first, to_row(&key, now));
        out.ops.push(Op::Put { key: rows::channel_key(id, &from, first), value });
        self.of.entry(from).or_default().insert(first, (key, now));
        while self.of.values().map(BTreeMap::len).sum::<usize>() > limit::CHANNEL_CHAINS_MAX {
            let most = self.of.iter().max_by_key(|(_, theirs)| theirs.len());
            let Some((agent, first)) = most.and_then(|(agent, theirs)| Some((*agent, *theirs.keys().next()?))) else {
                return;
            };
            drop(self.remove(id, agent, first, out));
        }
    }

    fn remove(&mut self, id: &ChannelId, agent: AgentId, first: Seq, out: &mut Out) -> Option<SenderKey> {
        self.take_apart(id, &agent, out);
        let theirs = self.of.get_mut(&agent)?;
        let (key, _) = theirs.remove(&first)?;
        if theirs.is_empty() {
            self.of.remove(&agent);
        }
        out.ops.push(Op::Delete { key: rows::channel_key(id, &agent, first) });
        Some(key)
    }

    /// Each gets a row of its own.
    fn take_apart(&mut self, id: &ChannelId, agent: &AgentId, out: &mut Out) {
        if !self.together.remove(agent) {
            return;
        }
        out.ops.push(Op::Delete { key: rows::channel_keys(id, agent) });
        for (first, (key, since)) in self.of.get(agent).into_iter().flatten() {
            out.ops.push(Op::Put { key: rows::channel_key(id, agent, *first), value: to_row(key, *since) });
        }
    }

    /// Takes out chains that wait no more, each sender's in the order of their numbers.
    pub(super) fn take(
        &mut self,
        id: &ChannelId,
        waits_no_more: impl Fn(&EpochId, UnixMillis) -> bool,
        out: &mut Out,
    ) -> Vec<(AgentId, SenderKey)> {
        let all = self.of.iter().flat_map(|(agent, theirs)| theirs.values().map(move |one| (*agent, one)));
        let found = all.filter(|(_, (key, since))| waits_no_more(&key.epoch, *since));
        let found: Vec<(AgentId, Seq)> = found.map(|(agent, (key, _))| (agent, key.first)).collect();
        let mut taken = Vec::new();
        for (agent, first) in found {
            taken.extend(self.remove(id, agent, first, out).map(|key| (agent, key)));
        }
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether one more sender may have chains here.
    pub(super) fn has_room(&self, from: &AgentId, most: usize) -> bool {
        self.of.contains_key(from) || self.of.len() < most
    }

    fn load(&mut self, agent: AgentId, key: SenderKey, since: UnixMillis) {
        self.of.entry(agent).or_default().insert(key.first, (key, since));
    }
}

fn to_row(key: &SenderKey, since: UnixMillis) -> Vec<u8> {
    codec::encode(&KeyRow(ROW_VERSION, since.0, ByteBuf::from(key.encode().as_slice())))
}

impl Peer {
    /// A chain waits for the record, where this agent has the channel, or is joining it.
    pub(super) fn keep_aside(&mut self, from: AgentId, id: ChannelId, key: SenderKey, now: UnixMillis, out: &mut Out) {
        let aside = match self.channels.all.get_mut(&id) {
            Some(channel) => &mut channel.group.aside,
            None => {
                let is_joining = self.channels.invited.get(&id).is_some_and(|invited| !invited.answered.is_empty());
                if !is_joining {
                    return;
                }
                self.channels.early.entry(id).or_default()
            }
        };
        if aside.has_room(&from, limit::CHANNEL_MEMBERS_MAX) {
            aside.push(&id, from, key, now, out);
        }
    }

    /// Chains that wait go which nobody has waited for so long.
    // contracts/channel.md C54.
    pub(super) fn expire_aside(&mut self, id: &ChannelId, now: UnixMillis, out: &mut Out) {
        let is_over = |_: &EpochId, since: UnixMillis| now.since(since) > time::LETTER_LIFE_MAX + 2 * time::CLOCK_SKEW;
        if let Some(channel) = self.channels.all.get_mut(id) {
            drop(channel.group.aside.take(id, is_over, out));
        }
    }

    pub(super) fn load_channel_key(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some((id, agent)) = rows::split_of_channel::<32>(key) {
            return self.load_together(id, AgentId::from_bytes(agent).ok()?, value);
        }
        let (id, at) = rows::split_of_channel::<40>(key)?;
        let (agent, _) = at.split_first_chunk::<32>()?;
        let KeyRow(version, since, bytes) = codec::decode(value, ROW_LEN_MAX).ok()?;
        let agent = AgentId::from_bytes(*agent).ok().filter(|_| version == ROW_VERSION)?;
        let key = SenderKey::parse(&bytes, &agent).ok()?;
        self.aside_of(id).load(agent, key, UnixMillis(since));
        Some(())
    }

    /// As an earlier version kept them; what is no chain in it was never one.
    fn load_together(&mut self, id: ChannelId, agent: AgentId, value: &[u8]) -> Option<()> {
        let keys: Vec<ByteBuf> = codec::decode(value, TOGETHER_LEN_MAX).ok()?;
        let aside = self.aside_of(id);
        aside.together.insert(agent);
        for key in keys.iter().filter_map(|key| SenderKey::parse(key, &agent).ok()) {
            let since = UnixMillis::NEVER;
            aside.load(agent, key, since);
        }
        Some(())
    }

    fn aside_of(&mut self, id: ChannelId) -> &mut Aside {
        match self.channels.all.get_mut(&id) {
            Some(channel) => &mut channel.group.aside,
            None => self.channels.early.entry(id).or_default(),
        }
    }
}
