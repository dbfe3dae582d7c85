//! An agent's events in their order: nothing left out, nothing told twice in two ways.

use super::event::{Event, Head};
use super::signed::SignedEvent;

/// How far the chain of one agent is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(Option<Head>);

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind the newest: the chain may be moved to it.
    Next,
    /// Its number is not above the newest. It is that event, byte for byte, or proof that the agent told two stories.
    Known,
}

/// Why an event is not the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Of a count that has ended.
    #[error("the agent has begun to count anew since: epoch {0} is over")]
    Past(u64),
    /// An event is missing.
    #[error("event {expected} is missing in front of event {found}")]
    Gap {
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// It follows another event than the one that is known: the agent told two stories.
    #[error("event {0} does not follow the one that is known")]
    Prev(u64),
}

impl ChainError {
    /// The name of contracts/README.md.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Past(_) => "past",
            Self::Gap { .. } => "gap",
            Self::Prev(_) => "prev",
        }
    }
}

impl Chain {
    /// A chain that was kept.
    #[must_use]
    pub const fn at(head: Option<Head>) -> Self {
        Self(head)
    }

    /// The newest event.
    #[must_use]
    pub const fn head(&self) -> Option<Head> {
        self.0
    }

    /// Numbers an event that is made now: epoch, number, and the hash before it. The first of a chain begins the epoch that is given.
    // contracts/audit.md V7.
    pub const fn number(&self, event: &mut Event, epoch: u64) {
        (event.epoch, event.seq, event.prev) = match self.0 {
            Some(head) => (head.epoch, head.seq.saturating_add(1), head.hash),
            None => (epoch, 0, [0; 32]),
        };
    }

    /// Where an event of this agent stands. Nothing moves.
    ///
    /// # Errors
    /// Why it stands nowhere.
    // contracts/audit.md V8.
    pub fn place(&self, signed: &SignedEvent) -> Result<Place, ChainError> {
        let event = signed.event();
        let (expected, prev) = match self.0 {
            Some(head) if event.epoch < head.epoch => return Err(ChainError::Past(event.epoch)),
            Some(head) if event.epoch == head.epoch && event.seq <= head.seq => return Ok(Place::Known),
            Some(head) if event.epoch == head.epoch => (head.seq.saturating_add(1), head.hash),
            _ => (0, [0; 32]),
        };
        if event.seq != expected {
            return Err(ChainError::Gap { expected, found: event.seq });
        }
        if event.prev == prev { Ok(Place::Next) } else { Err(ChainError::Prev(event.seq)) }
    }

    /// Moves behind an event that stands next.
    pub fn follow(&mut self, signed: &SignedEvent) {
        let event = signed.event();
        self.0 = Some(Head { epoch: event.epoch, seq: event.seq, hash: signed.hash() });
    }
}
