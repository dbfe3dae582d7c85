//! What is inside a sealed frame (contracts/letter.md).

use nuncio_contracts::registry::{code, extension, kind, limit, time};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use crate::codec::{self, CodecError};
use crate::content_type::ContentType;
use crate::ids::LetterId;
use crate::payload::PayloadKey;
use crate::time::UnixMillis;

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Unique for its sender; carries the time of creation.
    pub id: LetterId,
    /// For the application, or between the two runtimes.
    pub kind: LetterKind,
    /// The letter that this one answers.
    pub reply_to: Option<LetterId>,
    /// After this time it is not delivered and its sender is told.
    pub deadline: Option<UnixMillis>,
    /// What the payload is.
    pub content_type: ContentType,
    /// The content, at most `payload_inline_max` bytes.
    pub payload: Vec<u8>,
    /// Numbered additions, ascending, each number once.
    pub extensions: Vec<Extension>,
}

/// Who reads a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterKind {
    /// The application.
    Plain,
    /// The peer's runtime ([`crate::control`]).
    Control,
}

/// A numbered addition to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// From the registry.
    pub number: u16,
    /// A receiver that does not know a critical extension refuses the letter.
    pub critical: bool,
    /// As the extension defines.
    pub value: Vec<u8>,
}

/// Why authentic bytes are no letter that is delivered. [`LetterError::code`] is what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LetterError {
    /// Not the canonical encoding of one letter.
    #[error("letter: {0}")]
    Codec(#[from] CodecError),
    /// A field breaks a rule of contracts/letter.md.
    #[error("letter breaks a rule of its contract")]
    Malformed,
    /// A critical extension that this version does not know.
    #[error("letter needs extension {0}, which this agent does not know")]
    UnknownExtension(u16),
    /// Its deadline, or the longest life of any letter, has passed.
    #[error("letter has expired")]
    Expired,
    /// Made later than now, beyond the allowed skew.
    #[error("letter was made in the future")]
    Future,
    /// Its large payload is longer than any may be.
    #[error("letter's large payload is too large")]
    TooLarge,
}

impl LetterError {
    /// The registry's code of the refusal.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Codec(_) | Self::Malformed => code::MALFORMED,
            Self::UnknownExtension(_) => code::UNKNOWN_EXTENSION,
            Self::Expired => code::EXPIRED,
            Self::Future => code::FUTURE,
            Self::TooLarge => code::TOO_LARGE,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire<'a>(
    ByteArray<16>,
    u8,
    Option<ByteArray<16>>,
    Option<u64>,
    ContentType,
    #[serde(borrow)] &'a Bytes,
    #[serde(borrow)] Vec<ExtensionWire<'a>>,
);
#[derive(Serialize, Deserialize)]
struct ExtensionWire<'a>(u16, bool, #[serde(borrow)] &'a Bytes);

impl Letter {
    /// A letter for the application, without reply-to, deadline or extensions.
    #[must_use]
    pub fn plain(id: LetterId, content_type: ContentType, payload: Vec<u8>) -> Self {
        Self {
            id,
            kind: LetterKind::Plain,
            reply_to: None,
            deadline: None,
            content_type,
            payload,
            extensions: Vec::new(),
        }
    }

    /// Whether the handle of a large payload, if there is one, is a handle (contracts/letter.md L13).
    pub(crate) fn check_payload(&self) -> Result<(), LetterError> {
        self.extension(extension::LARGE_PAYLOAD).map_or(Ok(()), |handle| PayloadKey::parse(handle).map(drop))
    }

    /// The id in the canonical bytes of a letter, without reading the rest.
    pub(crate) fn id_in(bytes: &[u8]) -> Option<LetterId> {
        let id = bytes.strip_prefix(&[0x87, 0x50])?.first_chunk::<16>()?;
        LetterId::parse(*id)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let extensions = self.extensions.iter().map(|e| ExtensionWire(e.number, e.critical, Bytes::new(&e.value)));
        let wire = Wire(
            ByteArray::new(*self.id.as_bytes()),
            match self.kind {
                LetterKind::Plain => kind::LETTER_PLAIN,
                LetterKind::Control => kind::LETTER_CONTROL,
            },
            self.reply_to.map(|id| ByteArray::new(*id.as_bytes())),
            self.deadline.map(|at| at.0),
            self.content_type.clone(),
            Bytes::new(&self.payload),
            extensions.collect(),
        );
        codec::encode_sized(&wire, self.payload.len() + 128)
    }

    /// What a bound token and a hop proof speak of: the encoding without token, hop proof and what a session that audits adds (contracts/token.md K28).
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut bare = self.clone();
        bare.extensions.retain(|e| !matches!(e.number, extension::TOKEN | extension::HOP_PROOF | extension::AUDIT));
        bare.encode()
    }

    /// What a token is bound to (`hop.pay`): the content, of a letter to a channel without its place, which is not known yet when the token is asked
    /// for.
    // contracts/token.md K8, K28.
    #[must_use]
    pub fn bound_content(&self) -> Vec<u8> {
        let mut bare = self.clone();
        bare.extensions.retain(|e| e.number != extension::CHANNEL);
        bare.content()
    }

    /// Reads a letter. Its id is returned even with an error where it could be read, so that a refusal can name it.
    pub fn decode(bytes: &[u8]) -> Result<Self, (Option<LetterId>, LetterError)> {
        let wire: Wire<'_> = codec::decode(bytes, limit::LETTER_LEN_MAX).map_err(|e| (None, e.into()))?;
        let id = LetterId::parse(wire.0.into_array()).ok_or((None, LetterError::Malformed))?;
        Self::from_wire(id, wire).map_err(|e| (Some(id), e))
    }

    fn from_wire(id: LetterId, wire: Wire<'_>) -> Result<Self, LetterError> {
        let Wire(_, kind, reply_to, deadline, content_type, payload, extensions) = wire;
        let kind = match kind {
            kind::LETTER_PLAIN => LetterKind::Plain,
            kind::LETTER_CONTROL => LetterKind::Control,
            _ => return Err(LetterError::Malformed),
        };
        let reply_to = match reply_to {
            Some(bytes) => Some(LetterId::parse(bytes.into_array()).ok_or(LetterError::Malformed)?),
            None => None,
        };
        // contracts/letter.md L6: ascending numbers, so one list has one spelling.
        let ascending = extensions.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let bounded = extensions.len() <= limit::EXTENSIONS_MAX
            && extensions.iter().all(|e| e.2.len() <= limit::EXTENSION_LEN_MAX);
        if !ascending || !bounded || payload.len() > limit::PAYLOAD_INLINE_MAX {
            return Err(LetterError::Malformed);
        }
        // contracts/letter.md L7: an unknown extension marked critical is refused.
        let known = |number: u16| {
            let ours = matches!(number, extension::LARGE_PAYLOAD | extension::TOKEN | extension::AUDIT);
            ours || matches!(number, extension::CHANNEL | extension::HISTORY | extension::CALL)
        };
        if let Some(unknown) = extensions.iter().find(|e| e.1 && !known(e.0)) {
            return Err(LetterError::UnknownExtension(unknown.0));
        }
        let extensions =
            extensions.iter().map(|e| Extension { number: e.0, critical: e.1, value: e.2.to_vec() }).collect();
        Ok(Self {
            id,
            kind,
            reply_to,
            deadline: deadline.map(UnixMillis),
            content_type,
            payload: payload.to_vec(),
            extensions,
        })
    }

    /// Puts an extension in its place, in the stead of the one of its number.
    pub fn set_extension(&mut self, extension: Extension) {
        self.extensions.retain(|e| e.number != extension.number);
        let at = self.extensions.partition_point(|e| e.number < extension.number);
        self.extensions.insert(at, extension);
    }

    /// Puts a token into the letter, whole or by its hash (contracts/token.md K9).
    pub fn set_token(&mut self, value: Vec<u8>) {
        self.set_extension(Extension { number: extension::TOKEN, critical: true, value });
    }

    /// Asks for a hop proof: it is made when the letter is sealed (contracts/token.md section 6). Only a letter with a token gets one.
    pub fn want_proof(&mut self) {
        self.set_proof(Vec::new());
    }

    pub(crate) fn set_proof(&mut self, value: Vec<u8>) {
        self.set_extension(Extension { number: extension::HOP_PROOF, critical: false, value });
    }

    pub(crate) fn wants_proof(&self) -> bool {
        self.extension(extension::HOP_PROOF).is_some_and(<[u8]>::is_empty)
    }

    /// Whether the letter may be delivered at this time.
    pub fn check_time(&self, now: UnixMillis) -> Result<(), LetterError> {
        let created = self.id.created();
        if created > now.plus(time::CLOCK_SKEW) {
            return Err(LetterError::Future);
        }
        if now > self.expires().plus(time::CLOCK_SKEW) {
            return Err(LetterError::Expired);
        }
        Ok(())
    }

    /// When it is no longer delivered: its deadline, and at the latest the longest life after its creation.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        let last = self.id.created().plus(time::LETTER_LIFE_MAX);
        self.deadline.map_or(last, |deadline| deadline.min(last))
    }

    /// The value of an extension.
    #[must_use]
    pub fn extension(&self, number: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|e| e.number == number).map(|e| e.value.as_slice())
    }
}
