//! What members say to an owner, each signed by itself: invitations, consents, farewells, proposals, support for a successor, an heir's word
//! (contracts/channel.md section 3).

use nuncio_contracts::registry::{label, limit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::change::{Change, ChangeError, ChangeWire};
use crate::codec::{self, CodecError};
use crate::crypto::{self, CryptoError, SigningKey};
use crate::ids::{AgentId, ChannelId, EpochId, IdError};
use crate::time::UnixMillis;

/// Why bytes are no statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not the one form.
    #[error("statement: {0}")]
    Codec(#[from] CodecError),
    /// Names no agent.
    #[error("statement: {0}")]
    Id(#[from] IdError),
    /// Not signed by the one that it names.
    #[error("statement: {0}")]
    Crypto(#[from] CryptoError),
    /// Proposes what is no change.
    #[error("statement: {0}")]
    Change(#[from] ChangeError),
}

/// An owner or an admin asks an agent to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Where to.
    pub channel: ChannelId,
    /// The epoch in which it was made.
    pub epoch: EpochId,
    /// Who invites.
    pub by: AgentId,
    /// Who is invited.
    pub agent: AgentId,
    /// Until when it may be answered, by the clock of whoever appends.
    pub expires: UnixMillis,
    /// Random: tells it from others.
    pub id: [u8; 16],
}

/// An agent consents to be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Of which channel.
    pub channel: ChannelId,
    /// Who.
    pub agent: AgentId,
    /// SHA-256 of the invitation's bytes that it answers.
    pub invite: [u8; 32],
}

/// A member is one no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Of which channel.
    pub channel: ChannelId,
    /// The newest epoch that it knows.
    pub epoch: EpochId,
    /// Who.
    pub agent: AgentId,
}

/// An admin proposes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Of which channel.
    pub channel: ChannelId,
    /// The epoch on which it stands.
    pub epoch: EpochId,
    /// Who proposes.
    pub by: AgentId,
    /// What.
    pub change: Change,
}

/// An admin is for a succession.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// In which channel.
    pub channel: ChannelId,
    /// Who.
    pub agent: AgentId,
    /// SHA-256 of the body of the entry that it is for.
    pub body: [u8; 32],
}

/// A member consents to be the next owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heir {
    /// Of which channel.
    pub channel: ChannelId,
    /// The newest epoch that it knows.
    pub epoch: EpochId,
    /// Who.
    pub agent: AgentId,
}

type Bytes32 = ByteArray<32>;
#[derive(Serialize, Deserialize)]
struct InviteWire(Bytes32, Bytes32, Bytes32, Bytes32, u64, ByteArray<16>);
#[derive(Serialize, Deserialize)]
struct JoinWire(Bytes32, Bytes32, Bytes32);
#[derive(Serialize, Deserialize)]
struct LeaveWire(Bytes32, Bytes32, Bytes32);
#[derive(Serialize, Deserialize)]
struct ProposalWire(Bytes32, Bytes32, Bytes32, ChangeWire);
#[derive(Serialize, Deserialize)]
struct SupportWire(Bytes32, Bytes32, Bytes32);
#[derive(Serialize, Deserialize)]
struct HeirWire(Bytes32, Bytes32, Bytes32);
#[derive(Serialize, Deserialize)]
struct Signed<B>(B, ByteArray<64>);

/// `[body, signature]`, as its bytes.
fn sign<B: Serialize>(body: B, label: &[u8], signing: &SigningKey) -> Vec<u8> {
    let signature = signing.sign(label, &codec::encode(&body));
    codec::encode(&Signed(body, ByteArray::new(signature)))
}

/// Reads `[body, signature]` and verifies it under the agent that the body names.
// contracts/channel.md C10.
fn open<B: Serialize + DeserializeOwned>(
    bytes: &[u8],
    label: &[u8],
    who: impl Fn(&B) -> Bytes32,
) -> Result<(B, AgentId), StatementError> {
    let Signed(body, signature): Signed<B> = codec::decode(bytes, limit::CHANNEL_STATEMENT_LEN_MAX)?;
    let agent = AgentId::from_bytes(who(&body).into_array())?;
    crypto::verify(agent.as_bytes(), label, &codec::encode(&body), &signature.into_array())?;
    Ok((body, agent))
}

fn b32(bytes: &[u8; 32]) -> Bytes32 {
    ByteArray::new(*bytes)
}

impl Invite {
    /// Signs it as the one who invites: its bytes.
    #[must_use]
    pub fn sign(&self, signing: &SigningKey) -> Vec<u8> {
        let (channel, epoch) = (b32(self.channel.as_bytes()), b32(self.epoch.as_bytes()));
        let (by, agent) = (b32(self.by.as_bytes()), b32(self.agent.as_bytes()));
        let body = InviteWire(channel, epoch, by, agent, self.expires.0, ByteArray::new(self.id));
        sign(body, label::CHANNEL_INVITE, signing)
    }

    /// Reads an invitation and verifies it.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (body, by) = open(bytes, label::CHANNEL_INVITE, |body: &InviteWire| body.2)?;
        let InviteWire(channel, epoch, _, agent, expires, id) = body;
        Ok(Self {
            channel: ChannelId::from_bytes(channel.into_array()),
            epoch: EpochId::from_bytes(epoch.into_array()),
            by,
            agent: AgentId::from_bytes(agent.into_array())?,
            expires: UnixMillis(expires),
            id: id.into_array(),
        })
    }

    /// What a consent names an invitation by.
    #[must_use]
    pub fn hash(bytes: &[u8]) -> [u8; 32] {
        crypto::sha256(&[bytes])
    }
}

impl Join {
    /// Signs it as the one who joins: its bytes.
    #[must_use]
    pub fn sign(&self, signing: &SigningKey) -> Vec<u8> {
        let body = JoinWire(b32(self.channel.as_bytes()), b32(self.agent.as_bytes()), b32(&self.invite));
        sign(body, label::CHANNEL_JOIN, signing)
    }

    /// Reads a consent and verifies it.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (JoinWire(channel, _, invite), agent) = open(bytes, label::CHANNEL_JOIN, |body: &JoinWire| body.1)?;
        Ok(Self { channel: ChannelId::from_bytes(channel.into_array()), agent, invite: invite.into_array() })
    }
}

impl Leave {
    /// Signs it as the one who leaves: its bytes.
    #[must_use]
    pub fn sign(&self, signing: &SigningKey) -> Vec<u8> {
        let body = LeaveWire(b32(self.channel.as_bytes()), b32(self.epoch.as_bytes()), b32(self.agent.as_bytes()));
        sign(body, label::CHANNEL_LEAVE, signing)
    }

    /// Reads a farewell and verifies it.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (LeaveWire(channel, epoch, _), agent) = open(bytes, label::CHANNEL_LEAVE, |body: &LeaveWire| body.2)?;
        let (channel, epoch) = (ChannelId::from_bytes(channel.into_array()), EpochId::from_bytes(epoch.into_array()));
        Ok(Self { channel, epoch, agent })
    }
}

impl Proposal {
    /// Signs it as the one who proposes: its bytes.
    #[must_use]
    pub fn sign(&self, signing: &SigningKey) -> Vec<u8> {
        let (channel, epoch) = (b32(self.channel.as_bytes()), b32(self.epoch.as_bytes()));
        let body = ProposalWire(channel, epoch, b32(self.by.as_bytes()), self.change.to_wire());
        sign(body, label::CHANNEL_PROPOSE, signing)
    }

    /// Reads a proposal and verifies it. Whether it may be followed a record knows ([`super::Record::check_proposal`]).
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (body, by) = open(bytes, label::CHANNEL_PROPOSE, |body: &ProposalWire| body.2)?;
        let ProposalWire(channel, epoch, _, change) = body;
        Ok(Self {
            channel: ChannelId::from_bytes(channel.into_array()),
            epoch: EpochId::from_bytes(epoch.into_array()),
            by,
            change: Change::from_wire(change)?,
        })
    }
}

impl Support {
    /// Signs it as the admin who is for it: its bytes.
    #[must_use]
    pub fn sign(&self, signing: &SigningKey) -> Vec<u8> {
        let body = SupportWire(b32(self.channel.as_bytes()), b32(self.agent.as_bytes()), b32(&self.body));
        sign(body, label::CHANNEL_SUPPORT, signing)
    }

    /// Reads a support and verifies it.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (SupportWire(channel, _, body), agent) = open(bytes, label::CHANNEL_SUPPORT, |body: &SupportWire| body.1)?;
        Ok(Self { channel: ChannelId::from_bytes(channel.into_array()), agent, body: body.into_array() })
    }
}

impl Heir {
    /// Signs it as the one who would be the owner: its bytes.
    #[must_use]
    pub fn sign(&self, signing: &SigningKey) -> Vec<u8> {
        let body = HeirWire(b32(self.channel.as_bytes()), b32(self.epoch.as_bytes()), b32(self.agent.as_bytes()));
        sign(body, label::CHANNEL_HEIR, signing)
    }

    /// Reads an heir's word and verifies it.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (HeirWire(channel, epoch, _), agent) = open(bytes, label::CHANNEL_HEIR, |body: &HeirWire| body.2)?;
        let (channel, epoch) = (ChannelId::from_bytes(channel.into_array()), EpochId::from_bytes(epoch.into_array()));
        Ok(Self { channel, epoch, agent })
    }
}
