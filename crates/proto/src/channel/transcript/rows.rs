//! A transcript as a row keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{Short, Transcript};
use crate::ids::{ChainId, Seq};

type Bytes32 = ByteArray<32>;

/// Of the hashes behind letters the newest alone is kept: what others say of older ones is not compared after a start.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct TranscriptWire(Option<Bytes32>, Seq, Option<ByteArray<16>>, Vec<(Seq, Bytes32)>);

/// A letter that came before an earlier one.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct EarlyWire(Bytes32, Bytes32);

impl Transcript {
    pub(in super::super) fn to_wire(&self) -> TranscriptWire {
        TranscriptWire(
            self.run.map(ByteArray::new),
            self.next,
            self.recent.back().copied().map(ByteArray::new),
            self.marks.iter().map(|(seq, run)| (*seq, ByteArray::new(*run))).collect(),
        )
    }

    pub(in super::super) fn from_wire(wire: TranscriptWire) -> Self {
        let TranscriptWire(run, next, newest, marks) = wire;
        Self {
            run: run.map(ByteArray::into_array),
            next,
            recent: newest.map(|newest: ByteArray<16>| -> Short { newest.into_array() }).into_iter().collect(),
            early: BTreeMap::new(),
            marks: marks.into_iter().map(|(seq, run)| (seq, run.into_array())).collect(),
        }
    }

    /// Numbers of letters that came before an earlier one: each has a row of its own.
    pub(in super::super) fn early(&self) -> impl Iterator<Item = Seq> + '_ {
        self.early.keys().copied()
    }

    pub(in super::super) fn early_wire(&self, seq: Seq) -> Option<EarlyWire> {
        let (chain, digest) = self.early.get(&seq)?;
        Some(EarlyWire(ByteArray::new(*chain.as_bytes()), ByteArray::new(*digest)))
    }

    pub(in super::super) fn load_early(&mut self, seq: Seq, EarlyWire(chain, digest): EarlyWire) {
        self.early.insert(seq, (ChainId::from_bytes(chain.into_array()), digest.into_array()));
    }
}
