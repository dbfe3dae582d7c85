//! What a letter to a channel says of its place (contracts/channel.md section 11): the value of an extension.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec;
use crate::ids::{ChannelId, EpochId, Seq};
use crate::letter::{Extension, Letter};
use nuncio_contracts::registry::extension;

/// Where a letter belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelPlace {
    /// In which channel.
    pub channel: ChannelId,
    /// In which epoch its author was.
    pub epoch: EpochId,
    /// Its number among its author's letters to the channel.
    pub seq: Seq,
}

#[derive(Serialize, Deserialize)]
struct Wire(ByteArray<32>, ByteArray<32>, Seq);

const LEN_MAX: usize = 80;

impl ChannelPlace {
    /// The place that a letter names: `None` of one to nobody's channel, an error where it cannot be read.
    ///
    /// # Errors
    /// The extension has another form.
    // contracts/channel.md C52.
    #[expect(clippy::result_unit_err, reason = "there is one way to be wrong, and its caller names it")]
    pub fn of(letter: &Letter) -> Result<Option<Self>, ()> {
        let Some(value) = letter.extension(extension::CHANNEL) else { return Ok(None) };
        let Wire(channel, epoch, seq) = codec::decode(value, LEN_MAX).map_err(|_| ())?;
        let (channel, epoch) = (ChannelId::from_bytes(channel.into_array()), EpochId::from_bytes(epoch.into_array()));
        Ok(Some(Self { channel, epoch, seq }))
    }

    /// The extension.
    #[must_use]
    pub fn extension(&self) -> Extension {
        let wire = Wire(ByteArray::new(*self.channel.as_bytes()), ByteArray::new(*self.epoch.as_bytes()), self.seq);
        Extension { number: extension::CHANNEL, critical: true, value: codec::encode(&wire) }
    }
}
