//! An agent's own long-lived keys, its agreement key's proof, and the statement that ends an identity (contracts/identity.md).

use nuncio_contracts::registry::label;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError, SigningKey};
use crate::ids::{AgentId, IdError};
use crate::secret::Key;
use crate::time::UnixMillis;

/// The private half of an agent: its identity key and its agreement key.
#[derive(Clone, Debug)]
pub struct Identity {
    id: AgentId,
    seed: Key,
    signing: SigningKey,
    agreement: Key,
    agreement_public: [u8; 32],
}

/// Why a stored identity or a statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not canonical.
    #[error("identity record: {0}")]
    Codec(#[from] CodecError),
    /// Names no agent.
    #[error("identity record: {0}")]
    Id(#[from] IdError),
    /// Not signed by the identity that it speaks of.
    #[error("statement: {0}")]
    Crypto(#[from] CryptoError),
}

#[derive(Serialize, Deserialize)]
struct IdentityWire(u8, ByteArray<32>, ByteArray<32>);

impl Identity {
    /// Makes a new identity.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Result<Self, IdError> {
        Self::from_secrets(Key::random(rng), Key::random(rng))
    }

    fn from_secrets(seed: Key, agreement: Key) -> Result<Self, IdError> {
        let signing = SigningKey::from_seed(seed.expose());
        let id = AgentId::from_bytes(signing.public())?;
        let agreement_public = crypto::dh_public(&agreement);
        Ok(Self { id, seed, signing, agreement, agreement_public })
    }

    /// Reads what [`Identity::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let IdentityWire(_, seed, agreement) = codec::decode(bytes, 128)?;
        Ok(Self::from_secrets(Key::new(seed.into_array()), Key::new(agreement.into_array()))?)
    }

    /// The record that the store seals: secret.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&IdentityWire(1, ByteArray::new(*self.seed.expose()), ByteArray::new(*self.agreement.expose())))
    }

    /// Who this is.
    #[must_use]
    pub const fn id(&self) -> AgentId {
        self.id
    }

    /// The key that signs.
    #[must_use]
    pub const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The X25519 agreement key, `IK` in the handshake.
    #[must_use]
    pub const fn agreement(&self) -> &Key {
        &self.agreement
    }

    /// Its public half.
    #[must_use]
    pub const fn agreement_public(&self) -> &[u8; 32] {
        &self.agreement_public
    }

    /// The identity key's signature over the agreement key: says nothing about any conversation.
    #[must_use]
    pub fn agreement_proof(&self) -> [u8; 64] {
        self.signing.sign(label::AGREEMENT, &self.agreement_public)
    }
}

/// Ends an identity, or names its successor. Made at `init` and kept offline; whoever holds it can only end the identity, not use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The identity that ends.
    pub agent: AgentId,
    /// Who takes its place.
    pub successor: Option<AgentId>,
    /// When the statement was made.
    pub made: UnixMillis,
}

#[derive(Serialize, Deserialize)]
struct RetirementBody(ByteArray<32>, Option<ByteArray<32>>, u64);
#[derive(Serialize, Deserialize)]
struct RetirementWire(RetirementBody, ByteArray<64>);

impl Retirement {
    /// Signs the statement: its bytes.
    #[must_use]
    pub fn sign(identity: &Identity, successor: Option<AgentId>, made: UnixMillis) -> Vec<u8> {
        let body = RetirementBody(
            ByteArray::new(*identity.id.as_bytes()),
            successor.map(|s| ByteArray::new(*s.as_bytes())),
            made.0,
        );
        let signature = identity.signing.sign(label::RETIREMENT, &codec::encode(&body));
        codec::encode(&RetirementWire(body, ByteArray::new(signature)))
    }

    /// Reads a statement and verifies that the identity it ends has signed it.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let RetirementWire(body, signature) = codec::decode(bytes, 256)?;
        let agent = AgentId::from_bytes(body.0.into_array())?;
        crypto::verify(agent.as_bytes(), label::RETIREMENT, &codec::encode(&body), &signature.into_array())?;
        let successor = body.1.map(|bytes| AgentId::from_bytes(bytes.into_array())).transpose()?;
        Ok(Self { agent, successor, made: UnixMillis(body.2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn a_retirement_is_believed_only_from_its_own_identity() {
        let (mine, other) = (Identity::generate(&mut rng(1)).unwrap(), Identity::generate(&mut rng(2)).unwrap());
        let bytes = Retirement::sign(&mine, Some(other.id()), UnixMillis(5));
        let parsed = Retirement::parse(&bytes).unwrap();
        assert_eq!((parsed.agent, parsed.successor, parsed.made), (mine.id(), Some(other.id()), UnixMillis(5)));
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert!(Retirement::parse(&forged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_identity_survives_its_record_and_never_prints() {
        let identity = Identity::generate(&mut rng(3)).unwrap();
        let again = Identity::from_bytes(&identity.to_bytes()).unwrap();
        assert_eq!(again.id(), identity.id());
        assert_eq!(again.agreement_public(), identity.agreement_public());
        assert!(format!("{identity:?}").contains("Secret(..)"));
    }
}
