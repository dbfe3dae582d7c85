//! Requests that only read, sealed without letters (contracts/query.md): the keys of a stream of them, and their forms.
//!
//! ```text
//!   opener   E  ─────────►   E' ─► keys     session's secret, DH(E, E'), transcript ─► one key for each direction
//!   keys ◄── E' ◄─────────                  n-th frame: nonce n, so that what is altered, left out or said again does not open
//! ```
//!
//! No state of a session moves, and nothing of this is for a disk.

use nuncio_contracts::registry::{label, limit};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use zeroize::Zeroizing;

use crate::call::{CallPlace, What};
use crate::codec;
use crate::content_type::ContentType;
use crate::crypto::{self, CryptoError, TAG_LEN};
use crate::ids::{AgentId, SessionId};
use crate::padding;
use crate::seal_log;
use crate::secret::Key;

/// Frames of one direction of a stream.
const FRAMES_MAX: u64 = 1 << 32;
/// A form at its longest: payload, call, content type and their heads.
const FORM_LEN_MAX: usize = limit::PAYLOAD_INLINE_MAX + limit::CALL_LEN_MAX + limit::CONTENT_TYPE_LEN_MAX + 32;

/// What a session gives its queries. Cloned, it is the same; printed, it is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySecret(Key);

impl QuerySecret {
    /// Of a session's exporter.
    // contracts/query.md Q6.
    #[must_use]
    pub fn of(exporter: &Key) -> Self {
        Self(Key::new(crypto::hmac_sha256(exporter.expose(), &[label::QUERY])))
    }
}

/// Between whom, and in which session, a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between {
    /// The session whose secret it is.
    pub session: SessionId,
    /// Who opened the stream, and asks.
    pub opener: AgentId,
    /// Who answers.
    pub other: AgentId,
}

/// One end's key of a stream, before the other's is known. It goes when the keys are made.
#[derive(Debug)]
pub struct Ephemeral {
    private: Key,
    public: [u8; 32],
}

/// The two directions of a stream, as one end has them.
#[derive(Debug)]
pub struct Directions {
    /// What this end says.
    pub sealer: Sealer,
    /// What the other end says.
    pub opener: Opener,
}

impl Ephemeral {
    /// Draws one.
    #[must_use]
    pub fn draw<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::of(Key::random(rng))
    }

    /// Of a private half that was drawn for one stream.
    #[must_use]
    pub fn of(private: Key) -> Self {
        Self { public: crypto::dh_public(&private), private }
    }

    /// The public half, which the other end is sent.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The keys, as the opener has them.
    ///
    /// # Errors
    /// [`CryptoError::AllZero`]: the other end's key is of small order.
    pub fn asking(self, secret: &QuerySecret, between: &Between, theirs: &[u8; 32]) -> Result<Directions, CryptoError> {
        let [asks, answers] = keys(secret, between, &self.private, [&self.public, theirs], theirs)?;
        Ok(Directions { sealer: Sealer(asks), opener: Opener(Some(answers)) })
    }

    /// The keys, as the other end has them.
    ///
    /// # Errors
    /// As [`Ephemeral::asking`].
    pub fn answering(
        self,
        secret: &QuerySecret,
        between: &Between,
        theirs: &[u8; 32],
    ) -> Result<Directions, CryptoError> {
        let [asks, answers] = keys(secret, between, &self.private, [theirs, &self.public], theirs)?;
        Ok(Directions { sealer: Sealer(answers), opener: Opener(Some(asks)) })
    }
}

// contracts/query.md Q6: both ends' fresh keys, both ends' names and the session's secret are in both keys.
fn keys(
    secret: &QuerySecret,
    between: &Between,
    private: &Key,
    [opener, other]: [&[u8; 32]; 2],
    theirs: &[u8; 32],
) -> Result<[Direction; 2], CryptoError> {
    let transcript = crypto::sha256(&[
        label::QUERY,
        &[0],
        between.session.as_bytes(),
        between.opener.as_bytes(),
        between.other.as_bytes(),
        opener,
        other,
    ]);
    let shared = crypto::dh(private, theirs)?;
    let mut out = Zeroizing::new([0; 64]);
    let info = [label::QUERY_KEYS, &[0], &transcript].concat();
    crypto::hkdf_sha256(secret.0.expose(), shared.expose(), &info, out.as_mut());
    let (asks, answers) = out.split_at(32);
    let direction = |key: &[u8]| Key::from_slice(key).map(|key| Direction { key, transcript, next: 0 });
    // Of 64 bytes both halves have 32.
    direction(asks).zip(direction(answers)).map(|(asks, answers)| [asks, answers]).ok_or(CryptoError::NotAuthentic)
}

#[derive(Debug)]
struct Direction {
    key: Key,
    transcript: [u8; 32],
    next: u64,
}

impl Direction {
    /// The number of the next frame, as its nonce. No number is given twice.
    // contracts/query.md Q7.
    fn nonce(&mut self) -> Option<[u8; 12]> {
        let no = self.next;
        if no >= FRAMES_MAX {
            return None;
        }
        self.next = no + 1;
        let mut nonce = [0; 12];
        nonce.iter_mut().skip(4).zip(no.to_be_bytes()).for_each(|(to, byte)| *to = byte);
        Some(nonce)
    }
}

/// Seals what this end says, in order.
#[derive(Debug)]
pub struct Sealer(Direction);

impl Sealer {
    /// The next frame. `None`: the stream has had as many as it may.
    #[must_use]
    pub fn seal(&mut self, spoken: &Spoken) -> Option<Vec<u8>> {
        let nonce = self.0.nonce()?;
        let mut frame = spoken.encode();
        padding::pad(&mut frame);
        let tag = crypto::seal_in_place(self.0.key.expose(), &nonce, &self.0.transcript, &mut frame);
        frame.extend_from_slice(&tag);
        seal_log::sealed("header", &self.0.key, &nonce, &frame);
        Some(frame)
    }
}

/// Why a frame of a stream of queries ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It is not the next of its direction, or none opens any more.
    #[error("not the next frame of this stream: {0}")]
    Crypto(#[from] CryptoError),
    /// It is authentic, and not padded in the one form.
    #[error("not padded as it must be")]
    Padding,
    /// It is authentic, and no form of a query.
    #[error("no query, and no answer to one")]
    Malformed,
}

/// Opens what the other end says, in order. Behind the first frame that is not the next, none opens.
#[derive(Debug)]
pub struct Opener(Option<Direction>);

impl Opener {
    /// The next frame.
    ///
    /// # Errors
    /// Anything but the next frame, as it was sealed: the stream is over.
    pub fn open(&mut self, frame: &[u8]) -> Result<Spoken, QueryError> {
        // contracts/query.md Q7: it comes back only where all of it was right.
        let mut direction = self.0.take().ok_or(CryptoError::NotAuthentic)?;
        let nonce = direction.nonce().ok_or(CryptoError::NotAuthentic)?;
        let (sealed, tag) = frame.split_last_chunk::<TAG_LEN>().ok_or(CryptoError::NotAuthentic)?;
        let mut clear = Zeroizing::new(sealed.to_vec());
        crypto::open_in_place(direction.key.expose(), &nonce, &direction.transcript, &mut clear, tag)?;
        let form = padding::unpad(&clear).ok_or(QueryError::Padding)?;
        let spoken = Spoken::parse(form).ok_or(QueryError::Malformed)?;
        self.0 = Some(direction);
        Ok(spoken)
    }
}

/// A query, or an answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Names a query of its stream.
    pub number: u32,
    /// Of which call; `None` in an answer that wants a letter.
    pub place: Option<CallPlace>,
    /// What the payload is.
    pub content_type: ContentType,
    /// The message, as a program or a service wrote it.
    pub payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a>(u32, #[serde(borrow)] Option<&'a Bytes>, ContentType, #[serde(borrow)] &'a Bytes);

impl Spoken {
    /// The answer that wants a letter.
    #[must_use]
    pub const fn letter(number: u32) -> Self {
        Self { number, place: None, content_type: ContentType::BYTES, payload: Vec::new() }
    }

    /// Whether a message may go so: it is short enough, and so is what stands beside it.
    #[must_use]
    pub fn fits(place: &CallPlace, payload_len: usize) -> bool {
        payload_len <= limit::PAYLOAD_INLINE_MAX && place.value().is_some()
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let place = self.place.as_ref().and_then(CallPlace::value);
        let place = place.as_deref().map(Bytes::new);
        let wire = Wire(self.number, place, self.content_type.clone(), Bytes::new(&self.payload));
        // Room for padding and tag, so that what is sealed is not moved.
        codec::encode_sized(&wire, self.payload.len() + self.payload.len() / 16 + 256)
    }

    /// Reads one; `None` for any other form.
    // contracts/query.md Q9.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Wire(number, place, content_type, payload) = codec::decode(bytes, FORM_LEN_MAX).ok()?;
        let place = match place {
            Some(value) => Some(CallPlace::parse(value)?),
            None if payload.is_empty() && content_type == ContentType::BYTES => None,
            None => return None,
        };
        let good = payload.len() <= limit::PAYLOAD_INLINE_MAX
            && place.as_ref().is_none_or(|place| matches!(place.what, What::Request | What::Answer));
        good.then(|| Self { number, place, content_type, payload: payload.to_vec() })
    }
}
