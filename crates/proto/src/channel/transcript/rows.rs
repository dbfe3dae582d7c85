//! A transcript as a row keeps it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{Short, Transcript};
use crate::ids::{ChainId, Seq};

type Bytes32 = ByteArray<32>;

/// Of the hashes behind letters the newest alone is kept: what others say of older ones is not compared after a start.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct TranscriptWire(
    Option<Bytes32>,
    Seq,
    Option<ByteArray<16>>,
    Vec<(Seq, Bytes32, Bytes32)>,
    Vec<(Seq, Bytes32)>,
);

impl Transcript {
    pub(in super::super) fn to_wire(&self) -> TranscriptWire {
        let early = self.early.iter();
        TranscriptWire(
            self.run.map(ByteArray::new),
            self.next,
            self.recent.back().copied().map(ByteArray::new),
            early
                .map(|(seq, (chain, digest))| (*seq, ByteArray::new(*chain.as_bytes()), ByteArray::new(*digest)))
                .collect(),
            self.marks.iter().map(|(seq, run)| (*seq, ByteArray::new(*run))).collect(),
        )
    }

    pub(in super::super) fn from_wire(wire: TranscriptWire) -> Self {
        let TranscriptWire(run, next, newest, early, marks) = wire;
        let early = early
            .into_iter()
            .map(|(seq, chain, digest)| (seq, (ChainId::from_bytes(chain.into_array()), digest.into_array())));
        Self {
            run: run.map(ByteArray::into_array),
            next,
            recent: newest.map(|newest: ByteArray<16>| -> Short { newest.into_array() }).into_iter().collect(),
            early: early.collect(),
            marks: marks.into_iter().map(|(seq, run)| (seq, run.into_array())).collect(),
        }
    }
}
