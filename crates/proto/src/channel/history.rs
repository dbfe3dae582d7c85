//! What a letter says of an earlier one of a channel that it hands over (contracts/channel.md section 13): the value of an extension.

use nuncio_contracts::registry::extension;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::place::ChannelPlace;
use crate::codec;
use crate::ids::{AgentId, ChannelId, LetterId};
use crate::letter::{Extension, Letter};

/// Of whom a letter was that another hands over, by the word of that other alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// In which channel.
    pub channel: ChannelId,
    /// Who is said to have written it.
    pub author: AgentId,
    /// Its id, which carries its time.
    pub id: LetterId,
    /// What it answered.
    pub reply_to: Option<LetterId>,
}

#[derive(Serialize, Deserialize)]
struct Wire(ByteArray<32>, ByteArray<32>, ByteArray<16>, Option<ByteArray<16>>);

const LEN_MAX: usize = 112;

impl History {
    /// What a letter of a channel is when it is handed over; `None` of one that belongs to none, or was handed over itself.
    // contracts/channel.md C66.
    #[must_use]
    pub fn about(author: AgentId, letter: &Letter) -> Option<Self> {
        let place = ChannelPlace::of(letter).ok().flatten()?;
        Some(Self { channel: place.channel, author, id: letter.id, reply_to: letter.reply_to })
    }

    /// What a letter hands over: `None` of one that hands over nothing, an error where it cannot be read.
    ///
    /// # Errors
    /// The extension has another form, or the letter is one to the channel itself.
    // contracts/letter.md L23.
    #[expect(clippy::result_unit_err, reason = "there is one way to be wrong, and its caller names it")]
    pub fn of(letter: &Letter) -> Result<Option<Self>, ()> {
        let Some(value) = letter.extension(extension::HISTORY) else { return Ok(None) };
        if letter.extension(extension::CHANNEL).is_some() {
            return Err(());
        }
        let Wire(channel, author, id, reply_to) = codec::decode(value, LEN_MAX).map_err(|_| ())?;
        let reply_to = reply_to.map(|id| LetterId::parse(id.into_array()).ok_or(())).transpose()?;
        let author = AgentId::from_bytes(author.into_array()).map_err(|_| ())?;
        let (channel, id) = (ChannelId::from_bytes(channel.into_array()), LetterId::parse(id.into_array()).ok_or(())?);
        Ok(Some(Self { channel, author, id, reply_to }))
    }

    /// The extension.
    #[must_use]
    pub fn extension(&self) -> Extension {
        let id = |id: &LetterId| ByteArray::new(*id.as_bytes());
        let (channel, author) = (ByteArray::new(*self.channel.as_bytes()), ByteArray::new(*self.author.as_bytes()));
        let wire = Wire(channel, author, id(&self.id), self.reply_to.as_ref().map(id));
        Extension { number: extension::HISTORY, critical: true, value: codec::encode(&wire) }
    }
}
