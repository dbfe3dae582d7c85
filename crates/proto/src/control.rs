//! Letters between two runtimes (contracts/letter.md section 5): the payload of a control letter.

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::channel::Word;
use crate::codec;
use crate::frame::Nonce;
use crate::ids::LetterId;
use crate::knock::Knock;
use crate::mailbox::Given;
use crate::token::TokenHash;

/// What a control letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A letter was received and will not be delivered; the code says why.
    Refused {
        /// Which letter.
        letter: LetterId,
        /// One of the registry's codes.
        code: u16,
        /// The nonce of its frame: sealed again in another one the letter is judged anew.
        frame: Nonce,
    },
    /// Fresh prekeys for a new session: the leader's half of a re-key.
    RekeyOffer(Vec<u8>),
    /// The follower's half.
    RekeyAnswer(Vec<u8>),
    /// First letter of a re-keyed session: lets the leader's ratchet turn.
    Hello,
    /// The sender's identity is retired: the signed statement.
    Retired(Vec<u8>),
    /// The large payload of a letter is whole on the receiver's disk.
    PayloadTaken(LetterId),
    /// A letter waits for the token of this hash.
    TokenWanted(TokenHash),
    /// The token that was wanted.
    Token(Vec<u8>),
    /// Something that the token service of the trust domain has signed.
    Statement(Vec<u8>),
    /// Where frames wait for the sender; `None` where none do any more.
    Mailbox(Option<Given>),
    /// Of a channel.
    Channel(Box<Word>),
    /// Who would be let in.
    Knock(Box<Knock>),
    /// What the sender may do here; whether it is a permit is to be seen.
    Permit(Vec<u8>),
    /// The sender revokes the last link of this permit.
    PermitOver(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
struct Wire(u8, Option<ByteArray<16>>, u16, ByteBuf);

impl Control {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = match self {
            Self::Refused { letter, code, frame } => {
                Wire(1, Some(ByteArray::new(*letter.as_bytes())), *code, ByteBuf::from(frame.as_slice()))
            }
            Self::RekeyOffer(bytes) => Wire(2, None, 0, ByteBuf::from(bytes.clone())),
            Self::RekeyAnswer(bytes) => Wire(3, None, 0, ByteBuf::from(bytes.clone())),
            Self::Hello => Wire(4, None, 0, ByteBuf::new()),
            Self::Retired(bytes) => Wire(5, None, 0, ByteBuf::from(bytes.clone())),
            Self::TokenWanted(hash) => Wire(7, None, 0, ByteBuf::from(hash.as_slice())),
            Self::Statement(statement) => Wire(9, None, 0, ByteBuf::from(statement.as_slice())),
            Self::Token(token) => Wire(8, None, 0, ByteBuf::from(token.as_slice())),
            Self::Mailbox(given) => {
                let given = given.as_ref().map(Given::to_bytes).unwrap_or_default();
                Wire(10, None, 0, ByteBuf::from(given))
            }
            Self::Channel(word) => Wire(11, None, 0, ByteBuf::from(word.to_bytes())),
            Self::Knock(knock) => Wire(12, None, 0, ByteBuf::from(knock.to_bytes())),
            Self::Permit(permit) => Wire(13, None, 0, ByteBuf::from(permit.as_slice())),
            Self::PermitOver(permit) => Wire(14, None, 0, ByteBuf::from(permit.as_slice())),
            Self::PayloadTaken(letter) => Wire(6, Some(ByteArray::new(*letter.as_bytes())), 0, ByteBuf::new()),
        };
        codec::encode(&wire)
    }

    /// Reads a payload; `None` if it is none of these, in which case it is refused as malformed.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let Wire(what, letter, code, bytes) = codec::decode(payload, limit::PAYLOAD_INLINE_MAX).ok()?;
        match (what, letter, code) {
            (1, Some(letter), code) => {
                let frame = bytes.into_vec().try_into().ok()?;
                Some(Self::Refused { letter: LetterId::parse(letter.into_array())?, code, frame })
            }
            (2, None, 0) => Some(Self::RekeyOffer(bytes.into_vec())),
            (3, None, 0) => Some(Self::RekeyAnswer(bytes.into_vec())),
            (4, None, 0) if bytes.is_empty() => Some(Self::Hello),
            (5, None, 0) => Some(Self::Retired(bytes.into_vec())),
            (6, Some(letter), 0) if bytes.is_empty() => Some(Self::PayloadTaken(LetterId::parse(letter.into_array())?)),
            (7, None, 0) => Some(Self::TokenWanted(bytes.into_vec().try_into().ok()?)),
            (8, None, 0) if (33..=limit::TOKEN_LEN_MAX).contains(&bytes.len()) => Some(Self::Token(bytes.into_vec())),
            (9, None, 0) if !bytes.is_empty() => Some(Self::Statement(bytes.into_vec())),
            (10, None, 0) if bytes.is_empty() => Some(Self::Mailbox(None)),
            (10, None, 0) => Some(Self::Mailbox(Some(Given::parse(&bytes)?))),
            (11, None, 0) => Some(Self::Channel(Box::new(Word::parse(&bytes)?))),
            (12, None, 0) => Some(Self::Knock(Box::new(Knock::parse(&bytes)?))),
            (13, None, 0) if is_permit_len(&bytes) => Some(Self::Permit(bytes.into_vec())),
            (14, None, 0) if is_permit_len(&bytes) => Some(Self::PermitOver(bytes.into_vec())),
            _ => None,
        }
    }
}

fn is_permit_len(bytes: &[u8]) -> bool {
    (1..=limit::PERMIT_LEN_MAX).contains(&bytes.len())
}
