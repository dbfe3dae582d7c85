//! A frame that is left at a node for agents that are away (contracts/mailbox.md).

use std::borrow::Cow;

use nuncio_contracts::registry::{label, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::channel::{MAC_LEN, Mac};
use crate::codec::{self, CodecError};
use crate::crypto;
use crate::ids::{AgentId, IdError};
use crate::secret::{Key, Secret};

/// What an agent and its node share, out of which come the deposit keys of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxSecret(Key);

/// By what a peer leaves frames for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositKey(Secret<32>);

/// What one recipient's frame ends with, where all have the rest in common (contracts/channel.md C32).
pub type End = Mac;

/// A frame, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Ascending, each once; a stranger has no key.
    to: Vec<(AgentId, Option<DepositKey>)>,
    /// Whole, or what all recipients' frames begin with.
    frame: Vec<u8>,
    /// In the order of the recipients; of a frame that is whole there are none.
    ends: Option<Vec<End>>,
}

/// Why bytes are no deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepositError {
    /// Not the one form.
    #[error("deposit: {0}")]
    Codec(#[from] CodecError),
    /// For nobody, for too many, for one twice, or in another order.
    #[error("deposit for nobody, too many, or not each once and in order")]
    Recipients,
    /// A recipient that is no agent.
    #[error("deposit: {0}")]
    Agent(#[from] IdError),
    /// No frame, or one that is too long.
    #[error("deposit of no frame")]
    Frame,
}

#[derive(Serialize, Deserialize)]
struct Wire(Vec<(ByteArray<32>, Option<ByteArray<32>>)>, ByteBuf);
#[derive(Serialize, Deserialize)]
struct SharedWire(ByteBuf, Vec<(ByteArray<32>, ByteArray<32>, ByteArray<MAC_LEN>)>);

/// The major type of a byte string, with which a shared deposit's first item begins.
const BYTES: u8 = 2;

impl MailboxSecret {
    /// Of its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Key::new(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The deposit key with this id.
    // contracts/mailbox.md section 1.
    #[must_use]
    pub fn deposit_key(&self, id: [u8; 16]) -> DepositKey {
        let mac = crypto::hmac_sha256(self.expose(), &[label::DEPOSIT, &[0], &id]);
        let mut key = [0; 32];
        key.iter_mut().zip(id.iter().chain(&mac)).for_each(|(to, from)| *to = *from);
        DepositKey(Secret::new(key))
    }

    /// Whether a deposit key is one of this secret's; in constant time.
    // contracts/mailbox.md M2.
    #[must_use]
    pub fn has(&self, key: &DepositKey) -> bool {
        self.deposit_key(key.id()) == *key
    }
}

impl DepositKey {
    /// Of its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Tells it from others of the same recipient.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.expose().first_chunk().copied().unwrap_or_default()
    }
}

impl Deposit {
    /// A frame for agents.
    ///
    /// # Errors
    /// As [`Deposit::parse`].
    pub fn new(mut to: Vec<(AgentId, Option<DepositKey>)>, frame: Vec<u8>) -> Result<Self, DepositError> {
        to.sort_unstable_by_key(|(agent, _)| *agent);
        Self { to, frame, ends: None }.checked()
    }

    /// Frames for agents that have all but their ends in common.
    ///
    /// # Errors
    /// As [`Deposit::parse`].
    // contracts/mailbox.md M18.
    pub fn shared(mut to: Vec<(AgentId, DepositKey, End)>, common: Vec<u8>) -> Result<Self, DepositError> {
        to.sort_unstable_by_key(|(agent, ..)| *agent);
        let (to, ends) = to.into_iter().map(|(agent, key, end)| ((agent, Some(key)), end)).unzip();
        Self { to, frame: common, ends: Some(ends) }.checked()
    }

    /// Reads a deposit. Of the frame nothing is known.
    ///
    /// # Errors
    /// [`DepositError`].
    // contracts/mailbox.md M3, M18.
    pub fn parse(bytes: &[u8]) -> Result<Self, DepositError> {
        let is_shared = bytes.get(1).is_some_and(|head| head >> 5 == BYTES);
        if is_shared { Self::parse_shared(bytes) } else { Self::parse_whole(bytes) }
    }

    fn parse_whole(bytes: &[u8]) -> Result<Self, DepositError> {
        let Wire(to, frame) = codec::decode(bytes, limit::DEPOSIT_LEN_MAX)?;
        if to.len() > limit::DEPOSIT_RECIPIENTS_MAX {
            return Err(DepositError::Recipients);
        }
        let recipient = |(agent, key): (ByteArray<32>, Option<ByteArray<32>>)| {
            let key = key.map(|key| DepositKey::new(key.into_array()));
            AgentId::from_bytes(agent.into_array()).map(|agent| (agent, key))
        };
        let to = to.into_iter().map(recipient).collect::<Result<_, _>>()?;
        Self { to, frame: frame.into_vec(), ends: None }.checked()
    }

    fn parse_shared(bytes: &[u8]) -> Result<Self, DepositError> {
        let SharedWire(common, sharers) = codec::decode(bytes, limit::DEPOSIT_LEN_MAX)?;
        if sharers.len() > limit::DEPOSIT_RECIPIENTS_MAX {
            return Err(DepositError::Recipients);
        }
        let (mut to, mut ends) = (Vec::new(), Vec::new());
        for (agent, key, end) in sharers {
            to.push((AgentId::from_bytes(agent.into_array())?, Some(DepositKey::new(key.into_array()))));
            ends.push(end.into_array());
        }
        Self { to, frame: common.into_vec(), ends: Some(ends) }.checked()
    }

    fn checked(self) -> Result<Self, DepositError> {
        let is_ordered = self.to.array_windows().all(|[(one, _), (other, _)]| one < other);
        if !(1..=limit::DEPOSIT_RECIPIENTS_MAX).contains(&self.to.len()) || !is_ordered {
            return Err(DepositError::Recipients);
        }
        let most = limit::FRAME_LEN_MAX - if self.ends.is_some() { MAC_LEN } else { 0 };
        if !(1..=most).contains(&self.frame.len()) {
            return Err(DepositError::Frame);
        }
        Ok(self)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let key = |key: &DepositKey| ByteArray::new(*key.expose());
        let to = self.to.iter().map(|(agent, of)| (ByteArray::new(*agent.as_bytes()), of.as_ref().map(key)));
        let frame = ByteBuf::from(self.frame.as_slice());
        let Some(ends) = &self.ends else { return codec::encode(&Wire(to.collect(), frame)) };
        let sharer = |((agent, key), end): (_, &End)| Some((agent, key?, ByteArray::new(*end)));
        codec::encode(&SharedWire(frame, to.zip(ends).filter_map(sharer).collect()))
    }

    /// Each recipient's frame, and with which key it is left.
    // contracts/mailbox.md M18.
    pub fn frames(&self) -> impl Iterator<Item = (AgentId, Option<&DepositKey>, Cow<'_, [u8]>)> {
        self.to.iter().enumerate().map(|(at, (agent, key))| {
            let end = self.ends.as_ref().and_then(|ends| ends.get(at));
            let whole = Cow::Borrowed(self.frame.as_slice());
            let frame = end.map_or(whole, |end| Cow::Owned([self.frame.as_slice(), end].concat()));
            (*agent, key.as_ref(), frame)
        })
    }

    /// Bytes of all recipients' frames together.
    #[must_use]
    pub fn frames_len(&self) -> usize {
        let end = if self.ends.is_some() { MAC_LEN } else { 0 };
        self.to.len().saturating_mul(self.frame.len().saturating_add(end))
    }

    /// What the recipients' frames end with, in their order; `None` where all have one frame.
    #[must_use]
    pub fn ends(&self) -> Option<&[End]> {
        self.ends.as_deref()
    }

    /// For whom, and with which key.
    #[must_use]
    pub fn to(&self) -> &[(AgentId, Option<DepositKey>)] {
        &self.to
    }

    /// The frame, or what all frames begin with.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}
