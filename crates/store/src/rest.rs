//! Values at rest: each sealed under the data key of an epoch.
//!
//! ```text
//!   row = format u8 | epoch u32 BE | nonce 24 | ciphertext | tag 16          XChaCha20-Poly1305
//!   associated data = "nuncio/1 row" | format | epoch | key                  so a row is read only where it was written
//! ```
//!
//! The nonce is random: 192 bits, so that a restored old disk repeats none either.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use nuncio_contracts::registry::label;
use nuncio_proto::crypto;
use nuncio_proto::step::Op;
use zeroize::Zeroizing;

use crate::engine::{Engine, Visit, admit};
use crate::error::{RowFault, StoreError};
use crate::keys::{EpochKey, EpochKeys};

/// Bytes that sealing adds to a value.
pub const ROW_OVERHEAD: usize = HEADER_LEN + TAG_LEN;

const FORMAT: u8 = 1;
const EPOCH_AT: usize = 1;
const NONCE_AT: usize = 5;
const NONCE_LEN: usize = 24;
const HEADER_LEN: usize = NONCE_AT + NONCE_LEN;
const TAG_LEN: usize = 16;

/// Nonces drawn from the operating system at once: a call costs as much as sealing a row.
const NONCES_PER_DRAW: usize = 256;

/// An engine that holds sealed values only; itself an [`Engine`] of plain ones.
///
/// Keys are not sealed: they are ids and numbers, and the engine must order them.
pub struct Vault<E> {
    engine: E,
    keys: RwLock<EpochKeys>,
    // Also the order of commits: whoever re-seals rows holds it between reading and writing them.
    nonces: Mutex<NoncePool>,
}

impl<E: Engine> Vault<E> {
    /// A vault over an engine. What the engine holds already must be sealed under these keys.
    pub fn new(engine: E, keys: EpochKeys) -> Self {
        Self { engine, keys: RwLock::new(keys), nonces: Mutex::new(NoncePool::default()) }
    }

    /// The engine beneath, with its sealed rows.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The epoch that new rows are sealed in.
    pub(crate) fn epoch(&self) -> u32 {
        self.keys().current().epoch()
    }

    /// Waits for the commit under way and keeps others out while the value lives.
    pub(crate) fn hold_commits(&self) -> CommitsHeld<'_> {
        CommitsHeld(self.nonces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on everything is sealed under `keys.current`.
    pub(crate) fn set_keys(&self, keys: EpochKeys, _held: &CommitsHeld<'_>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Seals and commits while commits are held.
    pub(crate) fn commit_held(&self, ops: &[Op], held: &mut CommitsHeld<'_>) -> Result<(), StoreError> {
        admit(ops, 0)?;
        let sealed = {
            let keys = self.keys();
            ops.iter().map(|op| seal_op(keys.current(), op, &mut held.0)).collect::<Result<Vec<_>, _>>()?
        };
        self.engine.commit(&sealed)
    }

    /// Opens a sealed row that was read from the engine.
    pub(crate) fn open(&self, key: &[u8], row: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        open_row(&self.keys(), key, row)
    }

    /// [`Vault::open`], beside an epoch's turn: a row that was read just before the old key went is read once more. `None`: it is gone now.
    pub(crate) fn read(&self, key: &[u8], row: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        match self.open(key, row) {
            Err(StoreError::Row { fault: RowFault::EpochGone(_), .. }) => {
                self.engine.get(key)?.map(|row| self.open(key, row)).transpose()
            }
            opened => opened.map(Some),
        }
    }

    fn keys(&self) -> RwLockReadGuard<'_, EpochKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Proof that no commit runs beside the holder.
pub(crate) struct CommitsHeld<'a>(MutexGuard<'a, NoncePool>);

impl<E: Engine> Engine for Vault<E> {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        self.commit_held(ops, &mut self.hold_commits())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.get(key)?.map_or(Ok(None), |row| self.read(key, row))
    }

    fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
        self.engine.scan(prefix, &mut |key, row| {
            let Some(value) = self.read(key, row.to_vec())?.map(Zeroizing::new) else { return Ok(()) };
            each(key, &value)
        })
    }
}

impl<E> std::fmt::Debug for Vault<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

/// The epoch that a sealed row names, without opening it.
pub(crate) fn epoch_of(key: &[u8], row: &[u8]) -> Result<u32, StoreError> {
    if row.len() < ROW_OVERHEAD {
        return Err(StoreError::row(key, RowFault::Truncated));
    }
    match row.split_first() {
        Some((&FORMAT, _)) => {}
        Some((&newer, _)) if newer > FORMAT => {
            return Err(StoreError::Newer {
                what: format!("row {}", crate::error::hex(key)),
                found: newer.into(),
                known: FORMAT.into(),
            });
        }
        _ => return Err(StoreError::row(key, RowFault::SealBroken)),
    }
    row.get(EPOCH_AT..)
        .and_then(|rest| rest.first_chunk())
        .map(|epoch| u32::from_be_bytes(*epoch))
        .ok_or_else(|| StoreError::row(key, RowFault::Truncated))
}

fn seal_op(epoch_key: &EpochKey, op: &Op, nonces: &mut NoncePool) -> Result<Op, StoreError> {
    Ok(match op {
        Op::Delete { key } => Op::Delete { key: key.clone() },
        Op::Put { key, value } => Op::Put { key: key.clone(), value: seal_row(epoch_key, key, value, &nonces.next()?) },
    })
}

fn seal_row(epoch_key: &EpochKey, key: &[u8], value: &[u8], nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
    let mut row = Vec::with_capacity(value.len() + ROW_OVERHEAD);
    row.push(FORMAT);
    row.extend_from_slice(&epoch_key.epoch().to_be_bytes());
    row.extend_from_slice(nonce);
    row.extend_from_slice(value);
    let body = row.get_mut(HEADER_LEN..).unwrap_or_default();
    let tag = crypto::xseal_in_place(epoch_key.key().expose(), nonce, &bound(epoch_key.epoch(), key), body);
    row.extend_from_slice(&tag);
    row
}

fn open_row(keys: &EpochKeys, key: &[u8], mut row: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let epoch = epoch_of(key, &row)?;
    let epoch_key = keys.find(epoch).ok_or_else(|| StoreError::row(key, RowFault::EpochGone(epoch)))?;
    let truncated = || StoreError::row(key, RowFault::Truncated);
    let tag: [u8; TAG_LEN] = *row.last_chunk().ok_or_else(truncated)?;
    row.truncate(row.len() - TAG_LEN);
    let (header, body) = row.split_at_mut_checked(HEADER_LEN).ok_or_else(truncated)?;
    let nonce: &[u8; NONCE_LEN] = header.last_chunk().ok_or_else(truncated)?;
    crypto::xopen_in_place(epoch_key.key().expose(), nonce, &bound(epoch, key), body, &tag)
        .map_err(|_| StoreError::row(key, RowFault::SealBroken))?;
    row.drain(..HEADER_LEN);
    Ok(row)
}

/// Associated data. Everything before the key has a fixed width, so no two rows share it.
fn bound(epoch: u32, key: &[u8]) -> Vec<u8> {
    [label::ROW, &[FORMAT], &epoch.to_be_bytes(), key].concat()
}

/// Random nonces, drawn in blocks; each is handed out once.
#[derive(Default)]
struct NoncePool {
    drawn: Vec<[u8; NONCE_LEN]>,
}

impl NoncePool {
    fn next(&mut self) -> Result<[u8; NONCE_LEN], StoreError> {
        if let Some(nonce) = self.drawn.pop() {
            return Ok(nonce);
        }
        let mut block = [[0; NONCE_LEN]; NONCES_PER_DRAW];
        getrandom::fill(block.as_flattened_mut()).map_err(StoreError::Random)?;
        let [last, rest @ ..] = block;
        self.drawn.extend_from_slice(&rest);
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::memory::MemoryEngine;

    fn put(key: &[u8], value: &[u8]) -> Op {
        Op::Put { key: key.to_vec(), value: value.to_vec() }
    }

    fn vault() -> Vault<MemoryEngine> {
        Vault::new(MemoryEngine::new(), EpochKeys::generate().unwrap())
    }

    #[test]
    fn what_is_put_is_read_and_the_engine_sees_none_of_it() {
        let vault = vault();
        vault.commit(&[put(b"s1", b"a secret that nobody reads"), put(b"s2", b"")]).unwrap();
        assert_eq!(vault.get(b"s1").unwrap().unwrap(), b"a secret that nobody reads");
        assert_eq!(vault.get(b"s2").unwrap().unwrap(), b"");
        assert_eq!(vault.get(b"s3").unwrap(), None);
        let row = vault.engine().get(b"s1").unwrap().unwrap();
        assert_eq!(row.len(), 26 + ROW_OVERHEAD);
        assert!(!row.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn every_flipped_bit_is_found_and_named() {
        let vault = vault();
        vault.commit(&[put(b"s1", b"value")]).unwrap();
        let row = vault.engine().get(b"s1").unwrap().unwrap();
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            vault.engine().commit(&[put(b"s1", &bad)]).unwrap();
            match vault.get(b"s1").unwrap_err() {
                StoreError::Row { key, .. } => assert_eq!(key, "7331"),
                StoreError::Newer { .. } => assert!(bit < 8, "only the format byte makes a row newer"),
                other => panic!("{other}"),
            }
        }
        for len in 0..row.len() {
            vault.engine().commit(&[put(b"s1", &row[..len])]).unwrap();
            assert!(matches!(vault.get(b"s1"), Err(StoreError::Row { .. })));
        }
    }

    #[test]
    fn a_row_opens_only_under_its_own_key() {
        let vault = vault();
        vault.commit(&[put(b"s1", b"mine")]).unwrap();
        let row = vault.engine().get(b"s1").unwrap().unwrap();
        vault.engine().commit(&[put(b"s2", &row)]).unwrap();
        assert!(matches!(vault.get(b"s2"), Err(StoreError::Row { fault: RowFault::SealBroken, .. })));
        assert!(matches!(vault.scan(b"s", &mut |_, _| Ok(())), Err(StoreError::Row { key, .. }) if key == "7332"));
    }

    #[test]
    fn no_nonce_is_handed_out_twice() {
        let mut pool = NoncePool::default();
        let drawn: std::collections::HashSet<_> = (0..NONCES_PER_DRAW * 4).map(|_| pool.next().unwrap()).collect();
        assert_eq!(drawn.len(), NONCES_PER_DRAW * 4);
    }

    /// An engine that was read just before a turn of the epoch ended.
    struct Late(MemoryEngine, Mutex<Option<Vec<u8>>>);

    impl Engine for Late {
        fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
            self.0.commit(ops)
        }

        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.1.lock().unwrap().take().map_or_else(|| self.0.get(key), |row| Ok(Some(row)))
        }

        fn scan(&self, prefix: &[u8], each: &mut Visit<'_>) -> Result<(), StoreError> {
            self.0.scan(prefix, &mut |key, row| {
                let late = self.1.lock().unwrap().take();
                each(key, &late.unwrap_or_else(|| row.to_vec()))
            })
        }
    }

    #[test]
    fn a_row_that_was_read_before_its_epochs_key_went_is_read_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let kek = crate::Kek::from_key(nuncio_proto::secret::Key::new([1; 32]));
        let mut keys = crate::keys::KeyFile::create(&dir.path().join("keys"), &kek).unwrap();
        let vault = Vault::new(Late(MemoryEngine::new(), Mutex::default()), keys.epochs().clone());
        vault.commit(&[put(b"s1", b"value")]).unwrap();
        let before = vault.engine().0.get(b"s1").unwrap();
        crate::turn::turn(&vault, &mut keys, &mut |_| {}).unwrap();
        let late = || vault.engine().1.lock().unwrap().clone_from(&before);
        late();
        assert_eq!(vault.get(b"s1").unwrap().unwrap(), b"value");
        late();
        let mut seen = Vec::new();
        let scanned = vault.scan(b"s", &mut |_, value| {
            seen.push(value.to_vec());
            Ok(())
        });
        assert_eq!((scanned.is_ok(), seen), (true, vec![b"value".to_vec()]));
        // What nobody seals anew stays closed, and is named.
        vault.engine().commit(&[put(b"s1", &before.unwrap())]).unwrap();
        assert!(matches!(vault.get(b"s1"), Err(StoreError::Row { fault: RowFault::EpochGone(_), .. })));
    }
}
