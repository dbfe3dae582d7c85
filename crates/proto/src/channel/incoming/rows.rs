//! What one sender's letters have moved, as a row keeps it: secret, sealed by the store.

use std::collections::BTreeMap;

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{Incoming, PassedKey, Receiving, Sender};
use crate::channel::chain::{Base, Chain};
use crate::channel::transcript::{EarlyWire, Transcript, TranscriptWire};
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
/// `[version, chains, [next, numbers above that came], top, transcript]`
#[derive(Serialize, Deserialize)]
struct Row(u8, Vec<ChainWire>, (Seq, Vec<Seq>), Seq, TranscriptWire);
/// `[version, tag, message key and time of one that has not come, its place in the transcript of one that has]`
#[derive(Serialize, Deserialize)]
struct EarlyRow(u8, Option<(ByteArray<16>, Bytes32, u64)>, Option<EarlyWire>);

/// What is to be kept of a sender, as far as it is another than before: a frame writes what it moves, however much waits.
#[derive(Debug, Default)]
#[must_use]
pub struct SenderRows {
    /// The sender's own row; `None` where nothing is kept any more.
    pub row: Option<Vec<u8>>,
    /// Rows of letters, by their numbers: written, or deleted where `None`.
    pub early: Vec<(Seq, Option<Vec<u8>>)>,
}

/// What the row of a letter has.
const PASSED: u8 = 1;
const NOTED: u8 = 2;

const VERSION: u8 = 1;
/// Chains, and a window of numbers.
const LEN_MAX: usize = 32 * 1_024;
const EARLY_LEN_MAX: usize = 256;

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

    /// What is to be kept of a sender now.
    pub fn keep(&mut self, sender: &AgentId) -> SenderRows {
        let now = self.senders.get(sender).map(Sender::rows).unwrap_or_default();
        let before = self.rows.insert(*sender, now).unwrap_or_default();
        let now = self.rows.get(sender);
        let is_new = |(seq, what): &(&Seq, &u8)| before.get(*seq) != Some(*what);
        let written = now.into_iter().flatten().filter(is_new).map(|(seq, _)| (*seq, self.early_row(sender, *seq)));
        let gone = before.keys().filter(|seq| now.is_none_or(|now| !now.contains_key(*seq))).map(|seq| (*seq, None));
        let early = written.chain(gone).collect();
        if now.is_some_and(BTreeMap::is_empty) {
            self.rows.remove(sender);
        }
        SenderRows { row: self.row_of(sender), early }
    }

    fn early_row(&self, sender: &AgentId, seq: Seq) -> Option<Vec<u8>> {
        let sender = self.senders.get(sender)?;
        let passed = sender.passed.get(&seq);
        let passed = passed.map(|key| (ByteArray::new(*key.tag.as_bytes()), bytes(&key.mk), key.since.0));
        Some(codec::encode(&EarlyRow(VERSION, passed, sender.transcript.early_wire(seq))))
    }

    /// Takes the row of a letter back, behind its sender's; `None` where it is none.
    pub fn load_early(&mut self, from: AgentId, seq: Seq, row: &[u8]) -> Option<()> {
        let EarlyRow(version, passed, early) = codec::decode(row, EARLY_LEN_MAX).ok()?;
        let sender = self.senders.get_mut(&from).filter(|_| version == VERSION)?;
        sender.passed.extend(passed.map(|(tag, mk, since)| {
            let (tag, mk) = (Tag::from_bytes(tag.into_array()), Key::new(mk.into_array()));
            (seq, PassedKey { tag, mk, since: UnixMillis(since) })
        }));
        early.into_iter().for_each(|early| sender.transcript.load_early(seq, early));
        self.rows.insert(from, sender.rows());
        Some(())
    }

    fn row_of(&self, sender: &AgentId) -> Option<Vec<u8>> {
        let sender = self.senders.get(sender)?;
        let next = sender.window.next();
        let above = (next..next.saturating_add(limit::WINDOW)).filter(|seq| sender.window.has(*seq)).collect();
        let chains = sender.chains.iter().map(Receiving::to_wire).collect();
        let row = Row(VERSION, chains, (next, above), sender.top, sender.transcript.to_wire());
        Some(codec::encode(&row))
    }

    /// Takes a row back; `None` where it is none.
    pub fn load(&mut self, from: AgentId, row: &[u8]) -> Option<()> {
        let Row(version, chains, (next, above), top, transcript) = codec::decode(row, LEN_MAX).ok()?;
        if version != VERSION {
            return None;
        }
        let sender = Sender {
            chains: chains.into_iter().map(|wire| Receiving::from_wire(wire, from)).collect(),
            window: Window::restore(next, above.into_iter()),
            top,
            passed: BTreeMap::new(),
            transcript: Transcript::from_wire(transcript),
        };
        self.tags.extend(sender.chains.iter().map(|receiving| (receiving.chain.tag, from)));
        self.senders.insert(from, sender);
        Some(())
    }
}

impl Sender {
    /// Which letters have rows of their own, and what is in them.
    fn rows(&self) -> BTreeMap<Seq, u8> {
        let mut rows: BTreeMap<Seq, u8> = self.passed.keys().map(|seq| (*seq, PASSED)).collect();
        self.transcript.early().for_each(|seq| *rows.entry(seq).or_default() |= NOTED);
        rows
    }
}
