//! The chain of a frame, before anything moves.

use super::Session;
use crate::ids::Tag;
use crate::ratchet::OldChain;
use crate::secret::Key;

/// The chain that a frame's tag names.
pub(super) enum ChainRef<'a> {
    Current(Tag, &'a Key),
    Next(Tag),
    Old(&'a OldChain),
}

impl ChainRef<'_> {
    pub(super) const fn tag(&self) -> Tag {
        match self {
            Self::Current(tag, _) | Self::Next(tag) => *tag,
            Self::Old(old) => old.tag,
        }
    }

    pub(super) const fn header_key<'s>(&'s self, session: &'s Session) -> &'s Key {
        match self {
            Self::Current(_, hk) => hk,
            Self::Next(_) => &session.ratchet.nhkr,
            Self::Old(old) => &old.hk,
        }
    }
}
