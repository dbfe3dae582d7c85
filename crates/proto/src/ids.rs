//! Names of things: one newtype per noun, one door each.

use core::fmt;
use core::str::FromStr;

use crate::crypto::{self, CryptoError};
use crate::time::UnixMillis;

/// Multicodec prefix of an Ed25519 public key in a `did:key` (W3C did:key v0.9, section 3.1).
const ED25519_MULTICODEC: [u8; 2] = [0xed, 0x01];
const DID_KEY_PREFIX: &str = "did:key:";

/// Who an agent is: its Ed25519 public key, written `did:key:z6Mk…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId([u8; 32]);

/// Why a text or bytes name no agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not of the form `did:key:z…`.
    #[error("an agent is written did:key:z6Mk…")]
    NotDidKey,
    /// The multibase text does not decode, or is not base58btc.
    #[error("the text after did:key: is not base58btc")]
    NotBase58,
    /// A key of another kind than Ed25519, or of another length.
    #[error("the key is not an Ed25519 public key")]
    NotEd25519,
    /// Not the 32 hexadecimal digits of a UUIDv7.
    #[error("a letter id is 32 hexadecimal digits of a UUIDv7")]
    NotLetterId,
    /// Not 32 hexadecimal digits.
    #[error("a permit's id is 32 hexadecimal digits")]
    NotPermitId,
    /// Bytes that are no usable point.
    #[error(transparent)]
    Key(#[from] CryptoError),
}

impl AgentId {
    /// Takes a public key that is a canonical point and not of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, IdError> {
        crypto::check_signing_public(&bytes)?;
        Ok(Self(bytes))
    }

    /// The agent of a key.
    #[must_use]
    pub fn of_key(key: &crypto::PublicKey) -> Self {
        Self(*key.as_bytes())
    }

    /// The public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Maps by agent are asked by bytes that are not known to be one.
impl core::borrow::Borrow<[u8; 32]> for AgentId {
    fn borrow(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let encoded = text.strip_prefix(DID_KEY_PREFIX).ok_or(IdError::NotDidKey)?;
        // contracts/identity.md I2: base58btc only, so one agent has one spelling.
        if !encoded.starts_with('z') || encoded.len() > 64 {
            return Err(IdError::NotBase58);
        }
        let (_, bytes) = multibase::decode(encoded).map_err(|_| IdError::NotBase58)?;
        let key = bytes.strip_prefix(&ED25519_MULTICODEC).ok_or(IdError::NotEd25519)?;
        Self::from_bytes(key.try_into().map_err(|_| IdError::NotEd25519)?)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [ED25519_MULTICODEC.as_slice(), &self.0].concat();
        write!(f, "{DID_KEY_PREFIX}{}", multibase::encode(multibase::Base::Base58Btc, bytes))
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

opaque_id!(
    /// One session between two agents: an output of its handshake, so both ends have it and nobody else.
    SessionId, 32
);
opaque_id!(
    /// Finds a session without trial decryption; derived from a header key, it changes with every ratchet turn.
    Tag, 16
);
opaque_id!(
    /// One channel: the hash of the first entry of its record.
    ChannelId, 32
);
opaque_id!(
    /// What a channel is after one entry of its record: that entry's hash.
    EpochId, 32
);
opaque_id!(
    /// One sender's chain in a channel: hash of its first key and of all that it stands on.
    ChainId, 32
);
opaque_id!(
    /// One program's conversation with one service of another agent: its caller chose it.
    CallSessionId, 16
);
opaque_id!(
    /// One link of a permit, and of a permit its last: what its giver signed, hashed.
    PermitId, 16
);
opaque_id!(
    /// One letter: a UUIDv7 (RFC 9562 section 5.7), so it carries the time at which the letter was made.
    LetterId, 16
);

impl LetterId {
    /// Makes an id from a time and 10 random bytes.
    #[must_use]
    pub fn new(created: UnixMillis, random: [u8; 10]) -> Self {
        let [_, _, t0, t1, t2, t3, t4, t5] = created.0.to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = random;
        let version = 0x70 | (r0 & 0x0f);
        let variant = 0x80 | (r2 & 0x3f);
        Self([t0, t1, t2, t3, t4, t5, version, r1, variant, r3, r4, r5, r6, r7, r8, r9])
    }

    /// Takes bytes that are a UUIDv7.
    #[must_use]
    pub fn parse(bytes: [u8; 16]) -> Option<Self> {
        let [_, _, _, _, _, _, version, _, variant, ..] = bytes;
        (version >> 4 == 7 && variant >> 6 == 0b10).then_some(Self(bytes))
    }

    /// When the letter was made, by its sender's clock.
    #[must_use]
    pub fn created(&self) -> UnixMillis {
        let [t0, t1, t2, t3, t4, t5, ..] = self.0;
        UnixMillis(u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]))
    }
}

impl FromStr for LetterId {
    type Err = IdError;

    /// Reads the 32 hexadecimal digits that [`LetterId`] prints.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| IdError::NotLetterId)?;
        let bytes = bytes.try_into().map_err(|_| IdError::NotLetterId)?;
        Self::parse(bytes).ok_or(IdError::NotLetterId)
    }
}

impl FromStr for PermitId {
    type Err = IdError;

    /// Reads the 32 hexadecimal digits that [`PermitId`] prints.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| IdError::NotPermitId)?;
        Ok(Self::from_bytes(bytes.try_into().map_err(|_| IdError::NotPermitId)?))
    }
}

/// A letter's number in its session and direction, from 0, never reset and never used twice.
pub type Seq = u64;
