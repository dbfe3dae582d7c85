//! What a node keeps, row by row (contracts/store.md section 4).

use nuncio_proto::bundle::OneTimeRef;
use nuncio_proto::codec;
use nuncio_proto::ids::AgentId;
use nuncio_proto::time::UnixMillis;
use nuncio_store::Op;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::error::NodeError;

/// The node's identity, as an agent's. Another tree than an agent's, so that neither opens the other's home.
pub(crate) const IDENTITY: &[u8] = &[nuncio_proto::rows::NODE_IDENTITY];
pub(crate) const TOKEN_KEYS: u8 = b'K';
pub(crate) const REVOKED: u8 = b'R';
/// `serial` of the list of revoked transactions.
pub(crate) const SERIAL: &[u8] = b"S";
pub(crate) const RECORDS: u8 = b'A';
/// Ids that requests used up, of records that have left: by the time until which they are kept.
pub(crate) const USED: u8 = b'U';
/// Entries of the log that are in no full bundle yet, by the index of the first.
pub(crate) const LOG_ENTRIES: u8 = b'L';
/// How many entries are in full bundles.
pub(crate) const LOG_FILED: &[u8] = b"F";
/// The newest head of the log that was signed.
pub(crate) const LOG_SIGNED: &[u8] = b"H";
/// A head of the log that it has signed and does not have: shown by an agent.
pub(crate) const LOG_SHOWN: &[u8] = b"X";
/// The newest event of each agent.
pub(crate) const CHAIN: u8 = b'C';
/// Where in the log the events of an agent are, 64 to a row.
pub(crate) const EVENT_AT: u8 = b'I';
/// The key of a witness, in a home of its own.
pub(crate) const WITNESS_KEY: &[u8] = b"w";
/// In the same, of each log the head that was cosigned last.
pub(crate) const WITNESSED: u8 = b'W';
/// Where in the log an event is that tells another story than its agent told under that number.
pub(crate) const OTHER_STORY: u8 = b'Q';
/// What the directory has of an agent.
pub(crate) const LISTING: u8 = b'D';
/// One-time prekeys of the directory that were given to nobody.
pub(crate) const LISTED: u8 = b'P';
/// A mailbox: its secret, and the highest number of a frame that left it.
pub(crate) const MAILBOX: u8 = b'Y';
/// Frames that wait for an agent, by their numbers.
pub(crate) const FRAME: u8 = b'V';

/// What the rows of a tree of a node's home are, by the first byte of their keys; `None` of a tree that is not a node's.
#[must_use]
pub const fn tree_name(tree: u8) -> Option<&'static str> {
    match tree {
        b'M' => Some("node's identity"),
        TOKEN_KEYS => Some("token keys"),
        REVOKED => Some("revoked transactions"),
        b'S' => Some("revocations' serial"),
        RECORDS => Some("records"),
        USED => Some("ids that were used up"),
        LOG_ENTRIES => Some("log entries in no bundle yet"),
        b'F' => Some("log entries in bundles: how many"),
        b'H' => Some("log's newest head"),
        b'X' => Some("head that the log has lost"),
        CHAIN => Some("agents in the log"),
        EVENT_AT => Some("places of events in the log"),
        OTHER_STORY => Some("events that tell another story"),
        LISTING => Some("agents in the directory"),
        LISTED => Some("one-time prekeys in the directory"),
        MAILBOX => Some("mailboxes"),
        FRAME => Some("frames in mailboxes"),
        _ => None,
    }
}

const VERSION: u8 = 1;
/// In version 1 a key that was over had its secret still.
const TOKEN_KEY_VERSION: u8 = 2;
const TOKEN_KEY_LEN_MAX: usize = 4096;

/// Whether a key that signs tokens is the next, the one in use, or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Next,
    Signs,
    Over,
}

/// A key that signs tokens, at rest.
pub(crate) struct TokenKeyRow {
    pub(crate) algorithm: u8,
    /// The secret; of a key that is over the public half.
    pub(crate) half: Vec<u8>,
    pub(crate) stage: Stage,
    /// Since when it is what it is.
    pub(crate) since: UnixMillis,
}

#[derive(Serialize, Deserialize)]
struct TokenKeyWire(u8, u8, ByteBuf, u8, u64);

impl TokenKeyRow {
    pub(crate) fn put(self, number: u32) -> Op {
        let stage = match self.stage {
            Stage::Next => 0,
            Stage::Signs => 1,
            Stage::Over => 2,
        };
        let wire = TokenKeyWire(TOKEN_KEY_VERSION, self.algorithm, ByteBuf::from(self.half), stage, self.since.0);
        Op::Put { key: token_key(number), value: codec::encode(&wire) }
    }

    /// Number and key of a row.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<(u32, Self), NodeError> {
        let damaged = || NodeError::Record("a token key");
        let number = key.get(1..).and_then(|number| number.try_into().ok()).map(u32::from_be_bytes);
        let TokenKeyWire(version, algorithm, half, stage, since) =
            codec::decode(value, TOKEN_KEY_LEN_MAX).map_err(|_| damaged())?;
        let stage = match (version, stage) {
            (VERSION | TOKEN_KEY_VERSION, 0) => Stage::Next,
            (VERSION | TOKEN_KEY_VERSION, 1) => Stage::Signs,
            (VERSION | TOKEN_KEY_VERSION, 2) => Stage::Over,
            _ => return Err(damaged()),
        };
        let row = Self { algorithm, half: half.into_vec(), stage, since: UnixMillis(since) };
        Ok((number.ok_or_else(damaged)?, row))
    }
}

pub(crate) fn witnessed(origin: &str) -> Vec<u8> {
    [&[WITNESSED], origin.as_bytes()].concat()
}

pub(crate) fn log_entries(first: u64) -> Vec<u8> {
    [&[LOG_ENTRIES], first.to_be_bytes().as_slice()].concat()
}

pub(crate) fn chain(agent: &AgentId) -> Vec<u8> {
    [&[CHAIN], agent.as_bytes().as_slice()].concat()
}

pub(crate) fn events_at(agent: &AgentId, epoch: u64, block: u64) -> Vec<u8> {
    numbered(EVENT_AT, agent, epoch, block)
}

pub(crate) fn other_story(agent: &AgentId, epoch: u64, seq: u64) -> Vec<u8> {
    numbered(OTHER_STORY, agent, epoch, seq)
}

pub(crate) fn listing(agent: &AgentId) -> Vec<u8> {
    [&[LISTING], agent.as_bytes().as_slice()].concat()
}

pub(crate) fn listed(agent: &AgentId, at: OneTimeRef) -> Vec<u8> {
    [&[LISTED], agent.as_bytes().as_slice(), &at.batch.to_be_bytes(), &at.index.to_be_bytes()].concat()
}

pub(crate) fn mailbox(agent: &AgentId) -> Vec<u8> {
    [&[MAILBOX], agent.as_bytes().as_slice()].concat()
}

pub(crate) fn frame(agent: &AgentId, number: u64) -> Vec<u8> {
    [&[FRAME], agent.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// For whom a frame's row is, and its number.
pub(crate) fn split_frame(key: &[u8]) -> Option<(AgentId, u64)> {
    let (agent, number) = key.get(1..)?.split_first_chunk()?;
    Some((AgentId::from_bytes(*agent).ok()?, u64::from_be_bytes(number.try_into().ok()?)))
}

/// Whose one-time prekey a row is, and which one.
pub(crate) fn split_listed(key: &[u8]) -> Option<(AgentId, OneTimeRef)> {
    let (agent, at) = key.get(1..)?.split_first_chunk()?;
    let (batch, index) = at.split_first_chunk()?;
    let at = OneTimeRef { batch: u32::from_be_bytes(*batch), index: u16::from_be_bytes(index.try_into().ok()?) };
    Some((AgentId::from_bytes(*agent).ok()?, at))
}

fn numbered(tree: u8, agent: &AgentId, epoch: u64, number: u64) -> Vec<u8> {
    [&[tree], agent.as_bytes().as_slice(), &epoch.to_be_bytes(), &number.to_be_bytes()].concat()
}

pub(crate) fn token_key(number: u32) -> Vec<u8> {
    [&[TOKEN_KEYS], number.to_be_bytes().as_slice()].concat()
}

/// Ids that were used up, kept until the last of them could not serve any more.
pub(crate) fn used(until_s: u64, random: [u8; 10]) -> Vec<u8> {
    [&[USED], until_s.to_be_bytes().as_slice(), &random].concat()
}

/// A revoked transaction: until when it is kept, in seconds.
pub(crate) fn revoked(txn: &str, exp: u64) -> Op {
    Op::Put { key: revoked_key(txn), value: codec::encode(&(VERSION, exp)) }
}

pub(crate) fn revoked_key(txn: &str) -> Vec<u8> {
    [&[REVOKED], txn.as_bytes()].concat()
}

pub(crate) fn serial(serial: u64) -> Op {
    Op::Put { key: SERIAL.to_vec(), value: codec::encode(&(VERSION, serial)) }
}

/// Reads a value of [`revoked`] or [`serial`].
pub(crate) fn number(value: &[u8]) -> Result<u64, NodeError> {
    match codec::decode::<(u8, u64)>(value, 16) {
        Ok((VERSION, number)) => Ok(number),
        _ => Err(NodeError::Record("a revocation")),
    }
}
