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
/// `[version, the newest chain, [next, numbers above that came], top, transcript]`
#[derive(Serialize, Deserialize)]
struct Row(u8, Vec<ChainWire>, (Seq, Vec<Seq>), Seq, TranscriptWire);
/// `[version, chain]`, one that is over
#[derive(Serialize, Deserialize)]
struct ChainRow(u8, ChainWire);
/// `[version, tag, message key and time of one that has not come, its place in the transcript of one that has]`
#[derive(Serialize, Deserialize)]
struct EarlyRow(u8, Option<(ByteArray<16>, Bytes32, u64)>, Option<EarlyWire>);

/// What is to be kept of a sender, as far as it is another than before: a frame writes what it moves, however much waits.
#[derive(Debug, Default)]
#[must_use]
pub struct SenderRows {
    /// The sender's own row; `None` where nothing is kept any more.
    pub row: Option<Vec<u8>>,
    /// Rows of chains that are over, by the numbers of their first letters: written, or deleted where `None`.
    pub chains: Vec<(Seq, Option<Vec<u8>>)>,
    /// Rows of letters, by their numbers: written, or deleted where `None`.
    pub early: Vec<(Seq, Option<Vec<u8>>)>,
}

/// What of a sender has rows of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Chains that are over: as far as each was stepped, and where it ends.
    chains: BTreeMap<Seq, (Seq, Seq)>,
    /// Letters: what is in the row of each.
    early: BTreeMap<Seq, u8>,
}

/// What the row of a letter has.
const PASSED: u8 = 1;
const NOTED: u8 = 2;

const VERSION: u8 = 1;
/// Chains, in earlier versions several, and a window of numbers.
const LEN_MAX: usize = 32 * 1_024;
const EARLY_LEN_MAX: usize = 256;
const CHAIN_LEN_MAX: usize = 512;

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
        let before = self.rows.remove(sender).unwrap_or_default();
        let chains = moved(&before.chains, &now.chains, |first| self.chain_row(sender, first));
        let early = moved(&before.early, &now.early, |seq| self.early_row(sender, seq));
        if now != Kept::default() {
            self.rows.insert(*sender, now);
        }
        SenderRows { row: self.row_of(sender), chains, early }
    }

    fn chain_row(&self, sender: &AgentId, first: Seq) -> Option<Vec<u8>> {
        let chain = self.senders.get(sender)?.chains.get(&first)?;
        Some(codec::encode(&ChainRow(VERSION, chain.to_wire())))
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
        let what = passed.as_ref().map_or(0, |_| PASSED) | early.as_ref().map_or(0, |_| NOTED);
        self.rows.entry(from).or_default().early.insert(seq, what);
        sender.passed.extend(passed.map(|(tag, mk, since)| {
            let (tag, mk) = (Tag::from_bytes(tag.into_array()), Key::new(mk.into_array()));
            (seq, PassedKey { tag, mk, since: UnixMillis(since) })
        }));
        early.into_iter().for_each(|early| sender.transcript.load_early(seq, early));
        Some(())
    }

    /// Takes the row of a chain that is over back, behind its sender's; `None` where it is none.
    pub fn load_chain(&mut self, from: AgentId, first: Seq, row: &[u8]) -> Option<()> {
        let ChainRow(version, wire) = codec::decode(row, CHAIN_LEN_MAX).ok()?;
        let receiving = Receiving::from_wire(wire, from);
        let is_its = version == VERSION && receiving.chain.base.first == first;
        let sender = self.senders.get_mut(&from).filter(|_| is_its)?;
        self.rows.entry(from).or_default().chains.insert(first, (receiving.chain.next, receiving.end));
        self.tags.insert(receiving.chain.tag, (from, first));
        sender.chains.insert(first, receiving);
        Some(())
    }

    fn row_of(&self, sender: &AgentId) -> Option<Vec<u8>> {
        let sender = self.senders.get(sender)?;
        let next = sender.window.next();
        let above = (next..next.saturating_add(limit::WINDOW)).filter(|seq| sender.window.has(*seq)).collect();
        let chains = sender.chains.values().next_back().map(Receiving::to_wire).into_iter().collect();
        let row = Row(VERSION, chains, (next, above), sender.top, sender.transcript.to_wire());
        Some(codec::encode(&row))
    }

    /// Takes a row back; `None` where it is none.
    pub fn load(&mut self, from: AgentId, row: &[u8]) -> Option<()> {
        let Row(version, chains, (next, above), top, transcript) = codec::decode(row, LEN_MAX).ok()?;
        if version != VERSION {
            return None;
        }
        let chains = chains.into_iter().map(|wire| Receiving::from_wire(wire, from));
        let sender = Sender {
            chains: chains.map(|receiving| (receiving.chain.base.first, receiving)).collect(),
            window: Window::restore(next, above.into_iter()),
            top,
            passed: BTreeMap::new(),
            transcript: Transcript::from_wire(transcript),
        };
        self.tags.extend(sender.chains.iter().map(|(first, receiving)| (receiving.chain.tag, (from, *first))));
        self.senders.insert(from, sender);
        Some(())
    }
}

impl Sender {
    /// What has rows of its own.
    fn rows(&self) -> Kept {
        let mut early: BTreeMap<Seq, u8> = self.passed.keys().map(|seq| (*seq, PASSED)).collect();
        self.transcript.early().for_each(|seq| *early.entry(seq).or_default() |= NOTED);
        let over = self.chains.iter().rev().skip(1);
        let chains = over.map(|(first, receiving)| (*first, (receiving.chain.next, receiving.end))).collect();
        Kept { chains, early }
    }
}

/// Rows that are another than before, and those that go.
fn moved<T: PartialEq>(
    before: &BTreeMap<Seq, T>,
    now: &BTreeMap<Seq, T>,
    row: impl Fn(Seq) -> Option<Vec<u8>>,
) -> Vec<(Seq, Option<Vec<u8>>)> {
    let written = now.iter().filter(|(seq, what)| before.get(*seq) != Some(*what)).map(|(seq, _)| (*seq, row(*seq)));
    let gone = before.keys().filter(|seq| !now.contains_key(*seq)).map(|seq| (*seq, None));
    written.chain(gone).collect()
}
