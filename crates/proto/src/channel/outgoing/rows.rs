//! What of a member's own letters outlives a start: numbers and transcript. The chain does not: the next letter begins another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Outgoing;
use crate::channel::record::Record;
use crate::channel::transcript::{Transcript, TranscriptWire};
use crate::codec;
use crate::ids::{AgentId, Seq};

#[derive(Serialize, Deserialize)]
struct Row(u8, Seq, TranscriptWire);

const VERSION: u8 = 1;
const LEN_MAX: usize = 4_096;

impl Outgoing {
    /// The row: nothing in it is secret.
    #[must_use]
    pub fn to_row(&self) -> Vec<u8> {
        codec::encode(&Row(VERSION, self.next, self.transcript.to_wire()))
    }

    /// Reads a row. `acked` says of members with letters under way which is the lowest.
    #[must_use]
    pub fn from_row(record: &Record, me: AgentId, bytes: &[u8], acked: BTreeMap<AgentId, Seq>) -> Option<Self> {
        let Row(version, next, transcript) = codec::decode(bytes, LEN_MAX).ok()?;
        let transcript = Transcript::from_wire(transcript);
        (version == VERSION).then(|| Self { next, acked, transcript, ..Self::new(record, me) })
    }
}
