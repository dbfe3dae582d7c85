//! A letter that was sealed once for all and that not every member has acknowledged, and its row.

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::channel::Mac;
use crate::codec;
use crate::ids::{AgentId, LetterId};
use crate::letter::Letter;
use crate::time::UnixMillis;

/// A letter that not every member has acknowledged.
#[derive(Debug)]
pub(super) struct OutFrame {
    pub(super) letter: LetterId,
    pub(super) expires: UnixMillis,
    /// The number of its epoch.
    pub(super) number: u32,
    pub(super) common: Vec<u8>,
    /// The letter itself, where it has a token: whoever refuses that as expired is sent it again.
    pub(super) again: Option<Box<Letter>>,
    pub(super) left: BTreeMap<AgentId, Mac>,
    /// When it was left at whose node.
    pub(super) mailed: BTreeMap<AgentId, UnixMillis>,
}

#[derive(Serialize, Deserialize)]
struct OutRow(u8, ByteArray<16>, u64, u32, ByteBuf, Vec<(ByteArray<32>, ByteArray<16>)>, Option<ByteBuf>);

const OUT_ROW_VERSION: u8 = 2;

/// A frame, its letter, and a MAC for every member.
const OUT_LEN_MAX: usize = 2 * limit::FRAME_LEN_MAX + 64 * limit::CHANNEL_MEMBERS_MAX;

impl OutFrame {
    pub(super) fn len(&self) -> usize {
        self.common.len() + self.again.as_ref().map_or(0, |letter| letter.payload.len())
    }

    pub(super) fn to_row(&self) -> Vec<u8> {
        let left = self.left.iter();
        let left = left.map(|(agent, mac)| (ByteArray::new(*agent.as_bytes()), ByteArray::new(*mac))).collect();
        let id = ByteArray::new(*self.letter.as_bytes());
        let again = self.again.as_ref().map(|letter| ByteBuf::from(letter.encode()));
        codec::encode(&OutRow(
            OUT_ROW_VERSION,
            id,
            self.expires.0,
            self.number,
            ByteBuf::from(self.common.as_slice()),
            left,
            again,
        ))
    }

    pub(super) fn from_row(row: &[u8]) -> Option<Self> {
        let OutRow(version, letter, expires, number, common, left, again) = codec::decode(row, OUT_LEN_MAX).ok()?;
        let letter = LetterId::parse(letter.into_array()).filter(|_| version == OUT_ROW_VERSION)?;
        let again = again.map(|letter| Letter::decode(&letter).map(Box::new)).transpose().ok()?;
        let left = left.into_iter().map(|(agent, mac)| {
            let agent = AgentId::from_bytes(agent.into_array()).ok()?;
            Some((agent, mac.into_array()))
        });
        let left = left.collect::<Option<BTreeMap<_, _>>>()?;
        let (expires, common, mailed) = (UnixMillis(expires), common.into_vec(), BTreeMap::new());
        Some(Self { letter, expires, number, common, again, left, mailed })
    }
}
