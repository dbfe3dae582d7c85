//! An event, before it is signed.

use nuncio_contracts::registry::{event, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::codec::{self, CodecError};
use crate::crypto::{self, PublicKey};
use crate::ids::{AgentId, ChannelId, IdError};
use crate::time::UnixMillis;

/// Version of the form.
const VERSION: u8 = 1;

/// One thing that an agent did or met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who says so.
    pub agent: AgentId,
    /// Which count of the agent's.
    pub epoch: u64,
    /// Its number in it.
    pub seq: u64,
    /// Hash of the event before it; zeros in front of the first.
    pub prev: [u8; 32],
    /// The agent's clock.
    pub at: UnixMillis,
    /// What happened.
    pub what: What,
    /// Why it did not, as a code of the registry.
    pub outcome: Option<u16>,
    /// With whom, or about whom.
    pub peer: Option<EventPeer>,
    /// In which channel.
    pub channel: Option<EventChannel>,
    /// In which transaction.
    pub transaction: Option<String>,
    /// Hash of the token.
    pub token: Option<[u8; 32]>,
    /// The letter's commitment.
    pub commitment: Option<[u8; 32]>,
    /// A content type, or a tool's name.
    pub kind: Option<String>,
    /// Bits in the payload's length.
    pub size: Option<u8>,
    /// The peer's newest event that is known.
    pub head: Option<Head>,
}

/// What an event tells of: a number of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct What(u8);

/// The other agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventPeer {
    /// By its key.
    Agent(AgentId),
    /// By what only the two know each other by.
    Pseudonym([u8; 16]),
}

/// The channel that an event is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventChannel {
    /// By its id.
    Id(ChannelId),
    /// By what only those know it by who know its id.
    Pseudonym([u8; 16]),
}

/// The newest event of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of which count.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Why bytes are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not the one form.
    #[error("event: {0}")]
    Codec(#[from] CodecError),
    /// Of another version.
    #[error("event of version {0}")]
    Version(u8),
    /// It tells of something that this version does not know.
    #[error("event of an unknown kind: {0}")]
    Kind(u8),
    /// A text is empty, too long, or holds control characters; a size is no number of bits.
    #[error("event with an impossible {0}")]
    Malformed(&'static str),
    /// An agent that is none.
    #[error("event: {0}")]
    Agent(#[from] IdError),
    /// Its agent has not signed it.
    #[error("the event is not signed by its agent")]
    Signature,
}

impl EventError {
    /// The name of contracts/README.md.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Codec(CodecError::TooLong { .. }) => "too-long",
            Self::Codec(_) => "codec",
            Self::Version(_) => "version",
            Self::Kind(_) => "kind",
            Self::Malformed(_) => "malformed",
            Self::Agent(_) => "bad-key",
            Self::Signature => "signature",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire(
    u8,
    ByteArray<32>,
    u64,
    u64,
    ByteArray<32>,
    u64,
    u8,
    Option<u16>,
    Option<PeerWire>,
    Option<String>,
    Option<ByteArray<32>>,
    Option<ByteArray<32>>,
    Option<String>,
    Option<u8>,
    Option<(u64, u64, ByteArray<32>)>,
);

/// Who, or in which channel and who.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PeerWire {
    Peer(ByteBuf),
    InChannel(ByteBuf, Option<ByteBuf>),
}

impl PeerWire {
    fn of(peer: Option<EventPeer>, channel: Option<EventChannel>) -> Option<Self> {
        let peer = peer.map(|peer| ByteBuf::from(peer.to_bytes()));
        match channel {
            Some(channel) => Some(Self::InChannel(ByteBuf::from(channel.to_bytes()), peer)),
            None => peer.map(Self::Peer),
        }
    }

    fn read(self) -> Result<(Option<EventPeer>, Option<EventChannel>), EventError> {
        match self {
            Self::Peer(peer) => Ok((Some(EventPeer::read(&peer)?), None)),
            Self::InChannel(channel, peer) => {
                let channel = EventChannel::read(&channel).ok_or(EventError::Malformed("channel"))?;
                Ok((peer.map(|peer| EventPeer::read(&peer)).transpose()?, Some(channel)))
            }
        }
    }
}

impl EventChannel {
    /// By what an agent's events name a channel where they name nobody.
    // contracts/audit.md V30.
    #[must_use]
    pub fn pseudonym(channel: &ChannelId, agent: &AgentId) -> Self {
        let [pseudonym @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            crypto::hmac_sha256(channel.as_bytes(), &[agent.as_bytes()]);
        Self::Pseudonym(pseudonym)
    }

    /// Whether an event of this agent means a channel by it.
    #[must_use]
    pub fn is_of(&self, channel: &ChannelId, agent: &AgentId) -> bool {
        match self {
            Self::Id(id) => id == channel,
            Self::Pseudonym(_) => *self == Self::pseudonym(channel, agent),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let id = bytes.try_into().ok().map(|id| Self::Id(ChannelId::from_bytes(id)));
        id.or_else(|| bytes.try_into().ok().map(Self::Pseudonym))
    }

    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Id(id) => id.as_bytes().to_vec(),
            Self::Pseudonym(pseudonym) => pseudonym.to_vec(),
        }
    }
}

impl What {
    /// An event of this number; `None` when nobody knows it.
    // contracts/audit.md V1.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            event::SESSION_ESTABLISHED..=event::POLICY_CHANGED => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether a domain's node alone does that.
    // contracts/audit.md V17.
    #[must_use]
    pub const fn is_of_node(self) -> bool {
        matches!(self.0, event::TOKEN_ISSUED..=event::TOKEN_REVOKED | event::KEY_ROTATED | event::POLICY_CHANGED)
    }
}

impl EventPeer {
    fn read(bytes: &[u8]) -> Result<Self, EventError> {
        if let Ok(pseudonym) = bytes.try_into() {
            return Ok(Self::Pseudonym(pseudonym));
        }
        let key = bytes.try_into().map_err(|_| EventError::Malformed("peer"))?;
        Ok(Self::Agent(AgentId::from_bytes(key)?))
    }

    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Agent(agent) => agent.as_bytes().to_vec(),
            Self::Pseudonym(pseudonym) => pseudonym.to_vec(),
        }
    }
}

impl Event {
    /// An event of which nothing more is known. Its chain numbers it ([`super::Chain::number`]).
    #[must_use]
    pub const fn new(agent: AgentId, at: UnixMillis, what: What) -> Self {
        Self {
            agent,
            epoch: 0,
            seq: 0,
            prev: [0; 32],
            at,
            what,
            outcome: None,
            peer: None,
            channel: None,
            transaction: None,
            token: None,
            commitment: None,
            kind: None,
            size: None,
            head: None,
        }
    }

    /// A name as an event holds it: longer ones by their hash.
    // contracts/audit.md V3.
    #[must_use]
    pub fn name_of(name: &str) -> String {
        if is_text(name) {
            return name.to_owned();
        }
        format!("sha256:{}", data_encoding::HEXLOWER.encode(&crypto::sha256(&[name.as_bytes()])))
    }

    /// Bits in a payload's length.
    // contracts/audit.md V4.
    #[must_use]
    pub const fn size_of(len: u64) -> u8 {
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "at most 64")]
        let bits = (u64::BITS - len.leading_zeros()) as u8;
        bits
    }

    /// Its bytes, as they are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Wire(
            VERSION,
            ByteArray::new(*self.agent.as_bytes()),
            self.epoch,
            self.seq,
            ByteArray::new(self.prev),
            self.at.0,
            self.what.0,
            self.outcome,
            PeerWire::of(self.peer, self.channel),
            self.transaction.clone(),
            self.token.map(ByteArray::new),
            self.commitment.map(ByteArray::new),
            self.kind.clone(),
            self.size,
            self.head.map(|head| (head.epoch, head.seq, ByteArray::new(head.hash))),
        ))
    }

    /// Reads an event, and the key that should have signed it. Nobody has checked who says so.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, PublicKey), EventError> {
        // The version stands first, so that a newer form is told from a broken one.
        if let [_, version @ ..0x18, ..] = bytes
            && *version != VERSION
        {
            return Err(EventError::Version(*version));
        }
        let wire: Wire = codec::decode(bytes, limit::EVENT_LEN_MAX)?;
        let Wire(
            version,
            agent,
            epoch,
            seq,
            prev,
            at,
            what,
            outcome,
            peer,
            transaction,
            token,
            commitment,
            kind,
            size,
            head,
        ) = wire;
        if version != VERSION {
            return Err(EventError::Version(version));
        }
        let key = PublicKey::from_bytes(&agent.into_array()).map_err(IdError::Key)?;
        let (peer, channel) = peer.map_or(Ok((None, None)), PeerWire::read)?;
        let event = Self {
            agent: AgentId::of_key(&key),
            epoch,
            seq,
            prev: prev.into_array(),
            at: UnixMillis(at),
            what: What::of(what).ok_or(EventError::Kind(what))?,
            outcome,
            peer,
            channel,
            transaction,
            token: token.map(ByteArray::into_array),
            commitment: commitment.map(ByteArray::into_array),
            kind,
            size,
            head: head.map(|(epoch, seq, hash)| Head { epoch, seq, hash: hash.into_array() }),
        };
        event.check_texts()?;
        Ok((event, key))
    }

    pub(super) fn check_texts(&self) -> Result<(), EventError> {
        for (place, text) in [("transaction", &self.transaction), ("kind", &self.kind)] {
            if text.as_ref().is_some_and(|text| !is_text(text)) {
                return Err(EventError::Malformed(place));
            }
        }
        if self.size.is_some_and(|bits| u32::from(bits) > u64::BITS) {
            return Err(EventError::Malformed("size"));
        }
        Ok(())
    }
}

fn is_text(text: &str) -> bool {
    (1..=limit::EVENT_TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}
