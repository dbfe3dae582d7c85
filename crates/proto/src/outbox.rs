//! Letters accepted by `send` and not yet acknowledged.

use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::codec;
use crate::frame::{Frame, Nonce};
use crate::ids::{AgentId, LetterId, Seq, SessionId};
use crate::letter::{Letter, LetterKind};
use crate::time::UnixMillis;

/// One letter on its way. It begins as a draft, gains its frame when it is sealed, and keeps the letter until acknowledged, so that it can be
/// sealed again in another session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) to: AgentId,
    pub(crate) id: LetterId,
    pub(crate) control: bool,
    pub(crate) expires: UnixMillis,
    pub(crate) letter: Vec<u8>,
    pub(crate) sealed: Option<SealedAs>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedAs {
    pub(crate) session: SessionId,
    pub(crate) seq: Seq,
    pub(crate) frame: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Row(u8, ByteArray<32>, ByteBuf, Option<(ByteArray<32>, Seq, ByteBuf)>);

impl Entry {
    pub(crate) fn draft(to: AgentId, letter: &Letter) -> Self {
        Self {
            to,
            id: letter.id,
            control: letter.kind == LetterKind::Control,
            expires: letter.expires(),
            letter: letter.encode(),
            sealed: None,
        }
    }

    pub(crate) fn to_row(&self) -> Vec<u8> {
        let sealed = self.sealed.as_ref().map(|sealed| {
            (ByteArray::new(*sealed.session.as_bytes()), sealed.seq, ByteBuf::from(sealed.frame.as_slice()))
        });
        codec::encode_sized(
            &Row(1, ByteArray::new(*self.to.as_bytes()), ByteBuf::from(self.letter.as_slice()), sealed),
            1024,
        )
    }

    /// The nonce of its frame.
    pub(crate) fn nonce(&self) -> Option<Nonce> {
        match Frame::decode(&self.sealed.as_ref()?.frame).ok()? {
            Frame::Sealed(frame) => Some(frame.nonce),
            Frame::Notice(_) => None,
        }
    }

    pub(crate) fn from_row(bytes: &[u8]) -> Option<Self> {
        let Row(_, to, letter, sealed) = codec::decode(bytes, 2 * limit::FRAME_LEN_MAX).ok()?;
        let read = Letter::decode(&letter).ok()?;
        let sealed = sealed.map(|(session, seq, frame)| SealedAs {
            session: SessionId::from_bytes(session.into_array()),
            seq,
            frame: frame.into_vec(),
        });
        Some(Self { sealed, ..Self::draft(AgentId::from_bytes(to.into_array()).ok()?, &read) })
    }
}
