//! An event in JSON, for people and programs that read no CBOR (contracts/openapi/node.yaml, `Event`).

use data_encoding::HEXLOWER;
use nuncio_contracts::registry::{code, event};
use nuncio_proto::audit::{EventChannel, EventPeer, Head, SignedEvent};
use serde::Serialize;

/// An event of a log. What is not known is absent.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// Where in the log.
    pub index: u64,
    /// Its hash.
    pub hash: String,
    /// Who says so.
    pub agent: String,
    /// Which count of the agent's.
    pub epoch: u64,
    /// Its number in it.
    pub seq: u64,
    /// The agent's clock, in Unix milliseconds.
    pub at_ms: u64,
    /// What happened, by its name in the registry.
    pub what: &'static str,
    /// Why it did not, by its name in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// With whom: a DID, or 16 bytes in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// In which channel: its id, or 16 bytes in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// In which transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Hash of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The letter's commitment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commitment: Option<String>,
    /// A content type, a tool's name, a token's scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Bits in the payload's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u8>,
    /// The peer's newest event that was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<ToldHead>,
}

/// The newest event of a chain.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToldHead {
    /// Of which count.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Told {
    /// Of an entry of a log.
    #[must_use]
    pub fn new(index: u64, signed: &SignedEvent) -> Self {
        let said = signed.event();
        let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
        Self {
            index,
            hash: hex(&signed.hash()),
            agent: said.agent.to_string(),
            epoch: said.epoch,
            seq: said.seq,
            at_ms: said.at.0,
            what: event::name(said.what.number()),
            outcome: said.outcome.map(code::name),
            peer: said.peer.map(|peer| match peer {
                EventPeer::Agent(agent) => agent.to_string(),
                EventPeer::Pseudonym(pseudonym) => hex(&pseudonym),
            }),
            channel: said.channel.map(|channel| match channel {
                EventChannel::Id(id) => id.to_string(),
                EventChannel::Pseudonym(pseudonym) => hex(&pseudonym),
            }),
            transaction: said.transaction.clone(),
            token: said.token.map(|hash| hex(&hash)),
            commitment: said.commitment.map(|commitment| hex(&commitment)),
            kind: said.kind.clone(),
            size: said.size,
            head: said.head.map(|Head { epoch, seq, hash }| ToldHead { epoch, seq, hash: hex(&hash) }),
        }
    }
}
