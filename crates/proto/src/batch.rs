//! A whole batch of one-time prekeys, as a directory is given it (contracts/directory.md section 1).

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::bundle::{BundleError, OneTimeBatch, OneTimeOffer, OneTimePrekey, OneTimeRef};
use crate::codec::{self, CodecError};
use crate::crypto::KEM_PUBLIC_LEN;
use crate::ids::AgentId;
use crate::time::UnixMillis;

/// Bytes of the two public keys of a one-time prekey.
const PREKEY_LEN: usize = 32 + KEM_PUBLIC_LEN;

/// A batch whose owner's signature was verified: each of its prekeys can be handed out with its proof.
#[derive(Clone, Debug)]
pub struct PrekeyBatch {
    batch: OneTimeBatch,
    prekeys: Vec<OneTimePrekey>,
}

#[derive(Serialize, Deserialize)]
struct Wire(u32, u64, ByteArray<64>, ByteBuf);

impl PrekeyBatch {
    /// Of all prekeys of a batch, in their order; `None` where they are not its own.
    #[must_use]
    pub fn of(batch: OneTimeBatch, prekeys: Vec<OneTimePrekey>) -> Option<Self> {
        batch.has_leaves(prekeys.iter().map(OneTimePrekey::leaf)).then_some(Self { batch, prekeys })
    }

    /// Reads a batch of an agent, for use at this time.
    ///
    /// # Errors
    /// [`BundleError::Codec`], [`BundleError::OneTime`] where the owner has not signed these keys, [`BundleError::NotNow`].
    // contracts/directory.md D1 to D3.
    pub fn parse(owner: &AgentId, bytes: &[u8], now: UnixMillis) -> Result<Self, BundleError> {
        let Wire(number, not_after, signature, keys) = codec::decode(bytes, limit::BATCH_LEN_MAX)?;
        let (keys, rest) = keys.as_chunks::<PREKEY_LEN>();
        if keys.len() != usize::from(limit::ONE_TIME_BATCH) || !rest.is_empty() {
            return Err(CodecError::Malformed.into());
        }
        let at = (0..).map(|index| OneTimeRef { batch: number, index });
        let prekeys: Vec<_> = at.zip(keys).filter_map(|(at, keys)| prekey(at, keys)).collect();
        let (leaves, not_after) = (prekeys.iter().map(OneTimePrekey::leaf).collect(), UnixMillis(not_after));
        let batch = OneTimeBatch::signed(owner, number, not_after, signature.into_array(), leaves)?;
        if now > not_after {
            return Err(BundleError::NotNow);
        }
        Ok(Self { batch, prekeys })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.prekeys.iter().flat_map(|prekey| prekey.agreement.iter().chain(prekey.kem.iter())).copied();
        let (number, not_after) = (self.batch.number(), self.batch.not_after().0);
        codec::encode(&Wire(
            number,
            not_after,
            ByteArray::new(*self.batch.signature()),
            ByteBuf::from(keys.collect::<Vec<u8>>()),
        ))
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.batch.number()
    }

    /// Until when its prekeys are given away.
    #[must_use]
    pub const fn not_after(&self) -> UnixMillis {
        self.batch.not_after()
    }

    /// One of its prekeys, with its proof.
    #[must_use]
    pub fn offer(&self, index: u16) -> Option<OneTimeOffer> {
        self.prekeys.get(usize::from(index)).map(|prekey| self.batch.offer(prekey.clone()))
    }
}

fn prekey(at: OneTimeRef, keys: &[u8; PREKEY_LEN]) -> Option<OneTimePrekey> {
    let (agreement, kem) = keys.split_first_chunk()?;
    Some(OneTimePrekey { at, agreement: *agreement, kem: Box::new(kem.try_into().ok()?) })
}
