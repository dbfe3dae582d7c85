//! What shows what one letter said, to whoever has the log (contracts/audit.md V22, V24).

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::{extension, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::PairKey;
use super::commitment::commitment;
use crate::channel::CHANNEL_HEADER_LEN;
use crate::codec;
use crate::header::HEADER_LEN;
use crate::ids::AgentId;
use crate::letter::{Letter, LetterKind};
use crate::secret::Key;

const VERSION: u8 = 2;
const SCHEMA: &str = "nuncio/opening/1";
/// A row has so much more than the content, at most: key, header, commitment, agent.
const ROW_MORE: usize = 256;

/// Shows what one letter said: its commitment can be computed from it, and nothing else's.
#[derive(Clone)]
pub struct Opening {
    key: Key,
    pair: Option<PairKey>,
    header: Vec<u8>,
    content: Vec<u8>,
}

/// All of an [`Opening`] but the payload, which whoever opens the letter has, and the pair key, which follows from the other agent.
#[derive(Clone)]
pub struct KeptOpening {
    key: Key,
    /// Of its frame: of a session, or of a channel.
    header: Vec<u8>,
    /// Without its payload.
    content: Vec<u8>,
    commitment: [u8; 32],
    other: AgentId,
}

#[derive(Serialize, Deserialize)]
struct Row(u8, ByteArray<32>, ByteBuf, ByteBuf, ByteArray<32>, ByteArray<32>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    schema: String,
    commitment_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pair_key: Option<String>,
    header: String,
    content: String,
}

impl core::fmt::Debug for Opening {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

impl core::fmt::Debug for KeptOpening {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeptOpening").finish_non_exhaustive()
    }
}

impl KeptOpening {
    /// Of a letter with this key and header, whose other end is another agent; of one to a channel, its author.
    pub(crate) fn of(key: Key, header: Vec<u8>, letter: &Letter, other: AgentId) -> Self {
        let commitment = commitment(&key, &header, &letter.content());
        let mut bare = letter.clone();
        bare.payload.clear();
        Self { key, header, content: bare.content(), commitment, other }
    }

    /// The letter's commitment.
    #[must_use]
    pub const fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// The letter's other end; of one to a channel, its author.
    #[must_use]
    pub const fn other(&self) -> AgentId {
        self.other
    }

    /// The opening, with the letter's payload, and where it is to show whom pseudonyms mean the two ends' key; `None` where the payload is another one.
    #[must_use]
    pub fn with_payload(&self, payload: Vec<u8>, pair: Option<PairKey>) -> Option<Opening> {
        let mut letter = plain(&self.content)?;
        letter.payload = payload;
        let opening = Opening { key: self.key.clone(), pair, header: self.header.clone(), content: letter.encode() };
        (opening.commitment() == self.commitment).then_some(opening)
    }

    /// Its row.
    pub(crate) fn to_row(&self) -> Vec<u8> {
        codec::encode(&Row(
            VERSION,
            ByteArray::new(*self.key.expose()),
            ByteBuf::from(self.header.as_slice()),
            ByteBuf::from(self.content.as_slice()),
            ByteArray::new(self.commitment),
            ByteArray::new(*self.other.as_bytes()),
        ))
    }

    /// Reads its row.
    #[must_use]
    pub fn from_row(bytes: &[u8]) -> Option<Self> {
        let Row(version, key, header, content, commitment, other) =
            codec::decode(bytes, limit::OPENING_CONTENT_MAX + ROW_MORE).ok()?;
        let (key, header, content) = (Key::new(key.into_array()), header.into_vec(), content.into_vec());
        let (commitment, other) = (commitment.into_array(), AgentId::from_bytes(other.into_array()).ok()?);
        (version == VERSION).then_some(Self { key, header, content, commitment, other })
    }
}

/// A member that may be missing, and is no `null`.
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

fn plain(content: &[u8]) -> Option<Letter> {
    let letter = Letter::decode(content).ok().filter(|letter| letter.kind == LetterKind::Plain)?;
    (letter.content() == content).then_some(letter)
}

impl Opening {
    /// The commitment that it opens. Whose letter it was say the events that have it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        commitment(&self.key, &self.header, &self.content)
    }

    /// What the letter said; `None` where the content is none of a letter of kind 16.
    #[must_use]
    pub fn letter(&self) -> Option<Letter> {
        plain(&self.content)
    }

    /// By what the two ends of the letter know each other, if it is shown.
    #[must_use]
    pub const fn pair(&self) -> Option<&PairKey> {
        self.pair.as_ref()
    }

    /// As it is handed on: JSON (contracts/schema/opening.json).
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let shown = Shown {
            schema: SCHEMA.to_owned(),
            commitment_key: text(self.key.expose()),
            pair_key: self.pair.as_ref().map(|pair| text(pair.expose())),
            header: text(&self.header),
            content: text(&self.content),
        };
        // Texts are always JSON.
        serde_json::to_string(&shown).unwrap_or_default()
    }

    /// Reads one; `None` for any other form, and where its content is no letter's.
    // contracts/audit.md V24.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        if json.len() > limit::OPENING_LEN_MAX {
            return None;
        }
        let shown: Shown = serde_json::from_slice(json).ok().filter(|shown: &Shown| shown.schema == SCHEMA)?;
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let key = Key::new(bytes(&shown.commitment_key)?.try_into().ok()?);
        let header = bytes(&shown.header)?;
        let pair = match &shown.pair_key {
            Some(pair) => Some(PairKey::shown(bytes(pair)?.try_into().ok()?)),
            None => None,
        };
        let opening = Self { key, pair, header, content: bytes(&shown.content)? };
        let len = opening.letter()?.extension(extension::CHANNEL).map_or(HEADER_LEN, |_| CHANNEL_HEADER_LEN);
        // A letter to a channel that came in a session has that one's header.
        [len, HEADER_LEN].contains(&opening.header.len()).then_some(opening)
    }
}
