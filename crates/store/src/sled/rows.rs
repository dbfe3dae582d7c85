//! How rows lie in sled's tree: none longer than a few kilobytes.
//!
//! ```text
//!   row    0 | key                          ▶  0 | value         a value of up to CHUNK_LEN bytes
//!                                              1 | len u32       a longer one, which lies in chunks
//!   chunk  1 | key len u16 | key | no u32   ▶  CHUNK_LEN bytes, the last one fewer       integers big-endian
//! ```
//!
//! sled keeps a page that outgrows a quarter of a segment (128 KiB) in a file of its own, never syncs that file, deletes the one that
//! it replaces, and counts the batch as whole when its log is: a power cut in between leaves a log that names pages which are not there,
//! and the store is lost, acknowledged rows and all. A leaf has at most 16 rows when one is added, and 19 after a merge; an index at most
//! 319 keys. With the lengths below that is at most 90 KiB.

use sled::Batch;

/// Longest value of a row or chunk in the tree.
const CHUNK_LEN: usize = 4096;

const ROW: u8 = 0;
const CHUNK: u8 = 1;
const WHOLE: u8 = 0;
const SPLIT: u8 = 1;

/// A row's value as the tree has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    Whole(&'a [u8]),
    /// So many bytes, in chunks.
    Split(usize),
}

impl<'a> Head<'a> {
    /// `None` when it is neither.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        match value.split_first()? {
            (&WHOLE, value) => Some(Self::Whole(value)),
            (&SPLIT, len) => {
                let len = u32::from_be_bytes(len.try_into().ok()?);
                Some(Self::Split(usize::try_from(len).ok()?))
            }
            _ => None,
        }
    }

    /// Chunks that lie beside it.
    pub(super) fn chunks(&self) -> u32 {
        match self {
            Self::Whole(_) => 0,
            Self::Split(len) => chunks_in(*len),
        }
    }
}

/// The tree's key of a row, and its prefix of a scan.
pub(super) fn row_key(key: &[u8]) -> Vec<u8> {
    [&[ROW], key].concat()
}

/// The key of a row that the tree has under this key.
pub(super) fn key_of_row(row_key: &[u8]) -> &[u8] {
    row_key.get(1..).unwrap_or_default()
}

/// The tree's key of a chunk. Keys are shorter than 64 KiB ([`crate::MAX_KEY_LEN`]).
pub(super) fn chunk_key(key: &[u8], no: u32) -> Vec<u8> {
    let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    [&[CHUNK], len.to_be_bytes().as_slice(), key, &no.to_be_bytes()].concat()
}

/// Puts a value, over one that had `old_chunks`.
pub(super) fn put(batch: &mut Batch, key: &[u8], value: &[u8], old_chunks: u32) {
    let mut chunks = 0;
    if value.len() <= CHUNK_LEN {
        batch.insert(row_key(key), [&[WHOLE], value].concat());
    } else {
        // Shorter than 4 GiB ([`crate::MAX_VALUE_LEN`]).
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        batch.insert(row_key(key), [&[SPLIT], len.to_be_bytes().as_slice()].concat());
        for chunk in value.chunks(CHUNK_LEN) {
            batch.insert(chunk_key(key, chunks), chunk);
            chunks += 1;
        }
    }
    drop_chunks(batch, key, chunks, old_chunks);
}

/// Removes a row that has `old_chunks`.
pub(super) fn delete(batch: &mut Batch, key: &[u8], old_chunks: u32) {
    batch.remove(row_key(key));
    drop_chunks(batch, key, 0, old_chunks);
}

fn drop_chunks(batch: &mut Batch, key: &[u8], from: u32, to: u32) {
    for no in from..to {
        batch.remove(chunk_key(key, no));
    }
}

fn chunks_in(len: usize) -> u32 {
    u32::try_from(len.div_ceil(CHUNK_LEN)).unwrap_or(u32::MAX)
}
