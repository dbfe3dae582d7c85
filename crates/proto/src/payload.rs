//! A large payload: sealed in chunks under a key of its own that travels in its letter (contracts/letter.md section 6).
//!
//! The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): each chunk's nonce is its place and whether it is the last, so chunks
//! cannot be dropped, reordered, repeated or cut off at the end.

use nuncio_contracts::registry::{label, limit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec;
use crate::crypto::{self, CryptoError, TAG_LEN};
use crate::letter::LetterError;
use crate::secret::Key;

/// Bytes of a full sealed chunk.
pub const SEALED_CHUNK_LEN: usize = limit::CHUNK_LEN + TAG_LEN;

/// Names and opens one large payload: the value of the letter's extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadKey {
    /// Names it.
    pub id: [u8; 16],
    /// Opens it.
    pub key: Key,
    /// Bytes of plaintext, at most `payload_large_max`.
    pub len: u64,
}

#[derive(Serialize, Deserialize)]
struct Wire(ByteArray<16>, ByteArray<32>, u64);

impl PayloadKey {
    /// The extension's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Wire(ByteArray::new(self.id), ByteArray::new(*self.key.expose()), self.len))
    }

    /// Reads an extension's value.
    ///
    /// # Errors
    /// [`LetterError::TooLarge`] for a payload longer than any may be, else what is no handle.
    pub fn parse(bytes: &[u8]) -> Result<Self, LetterError> {
        let Wire(id, key, len) = codec::decode(bytes, 128)?;
        if len > limit::PAYLOAD_LARGE_MAX {
            return Err(LetterError::TooLarge);
        }
        Ok(Self { id: id.into_array(), key: Key::new(key.into_array()), len })
    }

    /// [`PayloadKey::parse`], if it is one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).ok()
    }

    /// How many chunks there are; an empty payload has one.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        let full = self.len.div_ceil(CHUNK);
        if full == 0 { 1 } else { full }
    }

    /// Bytes of all sealed chunks.
    #[must_use]
    pub const fn sealed_len(&self) -> u64 {
        self.len + self.chunks() * TAG
    }

    /// Bytes of plaintext in one chunk.
    #[must_use]
    pub const fn chunk_len(&self, index: u64) -> usize {
        if index + 1 < self.chunks() {
            return limit::CHUNK_LEN;
        }
        // Below CHUNK_LEN, so it fits every usize.
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "at most 65,536")]
        let last = (self.len - (self.chunks() - 1) * CHUNK) as usize;
        last
    }

    /// Seals one chunk in place; the tag is appended.
    pub fn seal_chunk(&self, index: u64, chunk: &mut Vec<u8>) {
        let tag = crypto::seal_in_place(self.key.expose(), &self.nonce(index), &self.ad(), chunk);
        chunk.extend_from_slice(&tag);
    }

    /// Opens one chunk in place: its plaintext.
    pub fn open_chunk<'a>(&self, index: u64, sealed: &'a mut [u8]) -> Result<&'a [u8], CryptoError> {
        let (chunk, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(CryptoError::NotAuthentic)?;
        if chunk.len() != self.chunk_len(index) {
            return Err(CryptoError::NotAuthentic);
        }
        crypto::open_in_place(self.key.expose(), &self.nonce(index), &self.ad(), chunk, tag)?;
        Ok(chunk)
    }

    /// `0x000000 ‖ last ‖ index`
    fn nonce(&self, index: u64) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
        [0, 0, 0, u8::from(index + 1 == self.chunks()), a, b, c, d, e, f, g, h]
    }

    fn ad(&self) -> Vec<u8> {
        [label::PAYLOAD, &[0], &self.id, &self.len.to_be_bytes()].concat()
    }
}

#[expect(clippy::as_conversions, reason = "usize to u64 in a constant")]
const CHUNK: u64 = limit::CHUNK_LEN as u64;
#[expect(clippy::as_conversions, reason = "usize to u64 in a constant")]
const TAG: u64 = TAG_LEN as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(len: usize) -> (PayloadKey, Vec<Vec<u8>>) {
        let payload = PayloadKey { id: [1; 16], key: Key::new([2; 32]), len: u64::try_from(len).unwrap() };
        let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 253).unwrap()).collect();
        let mut chunks: Vec<Vec<u8>> = bytes.chunks(limit::CHUNK_LEN).map(<[u8]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        for (i, chunk) in chunks.iter_mut().enumerate() {
            payload.seal_chunk(u64::try_from(i).unwrap(), chunk);
        }
        (payload, chunks)
    }

    #[test]
    fn chunks_open_in_their_place_only() {
        for len in [0, 1, limit::CHUNK_LEN, limit::CHUNK_LEN + 1, 3 * limit::CHUNK_LEN] {
            let (payload, chunks) = sealed(len);
            assert_eq!(u64::try_from(chunks.len()).unwrap(), payload.chunks());
            assert_eq!(chunks.iter().map(|c| u64::try_from(c.len()).unwrap()).sum::<u64>(), payload.sealed_len());
            for (i, chunk) in chunks.iter().enumerate() {
                for place in 0..payload.chunks() {
                    let opened = payload.open_chunk(place, &mut chunk.clone()).is_ok();
                    assert_eq!(opened, place == u64::try_from(i).unwrap());
                }
                let mut cut = chunk.clone();
                cut.pop();
                assert!(payload.open_chunk(u64::try_from(i).unwrap(), &mut cut).is_err());
            }
            let shorter = PayloadKey { len: payload.len.saturating_sub(1).max(1), ..payload.clone() };
            if shorter.len != payload.len {
                assert!(shorter.open_chunk(0, &mut chunks[0].clone()).is_err(), "the length is bound");
            }
        }
    }

    #[test]
    fn a_handle_has_one_form() {
        let (payload, _) = sealed(5);
        assert_eq!(PayloadKey::decode(&payload.encode()), Some(payload.clone()));
        let huge = PayloadKey { len: limit::PAYLOAD_LARGE_MAX + 1, ..payload };
        assert_eq!(PayloadKey::decode(&huge.encode()), None);
    }
}
