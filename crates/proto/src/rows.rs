//! What is kept, and under which key. The first byte of a key names its tree; the store seals the values (contracts/store.md).

use crate::bundle::OneTimeRef;
use crate::ids::{AgentId, ChannelId, LetterId, PermitId, Seq, SessionId};

/// The identity record: one row.
pub const IDENTITY: u8 = b'm';
/// The statement that has retired this identity: one row, or none.
pub const RETIRED: u8 = b'x';
/// Known agents.
pub const CONTACT: u8 = b'c';
/// Session snapshots.
pub const SESSION: u8 = b's';
/// Message keys kept for letters that have not come.
pub const SKIPPED: u8 = b'k';
/// Letters that wait for an earlier one.
pub const HELD: u8 = b'h';
/// Numbers that were given up and are not acknowledged.
pub const GIVEN_UP: u8 = b'g';
/// Letters accepted by `send` and not acknowledged.
pub const OUTBOX: u8 = b'o';
/// Letters delivered and not removed by the application.
pub const INBOX: u8 = b'i';
/// The number of the next arrival, once the last one is removed: one row.
pub const NEXT_ARRIVAL: u8 = b'n';
/// Ids of letters delivered, by time of creation.
pub const SEEN: u8 = b't';
/// Signed prekeys.
pub const SIGNED_PREKEY: u8 = b'p';
/// One-time prekeys.
pub const ONE_TIME: u8 = b'q';
/// Batches of one-time prekeys.
pub const BATCH: u8 = b'b';
/// Starts without one-time prekey that were taken.
pub const START: u8 = b'e';
/// Letters of ours that failed.
pub const FAILED: u8 = b'f';
/// Re-keys under way.
pub const RENEWAL: u8 = b'w';
/// How far the chain of this agent's events is: one row.
pub const CHAIN: u8 = b'd';
/// Events that wait for the log.
pub const SPOOL: u8 = b'a';
/// What opens the commitments of letters.
pub const OPENING: u8 = b'O';
/// Where frames wait for this agent, and the secret that its node has: one row.
pub const MAILBOX: u8 = b'B';
/// What a contact was given of our mailbox, and what it gave of its own.
pub const MAILBOX_OF: u8 = b'l';
/// Frames that were left at a node.
pub const DEPOSITED: u8 = b'v';
/// Batches of one-time prekeys that are the directory's.
pub const LISTED: u8 = b'y';
/// Entries of channels' records.
pub const CHANNEL_ENTRY: u8 = b'j';
/// What this agent itself is in a channel.
pub const CHANNEL_OWN: u8 = b'z';
/// Letters to a channel that wait for earlier ones, or for the record.
pub const CHANNEL_HELD: u8 = b'Z';
/// What the letters of a channel's other members have moved.
pub const CHANNEL_SENDER: u8 = b'N';
/// Of them each that came before an earlier one, or has not come: what opens it, or its place in the transcript.
pub const CHANNEL_EARLY: u8 = b'1';
/// Chains of them that are over, of which letters are missing.
pub const CHANNEL_CHAIN: u8 = b'2';
/// Letters to a channel that were sealed once for all, and are not acknowledged by all.
pub const CHANNEL_OUT: u8 = b'G';
/// At whose nodes such letters were left, and when.
pub const CHANNEL_MAILED: u8 = b'T';
/// Below which number of this agent's letters a member of a channel has all that were sealed once.
pub const CHANNEL_ACKED: u8 = b'u';
/// Chains of a channel that were handed over in an epoch that is not known here.
pub const CHANNEL_KEY: u8 = b'E';
/// Invitations into channels.
pub const CHANNEL_INVITED: u8 = b'J';
/// Channels that were forgotten.
pub const CHANNEL_FORGOTTEN: u8 = b'0';
/// Permits: given, shown, held, handed on.
pub const PERMIT: u8 = b'3';
/// Links of permits that were revoked.
pub const PERMIT_OVER: u8 = b'4';
/// Agents that were removed: no link of a permit that they have signed counts.
pub const PERMIT_REMOVED: u8 = b'5';
/// A node's identity: in no agent's home.
pub const NODE_IDENTITY: u8 = b'M';
/// Kept by the runtime, not read by the core.
pub const RUNTIME: u8 = b'r';

fn key(tree: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tree);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

pub(crate) fn identity() -> Vec<u8> {
    vec![IDENTITY]
}

pub(crate) fn retired() -> Vec<u8> {
    vec![RETIRED]
}

pub(crate) fn next_arrival() -> Vec<u8> {
    vec![NEXT_ARRIVAL]
}

pub(crate) fn mailbox() -> Vec<u8> {
    vec![MAILBOX]
}

pub(crate) fn mailbox_of(agent: &AgentId) -> Vec<u8> {
    key(MAILBOX_OF, &[agent.as_bytes()])
}

pub(crate) fn contact(agent: &AgentId) -> Vec<u8> {
    key(CONTACT, &[agent.as_bytes()])
}

pub(crate) fn session(id: &SessionId) -> Vec<u8> {
    key(SESSION, &[id.as_bytes()])
}

pub(crate) fn of_session(tree: u8, id: &SessionId, seq: Seq) -> Vec<u8> {
    key(tree, &[id.as_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn renewal(id: &SessionId) -> Vec<u8> {
    key(RENEWAL, &[id.as_bytes()])
}

/// The row of a letter in the inbox.
#[must_use]
pub fn inbox(no: u64) -> Vec<u8> {
    numbered(INBOX, no)
}

/// The row of a tree whose rows are numbered.
#[must_use]
pub fn numbered(tree: u8, no: u64) -> Vec<u8> {
    key(tree, &[&no.to_be_bytes()])
}

/// The row that a delivered letter leaves. Ids carry their time, so old rows come first.
#[must_use]
pub fn seen(from: &AgentId, letter: &LetterId) -> Vec<u8> {
    key(SEEN, &[letter.as_bytes(), from.as_bytes()])
}

/// The row of what opens a letter's commitment, by who wrote the letter.
#[must_use]
pub fn opening(author: &AgentId, letter: &LetterId) -> Vec<u8> {
    key(OPENING, &[letter.as_bytes(), author.as_bytes()])
}

/// The row that a failed letter of ours leaves: who it was for, and why.
#[must_use]
pub fn failed(letter: &LetterId) -> Vec<u8> {
    key(FAILED, &[letter.as_bytes()])
}

pub(crate) fn channel_entry(channel: &ChannelId, number: u32) -> Vec<u8> {
    key(CHANNEL_ENTRY, &[channel.as_bytes(), &number.to_be_bytes()])
}

pub(crate) fn channel_own(channel: &ChannelId) -> Vec<u8> {
    key(CHANNEL_OWN, &[channel.as_bytes()])
}

pub(crate) fn channel_held(channel: &ChannelId, no: u64) -> Vec<u8> {
    key(CHANNEL_HELD, &[channel.as_bytes(), &no.to_be_bytes()])
}

pub(crate) fn channel_sender(channel: &ChannelId, sender: &AgentId) -> Vec<u8> {
    key(CHANNEL_SENDER, &[channel.as_bytes(), sender.as_bytes()])
}

pub(crate) fn channel_early(channel: &ChannelId, sender: &AgentId, seq: Seq) -> Vec<u8> {
    key(CHANNEL_EARLY, &[channel.as_bytes(), sender.as_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn channel_chain(channel: &ChannelId, sender: &AgentId, first: Seq) -> Vec<u8> {
    key(CHANNEL_CHAIN, &[channel.as_bytes(), sender.as_bytes(), &first.to_be_bytes()])
}

pub(crate) fn channel_key(channel: &ChannelId, sender: &AgentId, first: Seq) -> Vec<u8> {
    key(CHANNEL_KEY, &[channel.as_bytes(), sender.as_bytes(), &first.to_be_bytes()])
}

/// The row in which an earlier version kept them together.
pub(crate) fn channel_keys(channel: &ChannelId, sender: &AgentId) -> Vec<u8> {
    key(CHANNEL_KEY, &[channel.as_bytes(), sender.as_bytes()])
}

pub(crate) fn channel_out(channel: &ChannelId, seq: Seq) -> Vec<u8> {
    key(CHANNEL_OUT, &[channel.as_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn channel_mailed(channel: &ChannelId, seq: Seq) -> Vec<u8> {
    key(CHANNEL_MAILED, &[channel.as_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn channel_acked(channel: &ChannelId, member: &AgentId) -> Vec<u8> {
    key(CHANNEL_ACKED, &[channel.as_bytes(), member.as_bytes()])
}

pub(crate) fn channel_invited(channel: &ChannelId) -> Vec<u8> {
    key(CHANNEL_INVITED, &[channel.as_bytes()])
}

pub(crate) fn channel_forgotten(channel: &ChannelId) -> Vec<u8> {
    key(CHANNEL_FORGOTTEN, &[channel.as_bytes()])
}

pub(crate) fn permit(holder: &AgentId, id: &PermitId) -> Vec<u8> {
    key(PERMIT, &[holder.as_bytes(), id.as_bytes()])
}

pub(crate) fn permit_over(id: &PermitId) -> Vec<u8> {
    key(PERMIT_OVER, &[id.as_bytes()])
}

pub(crate) fn permit_removed(agent: &AgentId) -> Vec<u8> {
    key(PERMIT_REMOVED, &[agent.as_bytes()])
}

/// Takes a key apart: the channel, and the number behind it.
pub(crate) fn split_of_channel<const N: usize>(key: &[u8]) -> Option<(ChannelId, [u8; N])> {
    let (id, rest) = key.get(1..)?.split_first_chunk::<32>()?;
    Some((ChannelId::from_bytes(*id), rest.try_into().ok()?))
}

pub(crate) fn signed_prekey(id: u32) -> Vec<u8> {
    key(SIGNED_PREKEY, &[&id.to_be_bytes()])
}

pub(crate) fn one_time(at: OneTimeRef) -> Vec<u8> {
    key(ONE_TIME, &[&at.batch.to_be_bytes(), &at.index.to_be_bytes()])
}

pub(crate) fn batch(number: u32) -> Vec<u8> {
    key(BATCH, &[&number.to_be_bytes()])
}

pub(crate) fn listed(number: u32) -> Vec<u8> {
    key(LISTED, &[&number.to_be_bytes()])
}

pub(crate) fn start(ephemeral: &[u8; 32]) -> Vec<u8> {
    key(START, &[ephemeral])
}

/// Takes a key apart: session and number.
pub(crate) fn split_of_session(key: &[u8]) -> Option<(SessionId, Seq)> {
    let (id, seq) = key.get(1..)?.split_first_chunk::<32>()?;
    Some((SessionId::from_bytes(*id), u64::from_be_bytes(seq.try_into().ok()?)))
}

/// Takes a key apart: its number.
#[must_use]
pub fn split_numbered(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// Takes a key apart: its 32 bytes.
pub(crate) fn split_32(key: &[u8]) -> Option<[u8; 32]> {
    key.get(1..)?.try_into().ok()
}
