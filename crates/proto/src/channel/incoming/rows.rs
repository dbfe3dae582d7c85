//! What one sender's letters have moved, as a row keeps it: secret, sealed by the store.

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{Incoming, PassedKey, Receiving, Sender};
use crate::channel::chain::{Base, Chain};
use crate::channel::transcript::{Transcript, TranscriptWire};
use crate::codec;
use crate::ids::{AgentId, ChainId, EpochId, Seq, Tag};
use crate::ratchet::tag_of;
use crate::replay::Window;
use crate::secret::Key;
use crate::time::UnixMillis;

type Bytes32 = ByteArray<32>;

/// `[id, epoch, first, run, hk, ck, next, MAC key, end, since]`
#[derive(Serialize, Deserialize)]
struct ChainWire(Bytes32, Bytes32, Seq, Bytes32, Bytes32, Bytes32, Seq, Bytes32, Seq, u64);
/// `[version, chains, [next, numbers above that came], top, passed, transcript]`
#[derive(Serialize, Deserialize)]
struct Row(u8, Vec<ChainWire>, (Seq, Vec<Seq>), Seq, Vec<(Seq, ByteArray<16>, Bytes32, u64)>, TranscriptWire);

const VERSION: u8 = 1;
/// A window of passed keys, one of early letters, and chains.
const LEN_MAX: usize = 256 * 1_024;

fn bytes(key: &Key) -> Bytes32 {
    ByteArray::new(*key.expose())
}

impl Receiving {
    fn to_wire(&self) -> ChainWire {
        let Self { chain, mac_key, end, since } = self;
        let Chain { id, base, hk, ck, next, .. } = chain;
        ChainWire(
            ByteArray::new(*id.as_bytes()),
            ByteArray::new(*base.epoch.as_bytes()),
            base.first,
            ByteArray::new(base.run),
            bytes(hk),
            bytes(ck),
            *next,
            bytes(mac_key),
            *end,
            since.0,
        )
    }

    fn from_wire(wire: ChainWire, sender: AgentId) -> Self {
        let ChainWire(id, epoch, first, run, hk, ck, next, mac_key, end, since) = wire;
        let base = Base { epoch: EpochId::from_bytes(epoch.into_array()), sender, first, run: run.into_array() };
        let hk = Key::new(hk.into_array());
        let id = ChainId::from_bytes(id.into_array());
        let chain = Chain { id, base, tag: tag_of(&hk), hk, ck: Key::new(ck.into_array()), next };
        Self { chain, mac_key: Key::new(mac_key.into_array()), end, since: UnixMillis(since) }
    }
}

impl Incoming {
    /// The senders of whom there is something to keep.
    pub fn senders(&self) -> impl Iterator<Item = &AgentId> {
        self.senders.keys()
    }

    /// What is to be kept of a sender; `None` where nothing is.
    #[must_use]
    pub fn row_of(&self, sender: &AgentId) -> Option<Vec<u8>> {
        let sender = self.senders.get(sender)?;
        let next = sender.window.next();
        let above = (next..next.saturating_add(limit::WINDOW)).filter(|seq| sender.window.has(*seq)).collect();
        let passed = sender.passed.iter();
        let passed = passed.map(|(seq, key)| (*seq, ByteArray::new(*key.tag.as_bytes()), bytes(&key.mk), key.since.0));
        let chains = sender.chains.iter().map(Receiving::to_wire).collect();
        let row = Row(VERSION, chains, (next, above), sender.top, passed.collect(), sender.transcript.to_wire());
        Some(codec::encode(&row))
    }

    /// Takes a row back; `None` where it is none.
    pub fn load(&mut self, from: AgentId, row: &[u8]) -> Option<()> {
        let Row(version, chains, (next, above), top, passed, transcript) = codec::decode(row, LEN_MAX).ok()?;
        if version != VERSION {
            return None;
        }
        let passed = passed.into_iter().map(|(seq, tag, mk, since)| {
            let (tag, mk) = (Tag::from_bytes(tag.into_array()), Key::new(mk.into_array()));
            (seq, PassedKey { tag, mk, since: UnixMillis(since) })
        });
        let sender = Sender {
            chains: chains.into_iter().map(|wire| Receiving::from_wire(wire, from)).collect(),
            window: Window::restore(next, above.into_iter()),
            top,
            passed: passed.collect::<BTreeMap<_, _>>(),
            transcript: Transcript::from_wire(transcript),
        };
        self.tags.extend(sender.chains.iter().map(|receiving| (receiving.chain.tag, from)));
        self.senders.insert(from, sender);
        Some(())
    }
}
