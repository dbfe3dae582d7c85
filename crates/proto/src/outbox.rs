//! Letters accepted by `send` and not yet acknowledged.

use std::borrow::Cow;
use std::sync::Arc;

use nuncio_contracts::registry::{extension, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use crate::audit::{Audited, Head, KeptOpening};
use crate::call::CallPlace;
use crate::codec;
use crate::frame::{Frame, Nonce};
use crate::identity::Identity;
use crate::ids::{AgentId, CallSessionId, LetterId, Seq, SessionId};
use crate::letter::{Extension, Letter, LetterKind};
use crate::session::{Session, Told};
use crate::time::UnixMillis;
use crate::token::proof::Hop;
use crate::token::{Genuine, Receiver, TokenHash, hash_of};

/// One letter on its way. It begins as a draft, gains its frame when it is sealed, and keeps the letter until acknowledged, so that it can be
/// sealed again in another session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) to: AgentId,
    pub(crate) id: LetterId,
    pub(crate) control: bool,
    /// It is a message of a call.
    pub(crate) call: bool,
    /// Of the conversation that it is part of, if it is of one.
    pub(crate) said_in: Option<CallSessionId>,
    pub(crate) expires: UnixMillis,
    pub(crate) letter: Vec<u8>,
    pub(crate) sealed: Option<SealedAs>,
    /// The token that the letter carries.
    pub(crate) token: Option<Carried>,
    /// How often a fresh token was wanted.
    pub(crate) renewals: u8,
    /// The whole token with which it was sealed, where it was given another one since. After a start nobody knows.
    pub(crate) former: Option<Vec<u8>>,
    /// When its frame was left at a node, by the frame's nonce.
    pub(crate) deposited: Option<(Nonce, UnixMillis)>,
    /// It was sealed in another session and may have arrived there. After a start nobody knows.
    pub(crate) tried: bool,
    /// In a session in which its receiver had spoken. After a start nobody knows.
    pub(crate) answered: bool,
}

/// A token that a letter of ours carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) hash: TokenHash,
    pub(crate) transaction: Arc<str>,
    pub(crate) expires: UnixMillis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedAs {
    pub(crate) session: SessionId,
    pub(crate) seq: Seq,
    pub(crate) frame: Vec<u8>,
    /// The token with which it was sealed, if that is known: not after a start.
    pub(crate) token: Option<TokenHash>,
    /// What it acknowledges, if that is known: not after a start.
    pub(crate) told: Option<Told>,
}

#[derive(Serialize, Deserialize)]
struct Row<'a>(u8, ByteArray<32>, #[serde(borrow)] &'a Bytes, #[serde(borrow)] Option<SealedRow<'a>>);
#[derive(Serialize, Deserialize)]
struct SealedRow<'a>(ByteArray<32>, Seq, #[serde(borrow)] &'a Bytes);

/// What a row has beside letter and frame, at most.
const ROW_OVERHEAD: usize = 96;

impl Entry {
    pub(crate) fn draft(to: AgentId, letter: &Letter) -> Self {
        Self {
            to,
            id: letter.id,
            control: letter.kind == LetterKind::Control,
            call: letter.extension(extension::CALL).is_some(),
            said_in: CallPlace::of(letter).ok().flatten().and_then(|place| place.session),
            expires: letter.expires(),
            letter: letter.encode(),
            sealed: None,
            token: Carried::of(letter),
            renewals: 0,
            former: None,
            deposited: None,
            tried: false,
            answered: false,
        }
    }

    /// Puts another letter of the same id in place.
    pub(crate) fn set_letter(&mut self, letter: &Letter) {
        (self.letter, self.token) = (letter.encode(), Carried::of(letter));
    }

    pub(crate) fn whole_token(&self) -> Option<Vec<u8>> {
        Letter::decode(&self.letter).ok()?.extension(extension::TOKEN).map(<[u8]>::to_vec)
    }

    /// The whole token of a hash, if the letter carries it or was sealed with it.
    pub(crate) fn token_of(&self, hash: &TokenHash) -> Option<Vec<u8>> {
        let carried = self.token.as_ref().filter(|token| token.hash == *hash).and_then(|_| self.whole_token());
        carried.or_else(|| self.former.clone().filter(|former| hash_of(former) == *hash))
    }

    /// The letter's bytes as they are sealed in a session: a token that the peer has acknowledged there is named by its hash (contracts/token.md K9),
    /// and a hop proof that is wanted is made (K25).
    ///
    /// In a session that audits the letter comes with its commitment, and beside its bytes as it is there, with what opens it.
    pub(crate) fn letter_in(
        &self,
        session: &Session,
        identity: &Identity,
        head: Option<Head>,
    ) -> (Cow<'_, [u8]>, Option<(Letter, KeptOpening)>) {
        let audits = session.audits() && !self.control;
        let as_it_is = Cow::Borrowed(self.letter.as_slice());
        if self.token.is_none() && !audits {
            return (as_it_is, None);
        }
        let Ok(mut letter) = Letter::decode(&self.letter) else { return (as_it_is, None) };
        let mut changed = false;
        if let Some(token) = &self.token {
            if letter.wants_proof() {
                letter.set_proof(self.proof(&letter, token, session, identity).into_bytes());
                changed = true;
            }
            if session.tokens_out.has(&token.hash) {
                letter.set_token(token.hash.to_vec());
                changed = true;
            }
        }
        if audits && let Some(opening) = session.next_opening(&letter) {
            let value = Audited { commitment: opening.commitment(), head }.encode();
            letter.set_extension(Extension { number: extension::AUDIT, critical: true, value });
            return (letter.encode().into(), Some((letter, opening)));
        }
        (if changed { letter.encode().into() } else { as_it_is }, None)
    }

    fn proof(&self, letter: &Letter, token: &Carried, session: &Session, identity: &Identity) -> String {
        let (from, session) = (identity.id(), session.id);
        let (to, token, content) = (&Receiver::Agent(self.to), &token.hash, &letter.content());
        Hop { from: &from, to, session: &session, letter: &self.id, token, content }.sign(identity.signing())
    }

    pub(crate) fn to_row(&self) -> Vec<u8> {
        let sealed = self
            .sealed
            .as_ref()
            .map(|sealed| SealedRow(ByteArray::new(*sealed.session.as_bytes()), sealed.seq, Bytes::new(&sealed.frame)));
        let len = self.letter.len() + self.sealed.as_ref().map_or(0, |sealed| sealed.frame.len());
        let row = Row(1, ByteArray::new(*self.to.as_bytes()), Bytes::new(&self.letter), sealed);
        codec::encode_sized(&row, len + ROW_OVERHEAD)
    }

    /// The nonce of its frame.
    pub(crate) fn nonce(&self) -> Option<Nonce> {
        match Frame::decode(&self.sealed.as_ref()?.frame).ok()? {
            Frame::Sealed(frame) => Some(frame.nonce),
            Frame::Notice(_) => None,
        }
    }

    /// When the frame that it has now was left at a node.
    pub(crate) fn deposited_at(&self) -> Option<UnixMillis> {
        let (frame, at) = self.deposited?;
        (self.nonce() == Some(frame)).then_some(at)
    }

    pub(crate) fn from_row(bytes: &[u8]) -> Option<Self> {
        let Row(_, to, letter, sealed) = codec::decode(bytes, 2 * limit::FRAME_LEN_MAX).ok()?;
        let read = Letter::decode(letter).ok()?;
        let sealed = sealed.map(|SealedRow(session, seq, frame)| SealedAs {
            session: SessionId::from_bytes(session.into_array()),
            seq,
            frame: frame.to_vec(),
            token: None,
            told: None,
        });
        Some(Self {
            sealed,
            tried: true,
            answered: true,
            ..Self::draft(AgentId::from_bytes(to.into_array()).ok()?, &read)
        })
    }
}

impl Carried {
    fn of(letter: &Letter) -> Option<Self> {
        let token = Genuine::kept(letter.extension(extension::TOKEN)?)?;
        let claims = token.claims();
        Some(Self {
            hash: *token.hash(),
            transaction: claims.txn.as_str().into(),
            expires: UnixMillis(token.claims().exp.saturating_mul(1_000)),
        })
    }
}
