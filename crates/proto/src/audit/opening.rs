//! What shows what one letter said, to whoever has the log (contracts/audit.md V22, V24).

use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::limit;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::commitment::commitment;
use crate::codec;
use crate::header::HEADER_LEN;
use crate::letter::{Letter, LetterKind};
use crate::secret::Key;

const VERSION: u8 = 1;
const SCHEMA: &str = "nuncio/opening/1";
/// A row has so much more than the content, at most: key, header, commitment.
const ROW_MORE: usize = 256;

/// Shows what one letter said: its commitment can be computed from it, and nothing else's.
#[derive(Clone)]
pub struct Opening {
    key: Key,
    header: [u8; HEADER_LEN],
    content: Vec<u8>,
}

/// All of an [`Opening`] but the payload, which whoever opens the letter has.
#[derive(Clone, Debug)]
pub struct KeptOpening {
    opening: Opening,
    commitment: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Row(u8, ByteArray<32>, ByteArray<HEADER_LEN>, ByteBuf, ByteArray<32>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    schema: String,
    commitment_key: String,
    header: String,
    content: String,
}

impl core::fmt::Debug for Opening {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

impl KeptOpening {
    /// Of a letter with this key and header.
    pub(crate) fn of(key: Key, header: [u8; HEADER_LEN], letter: &Letter) -> Self {
        let commitment = commitment(&key, &header, &letter.content());
        let mut bare = letter.clone();
        bare.payload.clear();
        Self { opening: Opening { key, header, content: bare.content() }, commitment }
    }

    /// The letter's commitment.
    #[must_use]
    pub const fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// The opening, with the letter's payload; `None` where the payload is another one.
    #[must_use]
    pub fn with_payload(&self, payload: Vec<u8>) -> Option<Opening> {
        let mut letter = self.opening.letter()?;
        letter.payload = payload;
        let opening = Opening { content: letter.encode(), ..self.opening.clone() };
        (opening.commitment() == self.commitment).then_some(opening)
    }

    /// Its row.
    pub(crate) fn to_row(&self) -> Vec<u8> {
        let Opening { key, header, content } = &self.opening;
        codec::encode(&Row(
            VERSION,
            ByteArray::new(*key.expose()),
            ByteArray::new(*header),
            ByteBuf::from(content.as_slice()),
            ByteArray::new(self.commitment),
        ))
    }

    /// Reads its row.
    #[must_use]
    pub fn from_row(bytes: &[u8]) -> Option<Self> {
        let Row(version, key, header, content, commitment) =
            codec::decode(bytes, limit::OPENING_CONTENT_MAX + ROW_MORE).ok()?;
        let (key, header, content) = (Key::new(key.into_array()), header.into_array(), content.into_vec());
        let opening = Opening { key, header, content };
        (version == VERSION).then_some(Self { opening, commitment: commitment.into_array() })
    }
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
        let letter = Letter::decode(&self.content).ok().filter(|letter| letter.kind == LetterKind::Plain)?;
        (letter.content() == self.content).then_some(letter)
    }

    /// As it is handed on: JSON (contracts/schema/opening.json).
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let shown = Shown {
            schema: SCHEMA.to_owned(),
            commitment_key: text(self.key.expose()),
            header: text(&self.header),
            content: text(&self.content),
        };
        // Four texts are always JSON.
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
        let header = bytes(&shown.header)?.try_into().ok()?;
        let opening = Self { key, header, content: bytes(&shown.content)? };
        opening.letter().is_some().then_some(opening)
    }
}
