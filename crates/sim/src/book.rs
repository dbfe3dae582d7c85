//! What was promised and what was seen: the invariants of a run, kept from what became durable.

use std::collections::{BTreeMap, BTreeSet};

use nuncio_contracts::registry::{code, limit};
use nuncio_proto::channel::{ChannelFrame, MAC_LEN};
use nuncio_proto::error::{LoadError, PeerError};
use nuncio_proto::frame::{Frame, Nonce};
use nuncio_proto::ids::{AgentId, LetterId};
use nuncio_proto::rows;
use nuncio_proto::step::{Arrival, Effect, Op};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::TokenHash;

use crate::disk::Durable;
use crate::guard::{Guard, Wrong};
use crate::net::Who;

/// One letter, as its writer meant it.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its writer.
    pub from: Who,
    /// Its reader.
    pub to: Who,
    /// Its place among all letters of this pair.
    pub index: u64,
    /// What it says.
    pub payload: Vec<u8>,
    /// When its writer would rather not have it delivered.
    pub deadline: Option<UnixMillis>,
    /// Somebody asked for it to be taken back.
    pub cancelled: bool,
    /// When it was written, by the world's time.
    pub written_ms: u64,
    /// Its token, if it carries one.
    pub token: Option<Token>,
}

/// The token of a letter, and what became of it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The transaction.
    pub txn: String,
    /// Every token that the letter was ever given.
    pub given: BTreeSet<TokenHash>,
    /// The first of them was another pair's.
    pub stolen: bool,
    /// How often it was sealed again for its token, or waited for a fresh one: it may come after later letters.
    pub again: u32,
    /// Its writer gave it up.
    pub given_up: bool,
}

impl Written {
    fn gave(&self, token: Option<TokenHash>) -> bool {
        token.is_none_or(|hash| self.token.as_ref().is_some_and(|token| token.given.contains(&hash)))
    }

    /// Letters that may overtake each other: what was taken back may come from an old session, late, and what was sealed again for its token has
    /// a higher number than letters that were written after it.
    fn keeps_order(&self) -> bool {
        !self.cancelled && self.token.as_ref().is_none_or(|token| token.again == 0)
    }
}

/// Every letter ever handed to an agent.
pub type Letters = BTreeMap<LetterId, Written>;

/// How a letter ended, by its sender's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The peer has it on disk.
    Delivered,
    /// It will not be delivered; why.
    Failed(u16),
}

/// What one agent's disk says, from the beginning of the run or of the backup that it was restored from.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Letters accepted, and how they ended.
    pub sent: BTreeMap<LetterId, Option<Told>>,
    /// Letters that were delivered to the inbox.
    pub inbox: BTreeSet<LetterId>,
    /// The number of the next arrival, at least.
    next_arrival: u64,
    /// By sender: the index of the last letter delivered.
    last: BTreeMap<Who, u64>,
    /// Nonces of the frames that left, and hashes of the frames. Never forgotten.
    nonces: BTreeMap<Nonce, u64>,
}

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Exactly once.
    #[error("{0} was delivered twice")]
    Twice(LetterId),
    /// In order.
    #[error("{letter} is number {index} of its pair and came after number {last}")]
    OutOfOrder {
        /// The letter.
        letter: LetterId,
        /// Its index.
        index: u64,
        /// The index of the letter delivered before.
        last: u64,
    },
    /// Delivered to the wrong agent, altered, or never accepted from anybody.
    #[error("{0} was delivered and is no letter that was accepted for this agent from this sender")]
    Stray(LetterId),
    /// A letter was delivered with a token that does not allow it.
    #[error("{letter} was delivered, and its token is {wrong}")]
    Token {
        /// The letter.
        letter: LetterId,
        /// What is wrong.
        wrong: Wrong,
    },
    /// A letter that its receiver refused, as its sender was told, was delivered.
    #[error("{letter} was delivered, and its sender was told that it was refused: {code}")]
    Both {
        /// The letter.
        letter: LetterId,
        /// The code.
        code: u16,
    },
    /// Told as delivered.
    #[error("{0} was called delivered and is not in the peer's inbox")]
    Phantom(LetterId),
    /// Told as failed.
    #[error("{letter} failed with code {code} for no reason")]
    NoCause {
        /// The letter.
        letter: LetterId,
        /// The code.
        code: u16,
    },
    /// At the end.
    #[error("{0} was accepted, and its sender never heard how it ended")]
    Untold(LetterId),
    /// A nonce under which two different frames left an agent.
    #[error("agent {0} sealed two frames under one nonce")]
    NonceReused(Who),
    /// `next` gives step after step.
    #[error("agent {0} never comes to rest")]
    Restless(Who),
    /// `next_wake` names a time that has passed, though there is nothing to do.
    #[error("agent {0} wants to be woken in the past")]
    WakeInPast(Who),
    /// More events than any run has reason for.
    #[error("{0} events, and no end")]
    Endless(u64),
    /// Frames are sent although all letters are settled.
    #[error("{0} frames were sent though there was nothing left to do")]
    Chatter(u64),
    /// An altered frame was taken.
    #[error("agent {0} took a forged frame")]
    Forged(Who),
    /// The agent does not come back after a crash.
    #[error("agent {0} does not load: {1}")]
    Load(Who, LoadError),
    /// What was loaded is not what was in memory.
    #[error("agent {0} has another state on disk than in memory")]
    Reload(Who),
    /// A step that its own peer would not have.
    #[error("agent {0}: {1}")]
    Step(Who, PeerError),
    /// A number of the inbox that was used before.
    #[error("agent {0} used the inbox number {1} twice")]
    ArrivalNumber(Who, u64),
    /// More rows of a kind than the registry allows, or rows that nothing needs.
    #[error("agent {who} keeps {count} rows in tree {tree}")]
    Rows {
        /// The agent.
        who: Who,
        /// The tree.
        tree: char,
        /// How many.
        count: usize,
    },
    /// At the end two agents seal in different sessions, or keep more than they need.
    #[error("agents {0} and {1} do not share one session at the end")]
    Apart(Who, Who),
    /// A letter to a channel was heard by, or of, who is no member as its reader knows, or was none in its epoch.
    #[error("{0} was delivered, and its author or its reader is no member")]
    Outsider(LetterId),
    /// A letter was heard in front of the one that it answers, which was young.
    #[error("{0} was delivered in front of what it answers")]
    Early(LetterId),
    /// At the end.
    #[error("agent {0} has another record of the channel than its owner")]
    Parted(Who),
    /// An agent believes to be a member, and is none.
    #[error("agent {0} was taken out of the channel and never heard of it")]
    Unaware(Who),
    /// Chains are deleted with the entry that takes their sender out.
    #[error("agent {0} keeps a chain of who is no member")]
    Chain(Who),
    /// A letter to a channel that a member never got.
    #[error("{letter} never came to agent {to}, which was told as {told:?}")]
    Lost {
        /// The letter.
        letter: LetterId,
        /// The member.
        to: Who,
        /// What its sender was told.
        told: Told,
    },
    /// Honest agents, one of which says that another lies.
    #[error("agent {0} says that another lies: {1}")]
    Accused(Who, String),
    /// A session was replaced although nobody had lost anything.
    #[error("agent {0} began {1} handshakes for no reason")]
    Handshakes(Who, u64),
}

impl Book {
    /// Takes note of a durable step: which letters it settled.
    pub fn note(
        &mut self,
        me: Who,
        done: &Durable,
        letters: &Letters,
        ids: &[AgentId],
        ordered: bool,
    ) -> Result<Vec<(LetterId, Told)>, Violation> {
        if let Some(letter) = done.accepts {
            self.sent.insert(letter, None);
        }
        for op in &done.ops {
            if let Op::Put { key, value } = op
                && key.first() == Some(&rows::INBOX)
            {
                self.arrive(me, key, value, letters, ids, ordered)?;
            }
        }
        let mut told = Vec::new();
        for effect in &done.effects {
            let (letter, how) = match effect {
                Effect::Delivered { letter, .. } => (*letter, Told::Delivered),
                Effect::Failed { letter, code, .. } => (*letter, Told::Failed(*code)),
                _ => continue,
            };
            self.sent.insert(letter, Some(how));
            told.push((letter, how));
        }
        Ok(told)
    }

    fn arrive(
        &mut self,
        me: Who,
        key: &[u8],
        value: &[u8],
        letters: &Letters,
        ids: &[AgentId],
        ordered: bool,
    ) -> Result<(), Violation> {
        let stray = Violation::Stray(LetterId::from_bytes([0; 16]));
        let arrival = Arrival::from_row(key, value).ok_or(stray)?;
        let id = arrival.letter.id;
        let written = letters.get(&id).filter(|written| {
            written.to == me
                && ids.get(written.from) == Some(&arrival.from)
                && written.payload == arrival.letter.payload
        });
        let written = written.ok_or(Violation::Stray(id))?;
        if !self.inbox.insert(id) {
            return Err(Violation::Twice(id));
        }
        if arrival.no < self.next_arrival {
            return Err(Violation::ArrivalNumber(me, arrival.no));
        }
        self.next_arrival = arrival.no + 1;
        let came_with = arrival.token.as_ref().map(|token| *token.hash());
        if written.token.is_some() != came_with.is_some() || !written.gave(came_with) {
            return Err(Violation::Token { letter: id, wrong: Wrong::Foreign });
        }
        if !written.keeps_order() {
            return Ok(());
        }
        match self.last.insert(written.from, written.index) {
            Some(last) if ordered && last > written.index => {
                Err(Violation::OutOfOrder { letter: id, index: written.index, last })
            }
            _ => Ok(()),
        }
    }

    /// A frame leaves.
    pub fn leaves(&mut self, me: Who, bytes: &[u8]) -> Result<(), Violation> {
        // All frames of one letter to a channel have one nonce, and are the same in front of their MACs.
        let (nonce, hash) = match (Frame::decode(bytes), ChannelFrame::decode(bytes)) {
            (Ok(Frame::Sealed(frame)), _) => (frame.nonce, fnv(bytes)),
            (_, Ok(frame)) => (frame.nonce, fnv(bytes.split_at(bytes.len().saturating_sub(MAC_LEN)).0)),
            _ => return Ok(()),
        };
        match self.nonces.insert(nonce, hash) {
            Some(before) if before != hash => Err(Violation::NonceReused(me)),
            _ => Ok(()),
        }
    }

    /// Starts again from an earlier book: what is gone from the sent and from the inbox. The nonces that left stay known.
    pub fn restore(&mut self, backup: &Self) -> (Vec<LetterId>, Vec<LetterId>) {
        let failed = |told: Option<&Option<Told>>| matches!(told, Some(Some(Told::Failed(_))));
        let forgotten = self.sent.keys().filter(|id| !backup.sent.contains_key(id)).copied().collect();
        let undone = backup.sent.keys().filter(|id| failed(self.sent.get(*id)) && !failed(backup.sent.get(*id)));
        let lost = self.inbox.difference(&backup.inbox).chain(undone).copied().collect();
        let nonces = core::mem::take(&mut self.nonces);
        *self = Self { nonces, ..backup.clone() };
        (forgotten, lost)
    }
}

/// Why a letter may fail in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Causes {
    /// Clocks were wrong, or days went by.
    pub time: bool,
    /// Clocks were wrong.
    pub clocks: bool,
}

impl Causes {
    /// Whether a letter may have failed with this code.
    #[must_use]
    pub fn allow(self, written: &Written, receiver: &Guard, code: u16) -> bool {
        match code {
            code::EXPIRED => self.time || written.deadline.is_some(),
            code::FUTURE => self.time,
            code::CANCELLED => written.cancelled,
            _ => written.token.as_ref().map_or_else(
                || receiver.wants && code == code::TOKEN_MISSING,
                |token| self.allow_token(token, written.written_ms, receiver, code),
            ),
        }
    }

    /// Whether a letter with a token may have failed with this code.
    fn allow_token(self, token: &Token, written_ms: u64, receiver: &Guard, code: u16) -> bool {
        let tried = token.again >= u32::from(limit::TOKEN_RENEWALS_MAX);
        match code {
            code::TOKEN_EXPIRED => token.given_up || tried,
            code::TOKEN_MISSING => tried,
            code::TOKEN_KEY => receiver.lacked_keys_after(written_ms),
            code::TOKEN_REVOKED => receiver.revoked.contains(&token.txn),
            code::TOKEN_EARLY => self.clocks,
            code::TOKEN_SENDER | code::TOKEN_RECEIVER => token.stolen,
            _ => false,
        }
    }

    /// Whether a receiver that says this has not delivered the letter, and never will.
    #[must_use]
    pub const fn is_refusal(code: u16) -> bool {
        !matches!(code, code::EXPIRED | code::CANCELLED)
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
