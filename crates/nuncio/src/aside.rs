//! Fetched frames that are refused for what may pass: they hold up no other (contracts/mailbox.md M17).
//!
//! ```text
//!   fetched ──► tried ──► done
//!                 ▲  └──► aside ──► tried again, behind what comes ──► given up after a while, or for newer ones
//!                 └─────────┘
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_contracts::registry::{limit, time};
use nuncio_proto::channel::ReceiveError;
use nuncio_proto::error::Refusal;
use nuncio_proto::ratchet::RatchetError;
use nuncio_proto::session::OpenError;

const FOR: Duration = Duration::from_millis(time::MAIL_ASIDE);

/// What became of a fetched frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is taken, or refused for good.
    Done,
    /// It is refused for what may pass, and others are not.
    Aside,
}

/// A frame behind the number that its mailbox gave it, and since when it is set aside.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) frame: Bytes,
    pub(crate) since: Option<Instant>,
}

/// Frames that are tried again, of one stream.
#[derive(Debug, Default)]
pub(crate) struct Aside(BTreeMap<u64, Numbered>);

impl Fate {
    /// Of a frame that was refused; `None` where every other one would be too. What is not known to be final may pass.
    pub(crate) const fn of(refusal: &Refusal) -> Option<Self> {
        match refusal {
            Refusal::InboxFull | Refusal::SpoolFull | Refusal::SeenUnreadable => None,
            Refusal::Frame(_)
            | Refusal::UnknownTag(_)
            | Refusal::Start(..)
            | Refusal::OutOfStep(_)
            | Refusal::WrongPeer(_)
            | Refusal::UselessNotice => Some(Self::Done),
            Refusal::Open(error) => Some(Self::of_open(error)),
            Refusal::Channel(error) => Some(Self::of_channel(error)),
            _ => Some(Self::Aside),
        }
    }

    const fn of_open(error: &OpenError) -> Self {
        match error {
            OpenError::Ratchet(RatchetError::NoRoom) => Self::Aside,
            OpenError::Crypto(_)
            | OpenError::Replay(_)
            | OpenError::Ratchet(_)
            | OpenError::UnknownTag
            | OpenError::Malformed
            | OpenError::Restored
            | OpenError::Parted => Self::Done,
            _ => Self::Aside,
        }
    }

    const fn of_channel(error: &ReceiveError) -> Self {
        match error {
            ReceiveError::Mac
            | ReceiveError::Crypto(_)
            | ReceiveError::Signed
            | ReceiveError::Replay(_)
            | ReceiveError::Contradiction
            | ReceiveError::Spent
            | ReceiveError::Malformed => Self::Done,
            _ => Self::Aside,
        }
    }
}

impl Numbered {
    pub(crate) const fn new(number: u64, frame: Bytes) -> Self {
        Self { number, frame, since: None }
    }
}

impl Aside {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are tried again, in the order in which they came.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Numbered> + use<> {
        core::mem::take(&mut self.0).into_values()
    }

    /// Sets a frame aside that was tried, unless it has been for long; the one that came first makes place.
    // contracts/mailbox.md M17.
    pub(crate) fn keep(&mut self, tried: Numbered, now: Instant) {
        let since = *tried.since.as_ref().unwrap_or(&now);
        if now.saturating_duration_since(since) >= FOR {
            tracing::info!(number = tried.number, "a frame out of the mailbox is given up: there was no room for it");
            return;
        }
        self.0.insert(tried.number, Numbered { since: Some(since), ..tried });
        if self.0.len() > limit::MAIL_ASIDE_MAX {
            self.0.pop_first();
        }
    }

    /// Up to which number nothing is set aside, of those up to `last`.
    pub(crate) fn done_up_to(&self, last: u64) -> u64 {
        self.0.keys().next().map_or(last, |number| last.min(number.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_proto::frame::FrameError;

    fn frame(number: u64) -> Numbered {
        Numbered::new(number, Bytes::from_static(b"frame"))
    }

    /// contracts/mailbox.md M17.
    #[test]
    fn what_may_pass_is_not_taken_for_final() {
        for passing in [
            Refusal::TooManyRefusals,
            Refusal::TooManySessions,
            Refusal::ChannelFull,
            Refusal::Channel(ReceiveError::NoRoom),
            Refusal::Channel(ReceiveError::UnknownTag),
            Refusal::Open(OpenError::HeldFull),
            Refusal::Open(OpenError::ChainsFull),
            Refusal::Open(OpenError::Ratchet(RatchetError::NoRoom)),
        ] {
            assert_eq!(Fate::of(&passing), Some(Fate::Aside), "{passing}");
        }
        for r#final in [
            Refusal::Frame(FrameError::Version(9)),
            Refusal::Open(OpenError::Malformed),
            Refusal::Open(OpenError::Ratchet(RatchetError::Spent)),
            Refusal::Channel(ReceiveError::Mac),
        ] {
            assert_eq!(Fate::of(&r#final), Some(Fate::Done), "{final}");
        }
        assert_eq!(Fate::of(&Refusal::InboxFull), None);
    }

    /// contracts/mailbox.md M17.
    #[test]
    fn what_is_aside_has_an_end_in_number_and_in_time() {
        let (mut aside, begun) = (Aside::default(), Instant::now());
        let max = u64::try_from(limit::MAIL_ASIDE_MAX).unwrap();
        (1..=max).for_each(|number| aside.keep(frame(number), begun));
        assert_eq!(aside.done_up_to(max + 7), 0);
        aside.keep(frame(max + 1), begun);
        assert_eq!((aside.0.len(), aside.done_up_to(max + 7)), (limit::MAIL_ASIDE_MAX, 1));
        for (later, left) in [(FOR / 2, limit::MAIL_ASIDE_MAX), (FOR, 0)] {
            let tried: Vec<_> = aside.take().collect();
            assert!(tried.is_sorted_by_key(|tried| tried.number));
            tried.into_iter().for_each(|tried| aside.keep(tried, begun + later));
            assert_eq!(aside.0.len(), left, "{later:?}");
        }
        assert_eq!(aside.done_up_to(max + 7), max + 7);
    }
}
