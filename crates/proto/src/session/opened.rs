//! A frame opened: what was in it, how the state moves by it, and why one is refused.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Hold, Run};
use crate::crypto::CryptoError;
use crate::frame::Nonce;
use crate::header::Header;
use crate::ids::{LetterId, Seq};
use crate::ratchet::{Advance, RatchetError, Skipped};
use crate::replay::{Fresh, ReplayError};
use crate::secret::Key;
use crate::time::UnixMillis;
use crate::token::Genuine;

/// A frame opened: what was in it and how the state moves.
#[derive(Debug)]
#[must_use]
pub struct Opened {
    pub(crate) header: Header,
    /// `None` for an acknowledgement alone.
    pub(crate) content: Option<Content>,
    pub(crate) acked: AckedTo,
    /// The frame came without handshake, which its sender drops once it has heard an answer.
    pub(crate) answered: bool,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) letter: Vec<u8>,
    pub(crate) fresh: Fresh,
    /// A refused letter will not be delivered: the window stays before it until its sender, told so, gives it up; or the sender would call it
    /// delivered.
    pub(crate) state: Hold,
    pub(crate) expires: UnixMillis,
    pub(crate) token: Option<Arc<Genuine>>,
    pub(crate) floor: Seq,
    pub(crate) nonce: Nonce,
    /// In a session that audits.
    pub(crate) commitment_key: Option<Key>,
    pub(super) moves: Moves,
}

#[derive(Debug)]
pub(super) enum Moves {
    Ratchet { advance: Advance, skipped: Vec<Skipped> },
    SkippedKey,
}

/// How far an acknowledgement reaches, once its hash has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckedTo {
    pub(crate) next: Seq,
    pub(super) run: Run,
    pub(super) above: u64,
}

/// What an opened frame brought a session that stands alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Letters that are now next in order, with their numbers; refused ones are not among them.
    pub in_order: SmallVec<[(Seq, Vec<u8>); 1]>,
    /// The caller's numbers of letters that the peer has now.
    pub settled: Vec<u64>,
}

/// What moved with a letter.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Letters that are now next in order.
    pub(crate) in_order: SmallVec<[InOrder; 1]>,
    /// Numbers whose keys are now kept.
    pub(crate) skipped: Vec<Seq>,
    /// Numbers whose keys are no longer kept.
    pub(crate) dropped: Vec<Seq>,
    /// The ratchet turned.
    pub(crate) turned: bool,
    /// The window passed numbers.
    pub(crate) passed: bool,
    /// Control letters that told of a refusal and are not needed any more: the number was given up.
    pub(crate) heard: Vec<LetterId>,
}

/// A letter that is next in order, or known to be lost to its sender's giving up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InOrder {
    pub(crate) seq: Seq,
    /// Empty if it was refused.
    pub(crate) letter: Vec<u8>,
    pub(crate) refused: bool,
    pub(crate) token: Option<Arc<Genuine>>,
}

/// Why a frame with a known tag is refused. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The header or the body is forged or altered.
    #[error("frame: {0}")]
    Crypto(#[from] CryptoError),
    /// Received before, or too far ahead.
    #[error("frame: {0}")]
    Replay(#[from] ReplayError),
    /// Authentic, but leads to no key.
    #[error("frame: {0}")]
    Ratchet(#[from] RatchetError),
    /// The tag belongs to no chain of this session.
    #[error("frame of no known chain")]
    UnknownTag,
    /// The body's padding or the header's floor has an impossible value.
    #[error("frame is authentic but malformed")]
    Malformed,
    /// The peer acknowledges what this side never sent: this side is a restored copy, or its peer is.
    #[error("peer acknowledges frames that this agent never sent: its state was restored from a copy")]
    Restored,
    /// The header authenticates the whole frame, and the body does not open: the two ends hold different states of one session.
    #[error("the two ends of the session have parted: the state of one was restored from a copy")]
    Parted,
    /// Too many letters wait for an earlier one.
    #[error("too many letters wait for an earlier one")]
    HeldFull,
    /// Too many receiving chains lack letters.
    #[error("too many receiving chains lack letters")]
    ChainsFull,
}

impl Content {
    /// Whether the ratchet turns with it.
    pub(crate) const fn turns(&self) -> bool {
        matches!(self.moves, Moves::Ratchet { advance: Advance::Turned { .. }, .. })
    }
}

impl Opened {
    /// The letter will not be delivered: the window stays before its number until its sender gives that up (contracts/ratchet.md R13).
    pub const fn refuse(&mut self) {
        if let Some(content) = &mut self.content {
            content.state = Hold::Refused;
        }
    }
}
