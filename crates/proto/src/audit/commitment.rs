//! What a letter of a session that audits carries beside its content (contracts/audit.md section 6).

use nuncio_contracts::registry::label;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::event::Head;
use crate::codec;
use crate::crypto;
use crate::secret::Key;

/// The extension at its longest.
pub(crate) const AUDITED_LEN_MAX: usize = 96;

/// The value of the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The letter's commitment.
    pub commitment: [u8; 32],
    /// Its sender's newest event before the letter's own.
    pub head: Option<Head>,
}

#[derive(Serialize, Deserialize)]
struct Wire(ByteArray<32>, Option<(u64, u64, ByteArray<32>)>);

impl Audited {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = self.head.map(|head| (head.epoch, head.seq, ByteArray::new(head.hash)));
        codec::encode(&Wire(ByteArray::new(self.commitment), head))
    }

    /// Reads it; `None` for any other form.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Wire(commitment, head) = codec::decode(bytes, AUDITED_LEN_MAX).ok()?;
        let head = head.map(|(epoch, seq, hash)| Head { epoch, seq, hash: hash.into_array() });
        Some(Self { commitment: commitment.into_array(), head })
    }
}

/// The key of a letter's commitment: whoever shows it shows that letter, and no other.
// contracts/audit.md V19.
#[must_use]
pub fn commitment_key(message_key: &Key) -> Key {
    Key::new(crypto::hmac_sha256(message_key.expose(), &[label::COMMITMENT]))
}

/// The commitment of a letter: its frame's header in clear, and its content (contracts/token.md K28).
#[must_use]
pub fn commitment(key: &Key, header: &[u8], content: &[u8]) -> [u8; 32] {
    crypto::hmac_sha256(key.expose(), &[header, &crypto::sha256(&[content])])
}
