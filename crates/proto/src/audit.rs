//! What an agent did, said by itself and signed, one event after another (contracts/audit.md).

mod chain;
mod commitment;
mod event;
mod opening;
mod pseudonym;
mod signed;

pub use chain::{Chain, ChainError, Place};
pub(crate) use commitment::AUDITED_LEN_MAX;
pub use commitment::{Audited, commitment, commitment_key};
pub use event::{Event, EventChannel, EventError, EventPeer, Head, What};
pub use opening::{KeptOpening, Opening};
pub use pseudonym::PairKey;
pub use signed::SignedEvent;
pub(crate) use signed::seal;
