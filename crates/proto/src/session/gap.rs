//! What one end can see of frames that somebody withholds (contracts/mailbox.md M16), and of what the peer was told.

use serde_bytes::ByteArray;

use super::{Place, Session};
use crate::ids::{AgentId, Seq, SessionId};
use crate::time::UnixMillis;

/// A number that did not come although a higher one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// In which session.
    pub session: SessionId,
    /// Who sent it.
    pub from: AgentId,
    /// The lowest number that is missing.
    pub seq: Seq,
    /// Since when it was seen to be missing; a start begins anew.
    pub since: UnixMillis,
}

/// What a frame tells the peer beside its letter: the lowest number that is not received, those above, the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    session: SessionId,
    next: Seq,
    above: u64,
    floor: Seq,
}

impl Told {
    pub(crate) fn to_row(self) -> (ByteArray<32>, Seq, u64, Seq) {
        (ByteArray::new(*self.session.as_bytes()), self.next, self.above, self.floor)
    }

    pub(crate) fn from_row((session, next, above, floor): (ByteArray<32>, Seq, u64, Seq)) -> Self {
        Self { session: SessionId::from_bytes(session.into_array()), next, above, floor }
    }
}

impl Session {
    /// Notes what is missing now.
    pub(crate) fn note_gap(&mut self, now: UnixMillis) {
        let missing = self.missing();
        if self.gap.map(|(seq, _)| seq) != missing {
            self.gap = missing.map(|seq| (seq, now));
        }
    }

    /// What is missing, and since when.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        let (seq, since) = self.gap.filter(|(seq, _)| self.missing() == Some(*seq))?;
        Some(Gap { session: self.id, from: self.peer(), seq, since })
    }

    /// Frames under way that are not acknowledged.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.outstanding.values().filter(|frame| frame.entry.is_some()).count()
    }

    fn missing(&self) -> Option<Seq> {
        let next = self.window.next();
        let is_missing = !matches!(self.place, Place::Old(_)) && self.held.first_key_value()?.0 > &next;
        is_missing.then_some(next)
    }

    /// What a frame would tell the peer now; `None` before anything was received.
    pub(crate) fn told(&self) -> Option<Told> {
        let (next, above) = (self.window.next(), self.window.above());
        (next > 0 || above > 0).then_some(Told { session: self.id, next, above, floor: self.floor() })
    }
}
