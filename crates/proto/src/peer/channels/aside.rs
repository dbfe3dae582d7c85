//! Chains that wait for the record: of epochs that it has not yet, or of a channel of which there is nothing yet (contracts/channel.md C54).

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::super::{Out, Peer};
use crate::codec;
use crate::ids::{AgentId, ChannelId};
use crate::rows;
use crate::step::Op;

/// Chains of one sender, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Aside(Vec<Zeroizing<Vec<u8>>>);

/// As many chains, each shorter than any word.
const ROW_LEN_MAX: usize = limit::CHANNEL_CHAINS_MAX * 1_024;

impl Aside {
    /// The newest stay.
    fn push(&mut self, key: Zeroizing<Vec<u8>>) {
        if self.0.len() >= limit::CHANNEL_CHAINS_MAX {
            self.0.remove(0);
        }
        self.0.push(key);
    }

    fn to_row(&self) -> Vec<u8> {
        codec::encode(&self.0.iter().map(|key| ByteBuf::from(key.as_slice())).collect::<Vec<_>>())
    }

    fn from_row(row: &[u8]) -> Option<Self> {
        let keys: Vec<ByteBuf> = codec::decode(row, ROW_LEN_MAX).ok()?;
        Some(Self(keys.into_iter().map(|key| Zeroizing::new(key.into_vec())).collect()))
    }
}

impl IntoIterator for Aside {
    type Item = Zeroizing<Vec<u8>>;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Peer {
    /// A chain waits for the record, where this agent has the channel, or is joining it.
    pub(super) fn keep_aside(&mut self, from: AgentId, id: ChannelId, key: Zeroizing<Vec<u8>>, out: &mut Out) {
        let aside = match self.channels.all.get_mut(&id) {
            Some(channel) => channel.group.aside.entry(from).or_default(),
            None => {
                let is_joining = self.channels.invited.get(&id).is_some_and(|invited| !invited.answered.is_empty());
                let early = &mut self.channels.early;
                let has_room = early.len() < limit::CHANNEL_MEMBERS_MAX || early.contains_key(&(id, from));
                if !is_joining || !has_room {
                    return;
                }
                early.entry((id, from)).or_default()
            }
        };
        aside.push(key);
        out.ops.push(Op::Put { key: rows::channel_key(&id, &from), value: aside.to_row() });
    }

    /// Chains that came before the record of a channel.
    pub(super) fn take_early_keys(&mut self, id: &ChannelId) -> BTreeMap<AgentId, Aside> {
        let theirs = self.channels.early.extract_if(.., |(channel, _), _| channel == id);
        theirs.map(|((_, agent), aside)| (agent, aside)).collect()
    }

    pub(super) fn load_channel_key(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, agent) = rows::split_of_channel::<32>(key)?;
        let (agent, aside) = (AgentId::from_bytes(agent).ok()?, Aside::from_row(value)?);
        match self.channels.all.get_mut(&id) {
            Some(channel) => drop(channel.group.aside.insert(agent, aside)),
            None => drop(self.channels.early.insert((id, agent), aside)),
        }
        Some(())
    }
}
