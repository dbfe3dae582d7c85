//! By what two agents know each other in their events, and nobody else does (contracts/audit.md V26).

use nuncio_contracts::registry::label;

use super::{EventPeer, Head};
use crate::crypto::{self, PublicKey, SigningKey};
use crate::ids::AgentId;
use crate::secret::Key;

/// What two agents share out of their identity keys, for their pseudonyms alone.
#[derive(Clone, Debug)]
pub struct PairKey(Key);

impl PairKey {
    /// The key of the agent that signs with `own`, and of another; `None` where that is none.
    #[must_use]
    pub fn of(own: &SigningKey, other: &AgentId) -> Option<Self> {
        let (mine, theirs) = (own.public(), *other.as_bytes());
        let shared = own.agree(&PublicKey::from_bytes(&theirs).ok()?).ok()?;
        let info = [label::PAIR, &[0], &mine.min(theirs), &mine.max(theirs)].concat();
        let mut key = [0; 32];
        crypto::hkdf_sha256(&[0; 32], shared.expose(), &info, &mut key);
        Some(Self(Key::new(key)))
    }

    /// One that somebody shows.
    #[must_use]
    pub fn shown(bytes: [u8; 32]) -> Self {
        Self(Key::new(bytes))
    }

    /// Its bytes: whoever has them knows whom the two mean.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// By what an agent of the pair is known in it.
    #[must_use]
    pub fn pseudonym(&self, agent: &AgentId) -> [u8; 16] {
        let [pseudonym @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            crypto::hmac_sha256(self.expose(), &[agent.as_bytes()]);
        pseudonym
    }

    /// The newest event of an agent of the pair, as an event of the other says it: by its number nobody else is to know whose it is.
    #[must_use]
    pub fn blind(&self, head: &Head) -> Head {
        let (epoch, seq) = (head.epoch.to_be_bytes(), head.seq.to_be_bytes());
        Head { epoch: 0, seq: 0, hash: crypto::hmac_sha256(self.expose(), &[&epoch, &seq, &head.hash]) }
    }

    /// Whether an event's peer is an agent of the pair, by its key or by its pseudonym.
    #[must_use]
    pub fn is_of(&self, peer: &EventPeer, agent: &AgentId) -> bool {
        match peer {
            EventPeer::Agent(named) => named == agent,
            EventPeer::Pseudonym(named) => *named == self.pseudonym(agent),
        }
    }
}
