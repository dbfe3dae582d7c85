//! One sender's chain in one epoch: steps as in the ratchet, no turns (contracts/channel.md section 5).
//!
//! ```text
//!   first key ─┬─► chain id = H(first key, epoch, sender, first number, what came in front)
//!              ├─► hk = HKDF(first key, chain id), tag
//!              └─► ck ─KDF_CK─► ck ─KDF_CK─► …          a message key: one letter, ever
//! ```

use nuncio_contracts::registry::{label, limit};

use super::transcript::Run;
use crate::crypto;
use crate::ids::{AgentId, ChainId, EpochId, Seq, Tag};
use crate::ratchet::{kdf_ck, tag_of};
use crate::secret::Key;

/// On what a chain stands: all of it is in its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) epoch: EpochId,
    pub(super) sender: AgentId,
    /// The number of its first letter.
    pub(super) first: Seq,
    /// The running hash over the sender's letters in front of that.
    pub(super) run: Run,
}

/// A chain, as far as it was stepped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) id: ChainId,
    pub(super) base: Base,
    pub(super) hk: Key,
    pub(super) tag: Tag,
    pub(super) ck: Key,
    /// The number of the letter whose key the next step gives.
    pub(super) next: Seq,
}

impl Base {
    // contracts/channel.md C26.
    pub(super) fn chain_id(&self, first_key: &Key) -> ChainId {
        ChainId::from_bytes(crypto::sha256(&[
            label::CHANNEL_CHAIN,
            &[0],
            first_key.expose(),
            self.epoch.as_bytes(),
            self.sender.as_bytes(),
            &self.first.to_be_bytes(),
            &self.run,
        ]))
    }
}

impl Chain {
    pub(super) fn new(first_key: Key, base: Base) -> Self {
        let id = base.chain_id(&first_key);
        let mut hk = zeroize::Zeroizing::new([0; 32]);
        crypto::hkdf_sha256(id.as_bytes(), first_key.expose(), label::CHANNEL_HEADER, hk.as_mut());
        let hk = Key::new(*hk);
        Self { id, tag: tag_of(&hk), hk, ck: first_key, next: base.first, base }
    }

    /// The first number behind the longest that a chain may be.
    // contracts/channel.md C27.
    pub(super) const fn end_max(&self) -> Seq {
        self.base.first.saturating_add(limit::CHANNEL_CHAIN_LETTERS)
    }

    /// Steps to a letter that is not passed and not behind the end: the chain key behind it, its key, and the keys passed over.
    pub(super) fn step_to(&self, seq: Seq) -> (Key, Key, Vec<(Seq, Key)>) {
        let (mut ck, mut passed) = (self.ck.clone(), Vec::new());
        for number in self.next..seq {
            let (next, mk) = kdf_ck(&ck);
            passed.push((number, mk));
            ck = next;
        }
        let (ck, mk) = kdf_ck(&ck);
        (ck, mk, passed)
    }
}
