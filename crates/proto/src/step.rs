//! A transition as a value: what must be on disk first, then what may be done.
//!
//! ```text
//!   peer.receive(&frame, ..)? ─► Step ─► peer.stage(step)? ─► Staged { ops, effects }
//!      pure                              memory moves            ops durable ─► effects may be done, in order
//! ```

use std::sync::Arc;

use crate::ids::{AgentId, ChannelId, LetterId, SessionId};
use crate::knock::Knock;
use crate::letter::Letter;
use crate::peer::{Change, ChannelNews};
use crate::time::UnixMillis;
use crate::token::{Genuine, Thumbprint};

/// One write. The first byte of a key names the tree that it belongs to ([`crate::rows`]).
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Write a value under a key.
    Put {
        /// Tree byte and key.
        key: Vec<u8>,
        /// Plain value; the store seals it.
        value: Vec<u8>,
    },
    /// Remove a key, present or not.
    Delete {
        /// Tree byte and key.
        key: Vec<u8>,
    },
}

impl core::fmt::Debug for Op {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Put { key, value } => {
                write!(f, "Put({}, {} bytes)", data_encoding::HEXLOWER.encode(key), value.len())
            }
            Self::Delete { key } => write!(f, "Delete({})", data_encoding::HEXLOWER.encode(key)),
        }
    }
}

/// A transition that was checked and authenticated and has not happened. [`crate::peer::Peer::stage`] makes it happen in memory.
#[derive(Debug)]
#[must_use = "a step that is not staged has not happened"]
pub struct Step {
    pub(crate) generation: u64,
    pub(crate) change: Change,
}

/// A transition that has happened in memory and nowhere else.
#[derive(Debug)]
#[must_use = "effects may be done only when the ops are durable"]
pub struct Staged {
    /// Must be durable, as one, before any effect is done.
    pub ops: Vec<Op>,
    /// What may be done then, in order.
    pub effects: Effects,
}

/// Effects that nobody looks at before their commit is durable.
#[derive(Debug, Default)]
pub struct Effects(pub(crate) Vec<Effect>);

impl Effects {
    /// Hands the effects out. Call it only with proof that the ops staged with them are durable.
    #[must_use]
    pub fn after_commit(self) -> Vec<Effect> {
        self.0
    }

    /// Takes out what is true without the commit: that a peer has a letter of ours. If the commit is lost, the letter is sent once more, the peer
    /// knows it, and the same is told again.
    #[must_use]
    pub fn take_proven(&mut self) -> Vec<Effect> {
        self.0.extract_if(.., |effect| matches!(effect, Effect::Delivered { .. })).collect()
    }

    /// Letters whose failure is staged. It is told after the commit; until then nobody may say that they were delivered.
    pub fn failing(&self) -> impl Iterator<Item = (AgentId, LetterId, u16)> {
        self.0.iter().filter_map(|effect| match effect {
            Effect::Failed { to, letter, code, .. } => Some((*to, *letter, *code)),
            _ => None,
        })
    }

    /// Letters that are in the inbox once the commit is durable: for what is committed with them. Nothing is told or done of them before.
    pub fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.0.iter().filter_map(|effect| match effect {
            Effect::Deliver(arrival) => Some(arrival),
            _ => None,
        })
    }

    /// Appends another step's, staged later.
    pub fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How far a letter of ours that failed had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Not into a session; or its receiver said that it does not take it.
    Nowhere,
    /// Into a session to which its receiver has said nothing.
    Unanswered,
    /// Into a session with its receiver, which may have taken it.
    Session,
}

/// What may be done once a commit is durable.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Bytes for a peer. Losing them is allowed: they are sent again until acknowledged.
    Send {
        /// Whom.
        to: AgentId,
        /// One frame.
        frame: Vec<u8>,
    },
    /// A letter is in the inbox.
    Deliver(Arrival),
    /// The peer has a letter of ours on disk.
    Delivered {
        /// The peer.
        to: AgentId,
        /// The letter.
        letter: LetterId,
    },
    /// The peer has the large payload of a letter of ours, whole, on disk.
    PayloadTaken {
        /// The peer.
        by: AgentId,
        /// The letter.
        letter: LetterId,
    },
    /// A letter of ours will not be delivered.
    Failed {
        /// The peer.
        to: AgentId,
        /// The letter.
        letter: LetterId,
        /// One of the registry's codes.
        code: u16,
        /// How far it had come.
        reached: Reached,
    },
    /// A bundle and a one-time prekey of this agent are wanted, to begin a session.
    WantBundle {
        /// Whose.
        of: AgentId,
    },
    /// The answer to [`crate::peer::Peer::claim`].
    Bundle {
        /// The number that the caller gave.
        request: u64,
        /// Our bundle.
        bundle: Vec<u8>,
    },
    /// A session is confirmed.
    Established {
        /// With whom.
        with: AgentId,
        /// Its name.
        session: SessionId,
    },
    /// A contact said where its mailbox is, or that it has none ([`crate::peer::Peer::mailbox_of`]).
    Mailbox {
        /// Which contact.
        of: AgentId,
    },
    /// It is known where an agent is, of which that was not known.
    Whereabouts {
        /// Which.
        of: AgentId,
    },
    /// No channel is shared any more with an agent that was known by channels alone: it is a stranger again.
    Forgotten {
        /// Who.
        agent: AgentId,
    },
    /// An agent would be let in; it has signed that it is this one.
    Knocked {
        /// Who.
        by: AgentId,
        /// For what.
        knock: Box<Knock>,
    },
    /// Something is new of a channel.
    Channel {
        /// Which.
        channel: ChannelId,
        /// What.
        news: ChannelNews,
    },
    /// A start came with a one-time prekey that was the directory's to give: fewer are left there.
    ListedUsed,
    /// A letter waits for the key of its token: fetch the key set, then [`crate::peer::Peer::set_verifier`].
    WantKey {
        /// The key's thumbprint.
        kid: Thumbprint,
    },
    /// A peer hands on what a token service has signed; whether it did is to be seen.
    Statement {
        /// The peer.
        from: AgentId,
        /// The statement.
        statement: Vec<u8>,
    },
    /// A letter of ours waits for a fresh token: [`crate::peer::Peer::retoken`], or [`crate::peer::Peer::give_up_token`].
    TokenExpired {
        /// The peer.
        to: AgentId,
        /// The letter.
        letter: LetterId,
    },
    /// A letter of ours was refused for its token and goes again, under a number above those of letters sent after it: it may be delivered after
    /// them.
    SealedAgain {
        /// The peer.
        to: AgentId,
        /// The letter.
        letter: LetterId,
    },
    /// A peer will not talk to us; one of the registry's codes says why.
    TurnedAway {
        /// Who.
        by: AgentId,
        /// Why.
        code: u16,
    },
}

/// A letter in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in the inbox: later arrivals have higher ones.
    pub no: u64,
    /// Who sent it.
    pub from: AgentId,
    /// When it was received.
    pub received: UnixMillis,
    /// The letter.
    pub letter: Letter,
    /// The token that was verified before it was taken: what the letter may do.
    pub token: Option<Arc<Genuine>>,
}
