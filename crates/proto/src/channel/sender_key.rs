//! How a chain is handed over: the payload of a pairwise letter to one member (contracts/channel.md section 5).

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::chain::{Base, Chain};
use super::frame;
use super::header::ChannelHeader;
use super::transcript::Run;
use crate::codec::{self, CodecError};
use crate::crypto;
use crate::ids::{AgentId, ChainId, ChannelId, EpochId, Seq};
use crate::secret::Key;
use crate::testing::ChannelForgery;

/// A chain, whole, and the MAC key of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderKey {
    /// Of which channel.
    pub channel: ChannelId,
    /// In which epoch.
    pub epoch: EpochId,
    /// The number of the chain's first letter.
    pub first: Seq,
    /// The chain's id: the receiver computes it again.
    pub chain: ChainId,
    pub(super) run: Run,
    pub(super) ck: Key,
    pub(super) mac_key: Key,
}

/// Why bytes are no sender key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SenderKeyError {
    /// Not the one form.
    #[error("sender key: {0}")]
    Codec(#[from] CodecError),
    /// The chain's id is not that of the key.
    #[error("sender key with the id of another chain")]
    Chain,
    /// No letter can have the number of its first.
    #[error("sender key with an impossible number")]
    Number,
}

type Bytes32 = ByteArray<32>;
/// `[channel, epoch, first, run, first key, chain id, MAC key]`
#[derive(Serialize, Deserialize)]
struct Wire(Bytes32, Bytes32, u64, Bytes32, Bytes32, Bytes32, Bytes32);

/// Bytes of the longest one.
const LEN_MAX: usize = 224;

impl SenderKey {
    /// The payload: secret.
    #[must_use]
    pub fn encode(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(codec::encode(&Wire(
            ByteArray::new(*self.channel.as_bytes()),
            ByteArray::new(*self.epoch.as_bytes()),
            self.first,
            ByteArray::new(self.run),
            ByteArray::new(*self.ck.expose()),
            ByteArray::new(*self.chain.as_bytes()),
            ByteArray::new(*self.mac_key.expose()),
        )))
    }

    /// Reads a payload that came in a letter of `sender`.
    ///
    /// # Errors
    /// [`SenderKeyError`].
    // contracts/channel.md C28.
    pub fn parse(bytes: &[u8], sender: &AgentId) -> Result<Self, SenderKeyError> {
        let Wire(channel, epoch, first, run, ck, chain, mac_key) = codec::decode(bytes, LEN_MAX)?;
        let key = Self {
            channel: ChannelId::from_bytes(channel.into_array()),
            epoch: EpochId::from_bytes(epoch.into_array()),
            first,
            chain: ChainId::from_bytes(chain.into_array()),
            run: run.into_array(),
            ck: Key::new(ck.into_array()),
            mac_key: Key::new(mac_key.into_array()),
        };
        if key.base(sender).chain_id(&key.ck) != key.chain {
            return Err(SenderKeyError::Chain);
        }
        if key.first.checked_add(limit::CHANNEL_CHAIN_LETTERS).is_none() {
            return Err(SenderKeyError::Number);
        }
        Ok(key)
    }

    pub(super) const fn base(&self, sender: &AgentId) -> Base {
        Base { epoch: self.epoch, sender: *sender, first: self.first, run: self.run }
    }
}

/// [`crate::testing::forge_channel`].
pub(crate) fn forge(
    key: &SenderKey,
    sender: &AgentId,
    recipient: &AgentId,
    forgery: ChannelForgery,
    alter: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let ChannelForgery { seq, floor_below, letter } = forgery;
    let chain = Chain::new(key.ck.clone(), key.base(sender));
    let (_, mk, _) = chain.step_to(seq);
    let header = ChannelHeader { seq, floor_below, attestation: None };
    let mut common = frame::seal(&key.channel, &chain, &mk, &[0x5a; 12], &header, letter, None);
    alter(&mut common);
    let mac = frame::mac(&key.mac_key, &chain.id, &crypto::sha256(&[&common]), recipient);
    [common.as_slice(), &mac].concat()
}
