//! One entry of a channel's record: `[body, signature, consents]` (contracts/channel.md section 1).

use nuncio_contracts::registry::{label, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::change::{Change, ChangeError, ChangeWire};
use super::statement::StatementError;
use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError, SigningKey};
use crate::ids::{AgentId, ChannelId, EpochId};
use crate::time::UnixMillis;

/// An entry, well formed; who has signed it is not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the record, from 0.
    pub number: u32,
    /// The epoch on which it stands; of entry 0, 32 random bytes.
    pub prev: EpochId,
    /// When it was made, by its signer's clock.
    pub at: UnixMillis,
    /// What it changes.
    pub change: Change,
    /// Hash of the roster behind it.
    pub roster: [u8; 32],
    /// Statements of others that it needs, as bytes.
    pub consents: Vec<Vec<u8>>,
    signature: [u8; 64],
}

/// Who has to have signed an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The owner of the epoch on which it stands.
    Owner,
    /// The one that it names owner.
    Named(AgentId),
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not the one form.
    #[error("entry: {0}")]
    Codec(#[from] CodecError),
    /// Of another version.
    #[error("entry of version {0}; this agent knows version 1")]
    Version(u8),
    /// Changes nothing that there is.
    #[error("entry: {0}")]
    Change(#[from] ChangeError),
    /// Too many consents.
    #[error("entry with more consents than any needs")]
    Consents,
    /// Not signed by whom it has to be.
    #[error("entry: {0}")]
    Crypto(#[from] CryptoError),
    /// A consent that is none.
    #[error("entry: {0}")]
    Statement(#[from] StatementError),
}

/// `[version, number, prev, at, change, roster]`
#[derive(Serialize, Deserialize)]
struct BodyWire(u8, u32, ByteArray<32>, u64, ChangeWire, ByteArray<32>);
#[derive(Serialize, Deserialize)]
struct Wire(BodyWire, ByteArray<64>, Vec<ByteBuf>);

/// Two for each newcomer: consent and invitation.
const CONSENTS_MAX: usize = 2 * limit::CHANNEL_CHANGE_AGENTS_MAX;

impl Entry {
    /// An entry that nobody has signed yet.
    pub(super) const fn draft(number: u32, prev: EpochId, at: UnixMillis, change: Change, roster: [u8; 32]) -> Self {
        Self { number, prev, at, change, roster, consents: Vec::new(), signature: [0; 64] }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`EntryError`], but for signatures.
    // contracts/channel.md C1 to C4.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let Wire(body, signature, consents) = codec::decode(bytes, limit::CHANNEL_ENTRY_LEN_MAX)?;
        let BodyWire(version, number, prev, at, change, roster) = body;
        if version != limit::WIRE_VERSION {
            return Err(EntryError::Version(version));
        }
        if consents.len() > CONSENTS_MAX {
            return Err(EntryError::Consents);
        }
        Ok(Self {
            number,
            prev: EpochId::from_bytes(prev.into_array()),
            at: UnixMillis(at),
            change: Change::from_wire(change)?,
            roster: roster.into_array(),
            consents: consents.into_iter().map(ByteBuf::into_vec).collect(),
            signature: signature.into_array(),
        })
    }

    fn body(&self) -> BodyWire {
        let (prev, roster) = (ByteArray::new(*self.prev.as_bytes()), ByteArray::new(self.roster));
        BodyWire(limit::WIRE_VERSION, self.number, prev, self.at.0, self.change.to_wire(), roster)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let consents = self.consents.iter().map(|bytes| ByteBuf::from(bytes.as_slice())).collect();
        codec::encode(&Wire(self.body(), ByteArray::new(self.signature), consents))
    }

    /// What a support names it by.
    #[must_use]
    pub fn body_hash(&self) -> [u8; 32] {
        crypto::sha256(&[&codec::encode(&self.body())])
    }

    /// Signs it, with the consents that it needs.
    #[must_use]
    pub fn sign(mut self, signing: &SigningKey, consents: Vec<Vec<u8>>) -> Self {
        self.signature = signing.sign(label::CHANNEL_ENTRY, &codec::encode(&self.body()));
        self.consents = consents;
        self
    }

    /// Whom its signature has to be of.
    #[must_use]
    pub const fn signer(&self) -> Signer {
        match self.change {
            Change::Create { owner: agent, .. } | Change::Succeed(agent) => Signer::Named(agent),
            _ => Signer::Owner,
        }
    }

    // contracts/channel.md C5.
    pub(super) fn verify(&self, owner: &AgentId) -> Result<(), CryptoError> {
        let signer = match self.signer() {
            Signer::Owner => *owner,
            Signer::Named(agent) => agent,
        };
        crypto::verify(signer.as_bytes(), label::CHANNEL_ENTRY, &codec::encode(&self.body()), &self.signature)
    }

    /// The epoch that begins with it.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        EpochId::from_bytes(self.hash(label::CHANNEL_EPOCH))
    }

    /// The channel that begins with it, where it is entry 0.
    #[must_use]
    pub fn channel(&self) -> ChannelId {
        ChannelId::from_bytes(self.hash(label::CHANNEL_ID))
    }

    fn hash(&self, label: &[u8]) -> [u8; 32] {
        crypto::sha256(&[label, &[0], &codec::encode(&self.body()), &self.signature])
    }
}
